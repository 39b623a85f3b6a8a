"""Files separated by something else than commas: one reason in every form, and none for files that are right.

The corpus goes on here (test_corpus.py); each case is told once, however many lines there are.
"""

from pathlib import Path

import pytest

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.submissions import read_submission
from leaderboard.templates import check, read_template
from leaderboard.truth import read_truth

VALUES = {"va": ["0.5", "-0.5"], "expr": ["3"], "au": ["0", "1"] * 6, "lsd": ["3"], "cexpr": ["3"]}
VALUES |= {"mtl": ["0.5", "-.5", "3", *["0", "1"] * 6]}
SIGNS = {"semicolons": ";", "tabs": "\t", "spaces": " ", "bars": "|"}


def rows(track: str, sign: str = ",", *, many: int = 300, after_name: str = "") -> str:
    stills = track == "lsd"
    names = [f"{k}.jpg" if stills else f"a/{k:05d}.jpg" for k in range(1, many + 1)]
    return "".join(f"{name}{after_name or sign}{sign.join(VALUES[track])}\n" for name in names)


def header(track: str, sign: str = ",") -> str:
    return sign.join(TRACKS[track].submission_header) + "\n"


def reasons_of(path: Path, track: str) -> list[str]:
    _, reasons = read_submission(path, TRACKS[track])
    return [line.removeprefix(str(path)) for line in reasons.lines]


def told(track: str, name: str, line: int) -> str:
    return f":{line}: the fields are separated by {name}; expected commas: {header(track).strip()!r}"


@pytest.mark.parametrize("name", SIGNS)
@pytest.mark.parametrize("track", VALUES)
def test_a_file_is_told_once(tmp_path: Path, track: str, name: str) -> None:
    path, template = tmp_path / "s.txt", tmp_path / "t.txt"
    template.write_text(header(track) + rows(track))
    path.write_text(header(track, SIGNS[name]) + rows(track, SIGNS[name]))
    _, reasons = check(path, read_template(template, TRACKS[track]))
    assert [line.removeprefix(str(path)) for line in reasons.lines] == [told(track, name, 1)]
    assert reasons.summary == "refused: 1 wrong separator"


VA = header("va")
QUOTED = 'image_location,"valence" ,"arousal"\n"a/00001.jpg","0.5","-0.5"\n"a/00002.jpg","0.5","1"\n'
CASES = {
    "quotes": (QUOTED, [f":1: the fields stand in quotes; expected none: {VA.strip()!r}"]),
    "header with commas": (VA + rows("va", ";"), [told("va", "semicolons", 2)]),
    "header with other names": ("image;x;y\n" + rows("va", ";"), [told("va", "semicolons", 2)]),
    "no header": (rows("va", "\t"), [told("va", "tabs", 2)]),
    "commas after the names": (VA + rows("va", ";", after_name=","), [told("va", "semicolons", 2)]),
    "decimal commas": (VA + "a/00001.jpg;0,5;-0,5\na/00002.jpg;0,5;1\n", [told("va", "semicolons", 2)]),
    "decimal commas after the names": (VA + "a/00001.jpg,0,5;-0,5\n", [told("va", "semicolons", 2)]),
    "semicolons at the end": (VA + "a/00001.jpg;0.5;-0.5;\r\n", [told("va", "semicolons", 2)]),
    "columns of spaces": (VA + "a/00001.jpg   0.5   -0.5\n", [told("va", "spaces", 2)]),
    "header alone": (header("va", ";") + rows("va"), [told("va", "semicolons", 1)]),
    "header alone, and a bad value": (
        header("va", ";") + rows("va", many=2) + "a/00003.jpg,2,0\n",
        [told("va", "semicolons", 1), ":4: valence is 2; expected a number in [-1, 1]"],
    ),
    "a few lines": (
        VA + rows("va", many=3) + "b/00001.jpg;0;0\n",
        [
            ":5: found no value, expected 2 (valence,arousal)",
            ":5: 'b/00001.jpg;0;0'; expected <video>/<frame>.jpg, such as video1/00001.jpg",
        ],
    ),
    "another track": (
        header("expr", ";") + rows("expr", ";"),
        [f":1: the header is that of track expr, not of va; expected {VA.strip()!r}; check the file and --track"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_way_to_mix_separators(tmp_path: Path, case: str) -> None:
    content, expected = CASES[case]
    path = tmp_path / "s.txt"
    path.write_bytes(content.encode())
    assert reasons_of(path, "va") == expected


@pytest.mark.parametrize(
    ("track", "text", "line"),
    [
        ("va", "valence;arousal\n0.5;-0.5\n0;1\n", 1),
        ("va", "valence,arousal\n0,5;-0,5\n", 2),
        ("va", "valence\tarousal\n0.5\t-0.5\n", 1),
        ("au", "\t".join(TRACKS["au"].columns) + "\n" + "\t".join(VALUES["au"]) + "\n", 1),
        ("expr", ";".join(TRACKS["expr"].columns) + "\n3\n4\n", 1),
    ],
)
def test_the_folder_form_is_told_once_a_file(tmp_path: Path, track: str, text: str, line: int) -> None:
    (tmp_path / "a.txt").write_text(text)
    name = "tabs" if "\t" in text else "semicolons"
    expected = ",".join(TRACKS[track].columns)
    assert reasons_of(tmp_path, track) == [
        f"/a.txt:{line}: the fields are separated by {name}; expected commas: {expected!r}"
    ]


@pytest.mark.parametrize(
    "text",
    [
        VA + "a b;c/00001.jpg,0.5,-0.5\na b;c/00002.jpg, 0.5, -0.5\n",
        VA + "a|b/00001.jpg,0.5 ,\t-0.5 ,\na|b/00002.jpg,0.5,-0.5\n",
    ],
)
def test_signs_in_names_and_blanks_beside_commas_are_no_separators(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.txt"
    path.write_text(text)
    assert reasons_of(path, "va") == []
    path.write_text(text + "v/00001.jpg,2,0\n")
    assert reasons_of(path, "va") == [":4: valence is 2; expected a number in [-1, 1]"]


def test_digits_without_end_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text(VA + f"a/00001.jpg;{'9' * 200_000}x;0\n" * 3)
    assert len(reasons_of(path, "va")) == 6


def test_templates_and_truth_are_told_once(tmp_path: Path) -> None:
    template, truth = tmp_path / "t.txt", tmp_path / "truth.txt"
    template.write_text(header("va", ";") + rows("va", ";"))
    with pytest.raises(BadInput) as refused:
        read_template(template, TRACKS["va"])
    message = "the fields are separated by semicolons; expected a comma after the name of an image"
    assert str(refused.value) == f"{template}:2: {message}"
    truth.write_text(header("mtl", ";") + rows("mtl", ";"))
    with pytest.raises(BadInput) as refused:
        read_truth(truth, TRACKS["mtl"])
    assert str(refused.value) == f"{truth}{told('mtl', 'semicolons', 1)}"


def test_a_template_that_is_another_file_altogether_is_told_once(tmp_path: Path) -> None:
    template = tmp_path / "t.txt"
    template.write_text("valence,arousal\n" + "0.5,0.5\n" * 50)
    with pytest.raises(BadInput) as refused:
        read_template(template, TRACKS["va"])
    expected = "expected <video>/<frame>.jpg, such as video1/00001.jpg; is this the template of track va?"
    assert str(refused.value) == f"{template}:2: '0.5', and no other line names an image; {expected}"
