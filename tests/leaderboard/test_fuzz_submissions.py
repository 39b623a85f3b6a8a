"""Files spoiled at random, of every form: no traceback, and what is accepted states what a plain reading says."""

import io
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.templates import check, read_template

FRAMES = [f"{video}/{frame:05d}.jpg" for video in ("a", "é b") for frame in (1, 2, 3)]
STILLS = [f"{number}.jpg" for number in range(6)]
VALUES = {"va": b"0.25,-0.5", "expr": b"3", "au": b"0,1" + b",0" * 10, "mtl": b"0.25,-0.5,3" + b",1" * 12}
VALUES |= {"cexpr": b"6", "lsd": b"5"}
BY_VIDEO = ("va", "expr", "au")
"""Tracks that have a folder form."""
PIECES = [
    b",",
    b"\n",
    b"\r",
    b"\r\n",
    b" ",
    b";",
    b"\t",
    b'"',
    b"\xef\xbb\xbf",
    b"\xff",
    b"\0",
    b"-",
    b".",
    b"1",
    b"e5",
]
PIECES += [b"nan", b"inf", b"-5", b"9" * 400, b"0.5", b"a/00001.jpg", b"image_location", b"PK\x03\x04", b"PAR1"]


def names_of(track: str) -> list[str]:
    return STILLS if track == "lsd" else FRAMES


def good(track: str) -> bytes:
    header = ",".join(TRACKS[track].submission_header).encode()
    return b"\n".join([header, *(name.encode() + b"," + VALUES[track] for name in names_of(track))]) + b"\n"


def video_file(track: str) -> bytes:
    """One of the two files of the folder form."""
    return ",".join(TRACKS[track].tasks[0].columns).encode() + b"\n" + (VALUES[track] + b"\n") * 3


def numbers(track: str) -> list[float]:
    return list(map(float, VALUES[track].split(b",")))


@st.composite
def spoiled(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes with a few edits: a piece put in or over something, a part cut out, a line moved, doubled or lost."""
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["piece", "bytes", "cut", "line"]))
        at = draw(st.integers(0, len(data)))
        if kind == "line":
            lines = data.split(b"\n")
            one = lines.pop(draw(st.integers(0, len(lines) - 1)))
            for _ in range(draw(st.integers(0, 2))):
                lines.insert(draw(st.integers(0, len(lines))), one)
            data = b"\n".join(lines)
        else:
            over = draw(st.integers(0, 8 if kind == "cut" else 2))
            new = {"piece": st.sampled_from(PIECES), "bytes": st.binary(max_size=3), "cut": st.just(b"")}[kind]
            data = data[:at] + draw(new) + data[at + over :]
    return data


def plain_reading(data: bytes, track: str) -> list[tuple[str, list[float]]]:
    """Names and values of a submission file, by `split` and `float`; an assertion or an error where it is none."""
    header, *lines = data.decode("utf-8-sig").rstrip().split("\n")
    assert [name.strip() for name in header.rstrip("\r ,").split(",")] == list(TRACKS[track].submission_header)
    fields = [line.removesuffix("\r").rstrip(" \t").removesuffix(",").split(",") for line in lines]
    return [(name, list(map(float, values))) for name, *values in fields]


def accepted(folder: str, path: Path, track: str, asked: bytes = b"") -> list[tuple[str, list[float]]] | None:
    """What `check` says that a file states; None when it is refused, with a reason that names the file.

    `asked` is the template, where it is not the good file.
    """
    template = Path(folder) / "t.txt"
    template.write_bytes(asked or good(track))
    rows, reasons = check(path, read_template(template, TRACKS[track]))
    if reasons:
        assert all(line.startswith(str(path)) for line in reasons.lines)
        return None
    assert rows is not None
    return [(row[1], list(row[2:])) for row in rows.iter_rows()]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(list(VALUES)))
def test_a_spoiled_file_is_refused_or_read_as_it_stands(data: st.DataObject, track: str) -> None:
    content = data.draw(spoiled(good(track)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.txt"
        path.write_bytes(content)
        found = accepted(folder, path, track)
    if found is None:
        return
    assert found == plain_reading(content, track)
    assert [name for name, _ in found] == names_of(track)
    for _, values in found:
        for task in TRACKS[track].tasks:
            own, values = values[: len(task.label_columns)], values[len(task.label_columns) :]
            low, high = (
                (-1, 1) if task.kind == "regression" else (0, len(task.columns) - 1 if task.kind == "classes" else 1)
            )
            assert all(low <= value <= high and (low < 0 or value == int(value)) for value in own)


@settings(max_examples=120, deadline=None)
@given(st.data(), st.sampled_from(BY_VIDEO), st.booleans())
def test_a_spoiled_folder_of_videos_is_refused_or_read_as_it_stands(
    data: st.DataObject, track: str, listed: bool
) -> None:
    """Against a template of rows, and against a list of videos, for which a video may have any number of lines."""
    content = data.draw(spoiled(video_file(track)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        path.mkdir()
        (path / "a.txt").write_bytes(video_file(track))
        (path / "é b.txt").write_bytes(content)
        found = accepted(folder, path, track, "a\né b\n".encode() if listed else b"")
    if found is not None:
        lines = content.decode("utf-8-sig").rstrip().split("\n")[1:]
        stated = [list(map(float, line.rstrip("\r \t").removesuffix(",").split(","))) for line in lines]
        assert [values for _, values in found] == [numbers(track)] * 3 + stated
        assert stated if listed else len(stated) == 3


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(list(VALUES)), st.booleans())
def test_a_spoiled_zip_is_refused_or_holds_what_was_packed(data: st.DataObject, track: str, by_video: bool) -> None:
    by_video &= track in BY_VIDEO
    video = video_file(track)
    files = {"a.txt": video, "é b.txt": video} if by_video else {"s.txt": good(track)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.zip"
        path.write_bytes(data.draw(spoiled(buffer.getvalue())))
        found = accepted(folder, path, track)
    assert found in (None, [(name, numbers(track)) for name in names_of(track)])


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(list(VALUES)), st.booleans())
def test_a_spoiled_template_is_refused_or_asks_for_what_it_lists(data: st.DataObject, track: str, listed: bool) -> None:
    listed &= track in BY_VIDEO
    content = data.draw(spoiled("a\né b\n".encode() if listed else good(track)))
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "t.txt"
        template.write_bytes(content)
        try:
            asked = read_template(template, TRACKS[track]).asked
        except BadInput:
            return
    lines = content.decode("utf-8-sig").split("\n")
    name = "image" if "image" in asked.columns else "video"
    assert len(asked)
    for line, found in asked.select("line", name).iter_rows():
        first = lines[line - 1].split(",")[0].strip()
        assert found == (first if name == "image" else first.removesuffix(".txt"))
