"""Files of video frames without any flaw, read by NumPy alone: what is scored most, in a fraction of the time.

`leaderboard.submissions` reads every file and says what is wrong with it. This reads only what `leaderboard export`
writes, byte by byte: the track's header, line ends LF, `<video>/<five digits>.jpg`, one digit a class or unit, four
decimals a value, the frames of a video together and in order. Of any other file it says None, and the other one reads.
Lines are taken apart from their end, all lines of a block at once; eight bytes of each are handled as one integer.
The names of a video's lines are counted and never compared one by one.
Legend: N rows (frames), D label columns.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abaw.tracks import Task, Track

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]
Words = NDArray[np.uint64]
Floats = NDArray[np.float64]

BLOCK = 1 << 21
"""Bytes that are read at a time: what is made of them stays in the processor's cache."""
PAD = 64
"""Bytes before a block, so that words may be taken beyond its first line; a line end is the last of them."""
NEWLINE, COMMA, MINUS, ZERO, SLASH = b"\n,-0/"
DECIMALS = 10_000


@dataclass(frozen=True, kw_only=True)
class Clean:
    """The rows of a clean file."""

    videos: Mapping[str, slice]
    """Rows of each video, in the order of the file."""
    frame_N: NDArray[np.int32]
    """Increasing in each video."""
    values_DN: Floats
    """The track's label columns; NaN where truth has no label."""
    complete: bool
    """No value is NaN."""


class Block(NamedTuple):
    """The rows of some whole lines."""

    frame_N: NDArray[np.int32]
    values_DN: Floats
    firsts: list[tuple[int, bytes]]
    """The rows where a video begins or goes on, and its name."""


def read_clean(path: Path, track: Track, *, truth: bool = False) -> Clean | None:
    """The rows of a clean submission file, or of truth in that form; None for any other file, also for none."""
    try:
        with path.open("rb") as file:
            blocks = _read_blocks(file, track, truth)
    except OSError:
        return None
    if not blocks:
        return None
    frame_N = np.concatenate([block.frame_N for block in blocks])
    values_DN = np.concatenate([block.values_DN for block in blocks], axis=1)
    rows = np.cumsum([0, *(len(block.frame_N) for block in blocks)]).tolist()
    firsts = [(row + own, name) for row, block in zip(rows, blocks, strict=False) for own, name in block.firsts]
    videos = _rows_by_video(firsts, frame_N)
    complete = not (truth and np.isnan(values_DN).any())
    return None if videos is None else Clean(videos=videos, frame_N=frame_N, values_DN=values_DN, complete=complete)


def _read_blocks(file: BinaryIO, track: Track, truth: bool) -> list[Block]:
    """All lines below the header, in blocks; none where one line is not clean."""
    header = ",".join(track.submission_header).encode() + b"\n"
    if file.read(len(header)) != header:
        return []
    text, stop, blocks = bytearray(PAD + BLOCK), PAD, []
    text[PAD - 1] = NEWLINE
    data = np.frombuffer(text, dtype=np.uint8)
    while more := file.readinto(memoryview(text)[stop:]):  # type: ignore[attr-defined]
        stop += more
        ends_N = np.flatnonzero(data[PAD:stop] == NEWLINE) + PAD
        block = _read_block(text, ends_N, track, truth) if len(ends_N) else None
        if block is None:
            return []
        blocks.append(block)
        rest = text[ends_N[-1] + 1 : stop]
        stop = PAD + len(rest)
        text[PAD:stop] = rest
    return blocks if stop == PAD else []


def _rows_by_video(firsts: list[tuple[int, bytes]], frame_N: NDArray[np.int32]) -> dict[str, slice] | None:
    """The rows of each video, from the first rows of its parts; None where its frames are not together or in order."""
    starts: dict[bytes, int] = {}
    last = b""
    for row, name in firsts:
        if name != last and (name in starts or not name.isascii() or not name.decode().isprintable()):
            return None
        starts.setdefault(name, row)
        last = name
    later_N = frame_N[1:] > frame_N[:-1]
    later_N[np.array(list(starts.values())[1:], dtype=np.int64) - 1] = True
    if not later_N.all():
        return None
    ends = pairwise([*starts.values(), len(frame_N)])
    return {name.decode(): slice(*rows) for name, rows in zip(starts, ends, strict=True)}


def _read_block(text: bytearray, ends_N: Places, track: Track, truth: bool) -> Block | None:
    """The rows of the lines that end there, of which the first one follows the padding; None where one is not clean."""
    data, at_N, columns = np.frombuffer(text, dtype=np.uint8), ends_N, []
    for task in reversed(track.tasks):
        read = _decimals if task.kind == "regression" else _digit
        for _ in task.label_columns:
            value_N, at_N = read(data, at_N)
            if not _known(value_N, task, truth) or (data.take(at_N) != COMMA).any():
                return None
            columns.append(value_N)
    begin_N = np.concatenate([[PAD], ends_N[:-1] + 1])
    length_N = at_N - 10 - begin_N
    frame_N = _frames(data, at_N)
    if (length_N < 1).any() or not frame_N.all():
        return None
    firsts = _first_rows(text, begin_N, length_N, int(ends_N[-1]))
    return Block(frame_N, np.stack(columns[::-1]), firsts) if firsts else None


