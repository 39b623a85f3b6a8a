"""The reader: every official form byte for byte, totals of reasons, and the quick path against the slow one."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.tracks import TRACKS
from leaderboard import submissions
from leaderboard.reasons import SHOWN, Reasons
from leaderboard.submissions import read_submission

EXPRESSIONS = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other"
UNITS = "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26"
COMPOUND = (
    "Fearfully_Surprised,Happily_Surprised,Sadly_Surprised,Disgustedly_Surprised,Angrily_Surprised,"
    "Sadly_Fearful,Sadly_Angry"
)
OFFICIAL = {
    "expr": (f"image_location,{EXPRESSIONS}\n14-30-1920x1080/00001.jpg,0\n", [0]),
    "va": ("image_location,valence,arousal\n2-30-640x360/00001.jpg,0.5,-0.5\n", [0.5, -0.5]),
    "au": (
        f"image_location,{UNITS}\n1-30-1280x720/00001.jpg,1,0,0,0,1,0,0,0,0,0,1,0\n",
        [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0],
    ),
    "mtl": (
        "image,valence,arousal,expression,aus\nvideo45_1/00001.jpg,0.7118,0.3147,7,0,0,1,0,0,0,0,0,0,0,1,1\n",
        [0.7118, 0.3147, 7, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1],
    ),
    "lsd": ("image,expression\n0.jpg,3\n", [3]),
    "cexpr": (f"image_location,{COMPOUND}\n01/00001.jpg,0\n", [0]),
    "expr2020": (f"image_location,{EXPRESSIONS[:-6]}\nv/00001.jpg,6\n", [6]),
    "au2020": (
        "image_location,AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25\nv/00001.jpg,1,0,0,0,0,0,1,0\n",
        [1, 0, 0, 0, 0, 0, 1, 0],
    ),
    "affectnet8": ("image,expression\n0.jpg,7\n", [7]),
    "affectnet7": ("image,expression\n0.jpg,6\n", [6]),
    "emo135": ("image,expression\n17.jpg,134\n", [134]),
}  # fmt: skip
VA_HEADER = "image_location,valence,arousal\n"


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "submission.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_every_track_has_an_official_example() -> None:
    assert set(OFFICIAL) == set(TRACKS)


@pytest.mark.parametrize("track", OFFICIAL)
@pytest.mark.parametrize("spoil", ["as it is", "bom", "crlf", "blank end", "no line end"])
def test_official_forms_are_read(tmp_path: Path, track: str, spoil: str) -> None:
    text, values = OFFICIAL[track]
    changed = {
        "as it is": text,
        "bom": "\ufeff" + text,
        "crlf": text.replace("\n", "\r\n"),
        "blank end": text + "\r\n \n\n",
        "no line end": text.rstrip("\n"),
    }[spoil]
    rows, reasons = read_submission(write(tmp_path, changed), TRACKS[track])
    assert rows is not None
    assert reasons.lines == []
    assert rows.columns == ["line", "image", *TRACKS[track].label_columns]
    assert rows.row(0) == (2, text.splitlines()[1].split(",")[0], *values)


@pytest.mark.parametrize("track", OFFICIAL)
def test_what_a_track_writes_is_what_is_read(tmp_path: Path, track: str) -> None:
    text, values = OFFICIAL[track]
    header, row = text.splitlines()
    assert header == ",".join(TRACKS[track].submission_header)
    written = TRACKS[track].format_row(row.split(",")[0], values)
    assert [float(x) for x in written.split(",")[1:]] == [float(x) for x in row.split(",")[1:]]


def test_many_reasons_are_counted_and_the_first_shown(tmp_path: Path) -> None:
    bad = SHOWN + 1022
    path = write(tmp_path, VA_HEADER + "".join(f"v/{k:05d}.jpg,2,0\n" for k in range(1, bad + 1)))
    _, reasons = read_submission(path, TRACKS["va"])
    assert reasons.totals == {"out of range": bad}
    assert len(reasons.lines) == SHOWN + 1
    assert reasons.lines[-1] == f"{path}: and 1,022 more of this kind: out of range"
    assert reasons.summary == f"refused: {bad:,} out of range"


def test_truth_may_say_not_annotated(tmp_path: Path) -> None:
    path = write(tmp_path, VA_HEADER + "v/00001.jpg,-5,-5.0\nv/00002.jpg,0.5,-5\nv/00003.jpg,-4,0\n")
    rows, reasons = read_submission(path, TRACKS["va"], truth=True)
    assert rows is not None
    assert rows["valence"].to_list() == [None, 0.5, None]
    assert rows["arousal"].to_list() == [None, None, 0]
    assert reasons.lines == [f"{path}:4: valence is -4; expected a number in [-1, 1]"]


def test_a_bad_value_leaves_the_row_with_null(tmp_path: Path) -> None:
    rows, _ = read_submission(write(tmp_path, VA_HEADER + "v/00001.jpg,x,0.25\n" + "v/00002.jpg,1\n"), TRACKS["va"])
    assert rows is not None
    assert rows.rows() == [(2, "v/00001.jpg", None, 0.25), (3, "v/00002.jpg", None, None)]


NUMBERS = st.one_of(
    st.floats(-1, 1).map(repr),
    st.floats(-1, 1).map("{:.4f}".format),
    st.integers(-9, 9).map(str),
    st.sampled_from([" 1", "+1", "-0", "01", ".5", "5.", "1e-3", "\t0"]),
)
ODD = st.one_of(
    st.sampled_from(["", "1 ", "nan", "inf", "1e999", "x", '"1"', "1\r", "0,0", "0x1", "1_0", "\ufeff1"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=3),
)
IMAGES = st.sampled_from([f"{video}/{frame:05d}.jpg" for video in ("v", "é", " v") for frame in range(1, 9)])


@st.composite
def bodies(draw: st.DrawFn, fields: st.SearchStrategy[str], width: int) -> bytes:
    images = draw(st.lists(IMAGES, unique=True, max_size=5))
    lines = [",".join([image, *(draw(fields) for _ in range(width))]) for image in images]
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines).encode().rstrip()


def check_paths_agree(body: bytes, track: str) -> bool:
    """Whether the quick path took the body; if so, the slow path must read the same and find nothing wrong."""
    quick = submissions._read_fast(body, TRACKS[track], 2)
    if quick is None:
        return False
    reasons = Reasons()
    slow = submissions._read_lines(body, 2, Path("f"), TRACKS[track], reasons) if body else quick
    assert reasons.lines == []
    assert quick.equals(slow)
    return True


@settings(max_examples=200, deadline=None)
@given(bodies(NUMBERS, 2))
def test_the_quick_path_reads_numbers_as_the_slow_one_does(body: bytes) -> None:
    assert check_paths_agree(body, "va")


@settings(max_examples=200, deadline=None)
@given(bodies(st.one_of(NUMBERS, ODD), 1))
def test_the_quick_path_accepts_nothing_that_the_slow_one_refuses(body: bytes) -> None:
    check_paths_agree(body, "expr")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(IMAGES, ODD, NUMBERS, st.just(",")), max_size=8))
def test_the_quick_path_accepts_no_rubbish(parts: list[str]) -> None:
    check_paths_agree(",".join(parts).replace("jpg,v", "jpg\nv").encode().rstrip(), "va")


def test_a_correct_file_takes_the_quick_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "_read_lines", None)
    values_N2 = np.random.default_rng(0).uniform(-1, 1, (2000, 2))
    lines = [TRACKS["va"].format_row(f"v/{k + 1:05d}.jpg", row) for k, row in enumerate(values_N2)]
    for end in ("\n", ",\n", ",\r\n", ", \t\r\n"):
        rows, reasons = read_submission(write(tmp_path, VA_HEADER + end.join([*lines, ""])), TRACKS["va"])
        assert rows is not None
        assert not reasons
        assert rows["line"].to_list() == list(range(2, 2002))
        np.testing.assert_array_equal(rows.select("valence", "arousal").to_numpy(), np.round(values_N2, 4))
        assert rows.schema["valence"] == pl.Float64


def test_what_is_uploaded_is_a_prediction_and_no_truth() -> None:
    rows, reasons = submissions.read_bytes(f"{VA_HEADER}v/00001.jpg,-5,0.5\n".encode(), TRACKS["va"])
    assert rows is not None
    assert rows.rows() == [(2, "v/00001.jpg", None, 0.5)]
    assert [line.split(";")[0] for line in reasons.lines] == ["submission.txt:2: valence is -5"]
