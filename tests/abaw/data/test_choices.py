import pytest

from abaw.data.choices import Stretch, choice_at, update_choices
from abaw.problems import BadInput


def test_the_table_starts_with_a_row_a_video_and_keeps_what_a_person_wrote(tmp_path):
    path = tmp_path / "choices.csv"
    first = update_choices(path, ["a", "b"], "largest")
    assert path.read_text() == "video,first,last,choose\na,1,,largest\nb,1,,largest\n"
    assert first == {video: [Stretch(first=1, last=None, choose="largest")] for video in "ab"}
    path.write_text(path.read_text() + "a,10,20,left\n\na,15,15,none")
    rows = update_choices(path, ["a", "b", "c"], "right")
    assert path.read_text().endswith("\n\na,15,15,none\nc,1,,right\n")
    chosen = [choice_at(rows["a"], frame, "right") for frame in (1, 9, 10, 15, 20, 21)]
    assert chosen == ["largest", "largest", "left", "none", "left", "largest"]
    assert choice_at([Stretch(first=5, last=9, choose="left")], 4, "nearest") == "nearest"
    assert update_choices(path, ["a", "b", "c"], "left") == rows


def test_a_table_saved_by_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "choices.csv"
    path.write_bytes("\ufeffvideo,first,last,choose\r\né,1,,left\r\n".encode())
    assert update_choices(path, ["é"], "largest") == {"é": [Stretch(first=1, last=None, choose="left")]}


def test_every_row_that_is_wrong_is_told_with_its_line(tmp_path):
    path = tmp_path / "choices.csv"
    path.write_text(
        "video,first,last,choose\na,1,,largest\nz,1,,left\na,0,5,left\na,9,5,left\na,1,x,left\na,1,,big\na,1\n"
    )
    with pytest.raises(BadInput) as refused:
        update_choices(path, ["a"], "largest")
    assert [(problem.line, problem.message) for problem in refused.value.problems] == [
        (3, "no video 'z' among the 1 that are prepared; mend the name or remove the row"),
        (4, "frames '0' to '5'; expected whole numbers from 1, or an empty last for the end"),
        (5, "frames '9' to '5'; expected whole numbers from 1, or an empty last for the end"),
        (6, "frames '1' to 'x'; expected whole numbers from 1, or an empty last for the end"),
        (7, "choose is 'big'; expected largest, left, right, nearest, none"),
        (8, "2 cells; expected 4: video,first,last,choose"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"video;first;last;choose\n", ":1: header is video;first;last;choose; expected video,first,last,choose"),
        (b"video,first,last,choose\n\xff,1,,left\n", "is not UTF-8 text; save it as CSV in UTF-8"),
        (b'video,first,last,choose\na,1,,left\na,2,,"left\n', ":3: is no CSV: unexpected end of data; mend the quotes"),
        (b"video,first,last,choose\na," + b"9" * 5000 + b",,left\n", "; expected whole numbers from 1, or"),
    ],
)
def test_another_kind_of_file_is_refused_and_kept(tmp_path, content, message):
    path = tmp_path / "choices.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput) as refused:
        update_choices(path, ["a"], "largest")
    assert message in str(refused.value)
    assert path.read_bytes() == content