def _first_rows(text: bytearray, begin_N: Places, length_N: Places, end: int) -> list[tuple[int, bytes]] | None:
    """The rows where a video begins, and its name, which has `length_N` bytes; None where its lines are apart.

    Where it ends is guessed as if they were together, and then they are counted.
    """
    row, rows, firsts = 0, len(begin_N), []
    while row < rows:
        name = bytes(text[begin_N[row] : begin_N[row] + length_N[row]])
        if b"/" in name or b"," in name:
            return None
        line = b"\n%b/" % name
        after = row + _same(text, line, begin_N[row:])
        counted = text.count(line, begin_N[row] - 1, begin_N[after] if after < rows else end)
        if counted != after - row or (length_N[row:after] != len(name)).any():
            return None
        firsts.append((row, name))
        row = after
    return firsts


def _same(text: bytearray, line: bytes, begin_N: Places) -> int:
    """How many of the lines that begin there begin so, if all that do come first."""
    end = 1
    while end < len(begin_N) and text.startswith(line, begin_N[end] - 1):
        end *= 2
    return bisect_left(
        range(min(end, len(begin_N))), True, lo=end // 2, key=lambda row: not text.startswith(line, begin_N[row] - 1)
    )


def _known(value_N: Floats, task: Task, truth: bool) -> bool:
    """Whether the task allows all values; in truth, what is not annotated becomes NaN."""
    # Digits and decimals that a task allows are those from a least to a largest one.
    if task.valid(np.stack([value_N.min(), value_N.max()])).all():
        return True
    allowed_N = task.valid(value_N)
    unlabelled_N = value_N == task.sentinel
    value_N[unlabelled_N] = np.nan
    return truth and bool((allowed_N | unlabelled_N).all())


def _decimals(data: Bytes, end_N: Places) -> tuple[Floats, Places]:
    """Values such as `-0.1234` that end before `end_N`, infinite if one is none, and where the comma before them is."""
    word_N = _word_before(data, end_N + 1)
    value_N = (_last_four(word_N, 8) + _digit_at(word_N, 8)) / DECIMALS
    if not _has_form(word_N, ",0.0000?"):
        value_N[:] = np.inf
    # The last bit, which tells a minus from a comma, becomes the sign bit.
    value_N.view(np.uint64)[:] |= word_N << np.uint64(63)
    return value_N, end_N - 7 - (word_N & np.uint64(1)).view(np.int64)


def _digit(data: Bytes, end_N: Places) -> tuple[Floats, Places]:
    """Digits, with or without a minus, that end before `end_N`, and where the comma before them should be."""
    value_N = (data.take(end_N - 1) - np.uint8(ZERO)).astype(np.float64)
    minus_N = data.take(end_N - 2) == MINUS
    if minus_N.any():
        value_N[minus_N] *= -1
        return value_N, end_N - 2 - minus_N
    return value_N, end_N - 2


def _frames(data: Bytes, end_N: Places) -> NDArray[np.int32]:
    """The frames of the names that end before `end_N`: 0 where one of them does not end as `/00001.jpg` does."""
    last_N, first_N = _word_before(data, end_N), data.take(end_N - 9) - np.uint8(ZERO)
    frame_N = _last_four(last_N, 32).astype(np.int32)
    if first_N.any():
        frame_N += np.int32(10_000) * first_N
    if not _has_form(last_N, "0000.jpg") or (first_N > 9).any() or (data.take(end_N - 10) != SLASH).any():
        frame_N[:] = 0
    return frame_N


def _word_before(data: Bytes, end_N: Places) -> Words:
    """The eight bytes before `end_N` as little-endian integers."""
    word_at_every_byte: Words = np.ndarray(len(data) - 7, dtype="<u8", buffer=data, strides=1)
    return word_at_every_byte[end_N - 8]


def _has_form(word_N: Words, form: str) -> bool:
    """Whether the words are as eight signs say: 0 any digit, a comma or a minus for a comma, ? anything."""
    expected = _word("\0" if sign == "?" else sign for sign in form)
    flaws_N = word_N ^ expected
    # A digit is now 0 to 9, and 6 more is less than 16; a comma and a minus differ in their last bit.
    flaws_N |= flaws_N + _word("\6" if sign == "0" else "\0" for sign in form)
    flaws_N &= _word({"0": "\xf0", ",": "\xfe", "?": "\0"}.get(sign, "\xff") for sign in form)
    return not flaws_N.any()


def _word(signs: Iterable[str]) -> np.uint64:
    return np.uint64(int.from_bytes("".join(signs).encode("latin-1"), "little"))


def _last_four(word_N: Words, shift: int) -> Words:
    """The number that four digits make, the last four bytes of words once they are moved left by `shift` bits."""
    x_N = word_N << np.uint64(shift)
    x_N &= np.uint64(0x0F0F0F0F << 32)
    x_N *= np.uint64(10 << 8 | 1)
    x_N >>= np.uint64(8)
    x_N &= np.uint64(0x00FF00FF << 32)
    x_N *= np.uint64(100 << 16 | 1)
    x_N >>= np.uint64(48)
    return x_N


def _digit_at(word_N: Words, bit: int) -> Words:
    """The digit whose byte starts at that bit, times 10,000."""
    x_N = word_N >> np.uint64(bit)
    x_N &= np.uint64(15)
    x_N *= np.uint64(10_000)
    return x_N
