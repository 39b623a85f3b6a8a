"""Warnings about a correct submission that looks wrong: class rates, constant videos, a copy of an earlier file.

None of them refuses a file; each says what was found and what it was compared with.
Legend: N rows, D label columns of a task.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.tracks import Task, Track
from leaderboard.images import of_stills, places
from leaderboard.truth import Truth

RATE = 0.15
"""A class or unit warns when its share of the rows is further than this from its share of the training labels."""
MEAN = 0.25
"""Valence and arousal warn when their mean is further than this from that of the training labels,"""
SPREAD = 0.4
"""or when their standard deviation is less than this share of that of the training labels."""
SAME = 0.99
"""A file that states the same in so many of the rows that it shares with an earlier one is a suspected copy."""
LONG = 100
"""Rows from which a video that never changes is told."""


def warnings(rows: pl.DataFrame, track: Track, train: Truth | None, earlier: Mapping[str, pl.DataFrame]) -> list[str]:
    """What looks wrong with the rows of a valid submission; `earlier` are the rows of other submissions by name."""
    found = [line for task in track.tasks for line in (_rates(rows, task, train) if train else [])]
    if not of_stills(track):
        found += [line for task in track.tasks for line in _constant(rows, task)]
    return found + [line for name, other in earlier.items() for line in _copied(rows, other, name, track)]


def _rates(rows: pl.DataFrame, task: Task, train: Truth) -> list[str]:
    stated_ND = rows.select(task.label_columns).to_numpy()
    true_ND = train.true[task.name][train.mask[task.name]]
    if not len(true_ND):
        return []
    if task.kind == "regression":
        return _spreads(stated_ND, true_ND, task)
    if task.kind == "classes":
        classes = len(task.columns)
        share_C, usual_C = (
            np.bincount(v[:, 0].astype(np.int64), minlength=classes) / len(v) for v in (stated_ND, true_ND)
        )
    else:
        share_C, usual_C = stated_ND.mean(axis=0), true_ND.mean(axis=0)
    return [
        f"{column} is in {share:.1%} of the rows, and in {usual:.1%} of the training labels"
        for column, share, usual in zip(task.columns, share_C, usual_C, strict=True)
        if abs(share - usual) > RATE
    ]


def _spreads(stated_ND: NDArray[np.float64], true_ND: NDArray[np.float64], task: Task) -> list[str]:
    found = []
    for column, stated_N, true_N in zip(task.columns, stated_ND.T, true_ND.T, strict=True):
        if abs(stated_N.mean() - true_N.mean()) > MEAN:
            found.append(f"{column} has the mean {stated_N.mean():.2f}, the training labels {true_N.mean():.2f}")
        if stated_N.std() < SPREAD * true_N.std():
            spread = f"{stated_N.std():.3f}, the training labels {true_N.std():.3f}"
            found.append(f"{column} has the standard deviation {spread}: it hardly moves, which costs concordance")
    return found


def _constant(rows: pl.DataFrame, task: Task) -> list[str]:
    video = places(rows["image"])["video"]
    columns = [pl.col(column).n_unique() for column in task.label_columns]
    by_video = rows.select(task.label_columns).with_columns(video).group_by("video").agg(pl.len(), *columns)
    still = by_video.filter(pl.col("len") >= LONG, *(pl.col(column) == 1 for column in task.label_columns))
    if still.is_empty():
        return []
    names = ", ".join(still["video"].sort().head(5)) + (", ..." if len(still) > 5 else "")
    return [f"{len(still)} of {len(by_video)} videos state the same {task.name} in every row: {names}"]


def _copied(rows: pl.DataFrame, other: pl.DataFrame, name: str, track: Track) -> list[str]:
    both = rows.join(other, on="image", how="inner", suffix=" other")
    if both.is_empty():
        return []
    same = pl.all_horizontal([pl.col(column) == pl.col(f"{column} other") for column in track.label_columns])
    share = both.select(same.mean()).item()
    if share < SAME:
        return []
    return [f"{share:.1%} of the {len(both):,} rows that it shares with {name} are equal: is it a copy?"]
