"""The quick reader says what the reader of every file says, or None; a clean file is scored without Polars."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.problems import BadInput
from abaw.tracks import TRACKS, Track
from leaderboard import clean
from leaderboard.clean import Clean, read_clean
from leaderboard.predicted import predicted_of_rows
from leaderboard.scoring import Score, score, score_file
from leaderboard.submissions import read_submission
from leaderboard.truth import read_truth

TRACKS_OF_VIDEOS = ("expr", "va", "au", "mtl")
VIDEOS = [
    "v",
    "10-60-1280x720_right",
    "video12",
    "video13",
    "a name longer than two and thirty bytes",
]
PIECES = [b",", b"\n", b"\r\n", b" ", b"-", b"+", b".", b"/", b"0", b"7", b"9", b"\xef", b"\0", b"a", b"00001", b"-1"]


def text_of(track: Track, rows: list[tuple[str, int]], rng: np.random.Generator, unlabelled: float = 0) -> bytes:
    """A file in the organisers' form, of random labels; a share of them is not annotated."""
    lines = [",".join(track.submission_header)]
    for video, frame in rows:
        parts = []
        for task in track.tasks:
            high = {"regression": 0, "classes": len(task.columns), "binary": 2}[task.kind]
            size = len(task.label_columns)
            labels_D = rng.integers(0, high, size).astype(float) if high else rng.uniform(-1, 1, size)
            parts.append(task.format(np.full(size, task.sentinel) if rng.uniform() < unlabelled else labels_D))
        lines.append(f"{video}/{frame:05d}.jpg,{','.join(parts)}")
    return "\n".join(lines).encode() + b"\n"


def as_rows(read: Clean) -> list[tuple[str, tuple[float, ...]]]:
    frames = [f"{video}/{frame:05d}.jpg" for video, rows in read.videos.items() for frame in read.frame_N[rows]]
    return list(zip(frames, map(tuple, np.nan_to_num(read.values_DN.T, nan=9).tolist()), strict=True))


def general_rows(path: Path, track: Track, *, truth: bool) -> list[tuple[str, tuple[float, ...]]]:
    rows, reasons = read_submission(path, track, truth=truth)
    assert rows is not None
    assert not reasons, reasons.lines
    return [(image, tuple(values)) for _, image, *values in rows.fill_null(9).iter_rows()]


