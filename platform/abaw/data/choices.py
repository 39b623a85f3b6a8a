"""`choices.csv`: which face of a video is taken, in a table that a person edits.

    video,first,last,choose
    interview,1,,largest
    interview,120,180,left

A row holds from frame `first` to frame `last`, both included; an empty `last` means to the end. Where rows overlap, the
lower one rules. `choose` is one of `abaw.data.align.CHOICES`; `none` drops the frames.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from abaw.data.align import CHOICES
from abaw.problems import BadInput, Problem, refuse

HEADER = ("video", "first", "last", "choose")
MOST_DIGITS = 9
"""Of the number of a frame."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A rule for some frames of a video."""

    first: int
    last: int | None
    choose: str


def choice_at(stretches: Sequence[Stretch], frame: int, default: str) -> str:
    """The rule for a frame: that of the lowest row that holds it."""
    for stretch in reversed(stretches):
        if stretch.first <= frame and (stretch.last is None or frame <= stretch.last):
            return stretch.choose
    return default


def update_choices(path: Path, videos: Sequence[str], default: str) -> dict[str, list[Stretch]]:
    """The rows of the table by video; videos that are not in it get a row with the default, at the end of the file.

    BadInput names every row that cannot be used.
    """
    if path.exists() and not path.is_file():
        raise refuse(path, "is no file; expected a table, or nothing there")
    text = _read(path) if path.exists() else ""
    rows = _parse(path, text, videos)
    absent = [video for video in videos if video not in rows]
    if absent:
        new = not text
        with path.open("a", encoding="utf-8", newline="") as file:
            if not new and not text.endswith("\n"):
                file.write("\n")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([HEADER] if new else [])
            writer.writerows((video, 1, "", default) for video in absent)
    return rows | {video: [Stretch(first=1, last=None, choose=default)] for video in absent}


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(path, "is not UTF-8 text; save it as CSV in UTF-8") from error
    except OSError as error:
        raise refuse(path, f"cannot be read: {error.strerror or error}") from error


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, and the line that it begins in; a cell in quotes may hold line ends."""
    reader, line = csv.reader(io.StringIO(text, newline=""), strict=True), 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise refuse(path, f"is no CSV: {error}; mend the quotes", line=line) from error


def _parse(path: Path, text: str, videos: Sequence[str]) -> dict[str, list[Stretch]]:
    rows: dict[str, list[Stretch]] = {}
    problems: list[Problem] = []
    for number, cells in _lines(path, text):
        if number == 1 and tuple(cells) != HEADER:
            raise refuse(path, f"header is {','.join(cells)}; expected {','.join(HEADER)}", line=1)
        if number == 1 or not any(cells):
            continue
        wrong = _wrong(cells, videos)
        if wrong:
            problems.append(Problem(path=str(path), line=number, message=wrong))
            continue
        video, first, last, choose = cells
        stretch = Stretch(first=int(first), last=int(last) if last else None, choose=choose)
        rows.setdefault(video, []).append(stretch)
    if problems:
        raise BadInput(problems)
    return rows


def _wrong(cells: Sequence[str], videos: Sequence[str]) -> str:
    """What is wrong with a row, or nothing."""
    if len(cells) != len(HEADER):
        return f"{len(cells)} cells; expected {len(HEADER)}: {','.join(HEADER)}"
    video, first, last, choose = cells
    if video not in videos:
        return f"no video {video!r} among the {len(videos)} that are prepared; mend the name or remove the row"
    if not (_is_frame(first) and (not last or (_is_frame(last) and int(first) <= int(last)))):
        return f"frames {first!r} to {last!r}; expected whole numbers from 1, or an empty last for the end"
    if choose not in CHOICES:
        return f"choose is {choose!r}; expected {', '.join(CHOICES)}"
    return ""


def _is_frame(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS and int(text) >= 1
