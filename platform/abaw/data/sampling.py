"""Which frames an epoch takes, in which order: a pure function of (seed, epoch), the same for any number of workers.

Sources: one frame of ten, SRP section 4; 8,000 frames a class drawn uniformly, dual-view fusion section 4.1.

Legend: N rows of a frame table (sorted by video and frame), M items of an epoch, T frames of a window.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.data.frames import residues

Rows = NDArray[np.int64]
OUTSIDE = -1
"""Stands in a window for a place before the first or after the last frame of the video."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which frames an epoch takes: all of them, unless a field says otherwise."""

    one_of: int = 1
    """One frame of this many, with an offset that is fresh for each video and epoch (SRP, section 4); 1 takes all."""
    per_class: int = 0
    """This many frames of each expression, drawn uniformly; 0 does not draw by class. A class with fewer repeats them.
    Frames without an expression are left out; successive epochs draw other frames until a class is used up."""
    balanced: bool = False
    """Each expression equally often, in as many frames an epoch as have an expression."""
    window: int = 0
    """Items are windows of this many frames of one video, in order; 0 takes frames one by one. With `one_of` the frames
    of a window lie that far apart."""
    stride: int = 0
    """Frames between the starts of two windows, at most `window`; 0 takes `window`, so that no frame comes twice. Where
    the first window of a video starts is fresh for each video and epoch."""

    def __post_init__(self) -> None:
        if self.one_of < 1:
            raise ValueError(f"one_of is {self.one_of}; expected 1 to take every frame, or k to take one of k")
        if min(self.per_class, self.window) < 0:
            raise ValueError(f"per_class is {self.per_class}, window is {self.window}; expected 0 or more")
        if not 0 <= self.stride <= self.window:
            raise ValueError(f"stride is {self.stride}; expected 0 to {self.window}, the window")
        ways = (self.per_class > 0) + self.balanced + (self.one_of > 1 or self.window > 0)
        if ways > 1:
            raise ValueError("per_class, balanced and one_of or window choose frames, each in its own way; give one")


ALL_FRAMES = Sampling()


def epoch_order(table: pl.DataFrame, *, seed: int, epoch: int, sampling: Sampling) -> Rows:
    """Row numbers of an epoch in the order in which they are seen: (M,), or (M, T) for windows, with `OUTSIDE`.

    `table` has `video`, `frame` and, to draw by class, `expression`. With `one_of=k`, k epochs that begin at a multiple
    of k take every frame once.
    """
    if sampling.per_class or sampling.balanced:
        items = _draw_classes(table, seed=seed, epoch=epoch, sampling=sampling)
    else:
        items = np.arange(table.height)
        if sampling.one_of > 1:
            cycle, turn = divmod(epoch, sampling.one_of)
            offset = chance(seed, cycle, "offset").permutation(sampling.one_of)[turn]
            items = items[residues(table, sampling.one_of).to_numpy() == offset]
        if sampling.window:
            items = windows(table, items, sampling=sampling, generator=chance(seed, epoch, "window"))
    return chance(seed, epoch, "order").permutation(items)


def epoch_size(table: pl.DataFrame, sampling: Sampling) -> int:
    """Items that every epoch has at least: with `one_of` and windows epochs differ by a few, and the least counts."""
    if sampling.per_class or sampling.balanced:
        return sum(_class_counts(table, sampling).values())
    if sampling.one_of == 1 and not sampling.window:
        return table.height
    stride = sampling.stride or sampling.window or 1
    rows = table.select("video", residue=residues(table, sampling.one_of))
    items = rows.group_by("video", "residue").len().with_columns(items=-(-pl.col("len").cast(pl.Int64) // stride))
    by_residue = items.group_by("residue").agg(pl.col("items").sum())
    return int(by_residue["items"].to_numpy().min()) if by_residue.height == sampling.one_of else 0  # one has no frame


def windows(table: pl.DataFrame, rows_N: Rows, *, sampling: Sampling, generator: np.random.Generator | None) -> Rows:
    """The windows (M, T) over `rows_N` (ascending), each inside one video.

    The first window of a video starts up to `stride - 1` places before its first frame, as the generator draws; without
    one it starts at the first frame, as evaluation wants it. With `stride == window` every row is in one window.
    """
    stride = sampling.stride or sampling.window
    lengths_V = table["video"].gather(rows_N).rle().struct.field("len").to_numpy().astype(np.int64)
    early_V = generator.integers(stride, size=len(lengths_V)) if generator else np.zeros(len(lengths_V), np.int64)
    counts_V = -(-(lengths_V + early_V) // stride)
    ends_V = counts_V.cumsum()
    turn_M = np.arange(counts_V.sum()) - (ends_V - counts_V).repeat(counts_V)
    place_MT = (turn_M * stride - early_V.repeat(counts_V))[:, None] + np.arange(sampling.window)
    inside_MT = (place_MT >= 0) & (place_MT < lengths_V.repeat(counts_V)[:, None])
    first_M = (lengths_V.cumsum() - lengths_V).repeat(counts_V)
    return np.where(inside_MT, rows_N[np.where(inside_MT, place_MT + first_M[:, None], 0)], OUTSIDE)


def chance(seed: int, epoch: int, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose of one epoch."""
    return np.random.default_rng([seed, epoch, *purpose.encode()])


def _class_counts(table: pl.DataFrame, sampling: Sampling) -> dict[int, int]:
    """Frames of each class in an epoch."""
    labelled = table["expression"].drop_nulls()
    classes = labelled.unique().sort().to_list()
    return {name: sampling.per_class or len(labelled) // len(classes) for name in classes}


def _draw_classes(table: pl.DataFrame, *, seed: int, epoch: int, sampling: Sampling) -> Rows:
    """The rows of each class, as often as `_class_counts` says: no row twice before each row was taken once."""
    drawn = [np.empty(0, np.int64)]
    for name, count in _class_counts(table, sampling).items():
        rows_N = (table["expression"] == name).arg_true().to_numpy().astype(np.int64)
        repeats, rest = divmod(count, len(rows_N))
        cycle, turn = divmod(epoch, len(rows_N) // rest if rest else 1)
        shuffled_N = chance(seed, cycle, f"class {name}").permutation(rows_N)
        drawn += [np.tile(rows_N, repeats), shuffled_N[turn * rest : (turn + 1) * rest]]
    return np.concatenate(drawn)
