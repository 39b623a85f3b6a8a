"""Templates: which forms are read, and what a submission is told that departs from one."""

from pathlib import Path

import pytest

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.templates import check, read_template, size_text

VA = TRACKS["va"]
HEADER = "image_location,valence,arousal\n"
NAMES = ["a/00001.jpg", "a/00002.jpg", "ab/00001.jpg", "ab/00007.jpg"]


def write(path: Path, names: list[str], values: str = ",0,0", header: str = HEADER) -> Path:
    path.write_text(header + "".join(f"{name}{values}\n" for name in names))
    return path


@pytest.mark.parametrize("values", ["", ",", ",,", ",0,0", ",-5,-5", ",dummy"])
@pytest.mark.parametrize("header", ["", HEADER, "image_location\n", "\ufeff" + HEADER])
def test_only_the_first_field_of_a_template_counts(tmp_path: Path, values: str, header: str) -> None:
    path = write(tmp_path / "t.txt", NAMES, values, header)
    template = read_template(path, VA).rows
    first = 2 if header else 1
    assert template.rows() == list(enumerate(NAMES, start=first))


def test_a_template_may_have_crlf_and_a_blank_end(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes((HEADER + ",\n".join(NAMES) + "\n\n").replace("\n", "\r\n").encode())
    assert read_template(path, VA).rows["image"].to_list() == NAMES
    assert read_template(path, VA).line_end == "\r\n"
    assert read_template(write(path, NAMES), VA).line_end == "\n"


def test_a_bad_template_says_all_that_is_wrong(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", ["a/00001.jpg", "a", "a/00001.jpg"])
    with pytest.raises(BadInput) as caught:
        read_template(path, VA)
    expected = "expected <video>/<frame>.jpg, such as video1/00001.jpg; is this the template of track va?"
    assert str(caught.value).splitlines() == [
        f"{path}:3: 'a'; {expected}",
        f"{path}:4: a/00001.jpg came before; a template lists a row once",
    ]


def test_a_long_line_that_is_no_name_is_shown_in_part(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"t\.txt:2: 'x{200}'; expected"):
        read_template(write(tmp_path / "t.txt", ["x" * 1000]), VA)


@pytest.mark.parametrize("content", [b"", HEADER.encode(), b"\xff\xfe\x00"])
def test_an_empty_or_binary_template_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"t\.txt: .*template"):
        read_template(path, VA)


def reasons_of(tmp_path: Path, names: list[str]) -> list[str]:
    template = write(tmp_path / "t.txt", NAMES, ",")
    path = write(tmp_path / "s.txt", names)
    _, reasons = check(path, read_template(template, VA))
    return [line.replace(str(tmp_path) + "/", "") for line in reasons.lines]


A1, A2, B1, B7 = NAMES


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (NAMES, []),
        ([A1, B1, B7], ["s.txt: a/00002.jpg is missing; t.txt:3 asks for it"]),
        ([*NAMES, "b/00001.jpg"], ["s.txt:6: b/00001.jpg is not in the template t.txt; remove it"]),
        ([*NAMES, A2], ["s.txt:6: a/00002.jpg came before, in line 3; remove one"]),
        (
            [A1, B1, A2, B7],
            ["s.txt:4: a/00002.jpg comes after ab/00001.jpg; the template has it before (lines 3 and 4 of t.txt)"],
        ),
        (
            [A2, B1, B7, A1],
            ["s.txt:5: a/00001.jpg comes after ab/00007.jpg; the template has it before (lines 2 and 5 of t.txt)"],
        ),
        (
            ["x/00001.jpg", B1, A1, A1],
            [
                "s.txt: a/00002.jpg is missing; t.txt:3 asks for it",
                "s.txt: ab/00007.jpg is missing; t.txt:5 asks for it",
                "s.txt:2: x/00001.jpg is not in the template t.txt; remove it",
                "s.txt:4: a/00001.jpg comes after ab/00001.jpg; the template has it before (lines 2 and 4 of t.txt)",
                "s.txt:5: a/00001.jpg came before, in line 4; remove one",
            ],
        ),
        (
            [A1, A2],
            ["s.txt: video ab is missing whole: 2 rows, asked for from t.txt:4 on"],
        ),
        (
            [],
            [
                "s.txt: video a is missing whole: 2 rows, asked for from t.txt:2 on",
                "s.txt: video ab is missing whole: 2 rows, asked for from t.txt:4 on",
            ],
        ),
    ],
)
def test_rows_that_depart_from_the_template(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    assert reasons_of(tmp_path, names) == expected


def test_a_file_of_another_track_has_one_reason(tmp_path: Path) -> None:
    template = write(tmp_path / "t.txt", NAMES)
    path = write(tmp_path / "s.txt", NAMES, ",0", ",".join(TRACKS["expr"].submission_header) + "\n")
    _, reasons = check(path, read_template(template, VA))
    assert reasons.totals == {"bad header": 1}


def test_missing_stills_are_told_one_by_one(tmp_path: Path) -> None:
    template = write(tmp_path / "t.txt", ["0.jpg", "10.jpg"], ",3", "image,expression\n")
    path = write(tmp_path / "s.txt", [], header="image,expression\n")
    assert check(path, read_template(template, TRACKS["lsd"]))[1].lines == [
        f"{path}: 0.jpg is missing; {template}:2 asks for it",
        f"{path}: 10.jpg is missing; {template}:3 asks for it",
    ]


def test_size_text_counts_videos_and_not_stills(tmp_path: Path) -> None:
    rows, _ = check(write(tmp_path / "s.txt", NAMES), read_template(write(tmp_path / "t.txt", NAMES), VA))
    assert rows is not None
    assert size_text(rows, VA) == "4 rows in 2 videos"
    lsd = write(tmp_path / "lsd.txt", ["0.jpg", "10.jpg"], ",3", "image,expression\n")
    stills, _ = check(lsd, read_template(lsd, TRACKS["lsd"]))
    assert stills is not None
    assert size_text(stills, TRACKS["lsd"]) == "2 rows"


def test_a_malformed_first_row_is_no_header_and_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("a/1.jpg,\na/00002.jpg,\n")
    with pytest.raises(BadInput, match=r"t\.txt:1: 'a/1\.jpg'; expected <video>"):
        read_template(path, VA)
    path.write_text("imagelocation,val\na/00002.jpg,\n")
    assert read_template(path, VA).rows["image"].to_list() == ["a/00002.jpg"]


def test_all_reasons_are_kept_when_asked_for(tmp_path: Path) -> None:
    names = [f"a/{frame:05d}.jpg" for frame in range(1, 301)]
    template, path = write(tmp_path / "t.txt", names), write(tmp_path / "s.txt", names[:1])
    assert len(check(path, read_template(template, VA))[1].lines) == 101
    assert len(check(path, read_template(template, VA), shown=None)[1].lines) == 299