@st.composite
def some_rows(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Frames of a few videos, in order, with gaps."""
    videos = draw(st.lists(st.sampled_from(VIDEOS), min_size=1, max_size=4, unique=True))
    frames = st.sets(st.integers(1, 99_999), min_size=1, max_size=6)
    return [(video, frame) for video in videos for frame in sorted(draw(frames))]


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(TRACKS_OF_VIDEOS), rows=some_rows(), seed=st.integers(0, 9), truth=st.booleans())
def test_a_clean_file_is_read_as_the_other_reader_reads_it(
    name: str, rows: list[tuple[str, int]], seed: int, truth: bool
) -> None:
    track = TRACKS[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.txt"
        labelled = truth and name != "mtl" and name != "va"  # -5 has no four decimals there
        path.write_bytes(text_of(track, rows, np.random.default_rng(seed), 0.3 if labelled else 0))
        found = read_clean(path, track, truth=truth)
        assert found is not None
        assert as_rows(found) == general_rows(path, track, truth=truth)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), name=st.sampled_from(TRACKS_OF_VIDEOS), rows=some_rows(), truth=st.booleans())
def test_a_spoiled_file_is_left_to_the_other_reader_or_read_alike(
    data: st.DataObject, name: str, rows: list[tuple[str, int]], truth: bool
) -> None:
    text = text_of(TRACKS[name], rows, np.random.default_rng(0), 0.3 if truth else 0)
    for _ in range(data.draw(st.integers(1, 3))):
        at, over = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 3))
        text = text[:at] + data.draw(st.sampled_from([*PIECES, b""])) + text[at + over :]
    if data.draw(st.booleans()):
        lines = text.split(b"\n")
        lines.insert(data.draw(st.integers(1, len(lines))), data.draw(st.sampled_from(lines)))
        text = b"\n".join(lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.txt"
        path.write_bytes(text)
        if (found := read_clean(path, TRACKS[name], truth=truth)) is not None:
            assert as_rows(found) == general_rows(path, TRACKS[name], truth=truth)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("v/00001.jpg,0.5000,0.5000\nv/00001.jpg,0.5000,0.5000", "twice"),
        ("v/00002.jpg,0.5000,0.5000\nv/00001.jpg,0.5000,0.5000", "order"),
        ("v/00001.jpg,0.5000,0.5000\nw/00001.jpg,0.5000,0.5000\nv/00002.jpg,0.5000,0.5000", "apart"),
        ("v/00000.jpg,0.5000,0.5000", "frame 0"),
        ("v/00001.jpg,1.0001,0.5000", "too large"),
        ("v/00001.jpg,-0.5000,1-0.5000", "minus inside"),
        ("v/00001.jpg,0.5000,0.5000,", "comma at the end"),
        ("v/00001.jpg,0.5000", "a value too few"),
        ("v,/00001.jpg,0.5000,0.5000", "comma in the name"),
        ("v/w/00001.jpg,0.5000,0.5000", "a folder in the name"),
        ("/00001.jpg,0.5000,0.5000", "no video"),
        ("v_00001.jpg,0.5000,0.5000", "no slash"),
        ("v/a0001.jpg,0.5000,0.5000", "no digit"),
        ("", "no row"),
        ("\n", "a blank line"),
    ],
)
def test_what_is_not_clean_is_left_to_the_other_reader(tmp_path: Path, line: str, why: str) -> None:
    path = tmp_path / "s.txt"
    path.write_text(f"image_location,valence,arousal\n{line}\n" if line else "image_location,valence,arousal\n")
    assert read_clean(path, TRACKS["va"]) is None, why
    assert read_clean(tmp_path / "nowhere.txt", TRACKS["va"]) is None
    assert read_clean(tmp_path, TRACKS["va"]) is None


def test_videos_go_on_from_block_to_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(video, frame) for video in VIDEOS for frame in range(1, 400, 3)]
    path = tmp_path / "s.txt"
    path.write_bytes(text_of(TRACKS["va"], rows, np.random.default_rng(0)))
    whole = read_clean(path, TRACKS["va"])
    monkeypatch.setattr(clean, "BLOCK", 504)
    parts = read_clean(path, TRACKS["va"])
    assert whole is not None
    assert parts is not None
    assert as_rows(whole) == as_rows(parts) == general_rows(path, TRACKS["va"], truth=False)


@pytest.mark.parametrize("length", range(1, 42))
def test_names_that_differ_in_one_byte_are_two_videos(tmp_path: Path, length: int) -> None:
    """Names are compared eight bytes at a time: whatever their length, each byte counts and no other one does."""
    names = ["x" * length] + ["x" * at + "y" + "x" * (length - at - 1) for at in range(length)]
    path = tmp_path / "s.txt"
    rng = np.random.default_rng(0)
    path.write_bytes(text_of(TRACKS["va"], [(name, frame) for name in names for frame in (1, 2, 70_001)], rng))
    found = read_clean(path, TRACKS["va"])
    assert found is not None
    assert found.videos == {name: slice(3 * k, 3 * k + 3) for k, name in enumerate(names)}


@pytest.mark.parametrize("value", ["0.0000", "-0.0000", "-1.0000", "1.0000", "0.0001", "-0.9999", "0.1234"])
def test_values_are_those_that_python_reads(tmp_path: Path, value: str) -> None:
    path = tmp_path / "s.txt"
    path.write_text(f"image_location,valence,arousal\nv/00001.jpg,{value},0.5000\nv/00002.jpg,0.5000,{value}\n")
    found = read_clean(path, TRACKS["va"])
    assert found is not None
    assert list(map(str, found.values_DN.diagonal().tolist())) == [str(float(value))] * 2


@pytest.mark.parametrize("value", ["1.0001", "2.0000", "6.5536", "9.9999", "-5.0000", "0.12:4", "0:1234", "+0.123"])
def test_no_other_value_is_read(tmp_path: Path, value: str) -> None:
    path = tmp_path / "s.txt"
    path.write_text(f"image_location,valence,arousal\nv/00001.jpg,{value},0.5000\n")
    assert read_clean(path, TRACKS["va"]) is None


def general_score(path: Path, track: Track, truth: Path) -> Score:
    rows, reasons = read_submission(path, track)
    reasons.raise_any()
    assert rows is not None
    return score(predicted_of_rows(rows, track, path), read_truth(truth, track), track)


def outcome(scorer: Callable[[Path, Track, Path], Score], path: Path, track: Track, truth: Path) -> object:
    try:
        return scorer(path, track, truth).as_json()
    except BadInput as error:
        return error.problems


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(TRACKS_OF_VIDEOS),
    rows=some_rows(),
    more=some_rows(),
    order=st.permutations(VIDEOS),
    seed=st.integers(0, 9),
    unlabelled=st.sampled_from([0, 0.3, 1]),
)
def test_scores_and_refusals_are_those_of_the_general_scorer(
    name: str,
    rows: list[tuple[str, int]],
    more: list[tuple[str, int]],
    order: list[str],
    seed: int,
    unlabelled: float,
) -> None:
    """Whatever the order of the videos, with rows that no label asks for, and with labels that no row answers."""
    track, rng = TRACKS[name], np.random.default_rng(seed)
    predicted = sorted({*rows, *more}, key=lambda row: (order.index(row[0]), row[1]))
    with tempfile.TemporaryDirectory() as folder:
        path, truth = Path(folder) / "s.txt", Path(folder) / "t.txt"
        for one, other in ((predicted, rows), (rows, predicted)):
            path.write_bytes(text_of(track, one, rng))
            truth.write_bytes(text_of(track, other, rng, unlabelled))
            assert outcome(score_file, path, track, truth) == outcome(general_score, path, track, truth)


def test_scoring_a_clean_file_imports_neither_polars_nor_sqlalchemy(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_bytes(text_of(TRACKS["va"], [("v", 1), ("v", 2), ("w", 1)], np.random.default_rng(0)))
    heavy = {"polars", "pyarrow", "sqlalchemy", "pandas", "numba", "rich"}
    run = "import sys; from leaderboard.cli import main; main(sys.argv[1:])"
    code = f"{run}; print(sorted({heavy!r} & set(sys.modules)))"
    command = [sys.executable, "-c", code, "score", str(path), "--track", "va", "--truth", str(path), "--json"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1] == "[]"
