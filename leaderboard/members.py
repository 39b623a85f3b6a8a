"""The members of an ensemble, read column by column into one array a task: no frame of a member is in memory twice.

One member's table is read at a time, compared with the first, copied into the arrays as float32 and dropped.
Legend: M members, N rows (frames), C prediction columns and D label columns of a task.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from abaw.folds import fold_group, make_folds
from abaw.metrics import TrackStatistics
from abaw.predictions import labels_of, read_predictions
from abaw.problems import refuse
from abaw.tracks import Track
from leaderboard.agreement import Agreement
from leaderboard.images import of_stills

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
EPSILON = 1e-6
"""Probabilities are kept this far from 0 and 1 before their logarithm is taken."""


@dataclass(frozen=True, kw_only=True)
class Members:
    """Predictions of all members for the same frames; the keys of the mappings are the names of the track's tasks."""

    track: Track
    names: tuple[str, ...]
    common: pa.Table
    """Frames, labels and fold that the members share, sorted by video and frame."""
    scores: Mapping[str, NDArray[np.float32]]
    """Predictions (M, N, C): probabilities, and what `prepare` makes of them."""

    @property
    def rows(self) -> int:
        """N."""
        return int(self.common.num_rows)


@dataclass(frozen=True, kw_only=True)
class Labels:
    """What the frames are labelled with, and the folds of whole videos by which selection is nested."""

    true: Mapping[str, Floats]
    """Labels (N, D) of each task, NaN where not annotated."""
    mask: Mapping[str, Mask]
    """Rows (N,) that have every label of the task."""
    fold_N: NDArray[np.int64]
    folds: int


def read_members(files: Mapping[str, Path], track: Track) -> Members:
    """Read prediction tables by name. BadInput when they differ in rows or labels; every reason, naming the member."""
    return gather(((name, read_predictions(path, track)) for name, path in files.items()), len(files), track)


def gather(tables: Iterable[tuple[str, pa.Table]], number: int, track: Track) -> Members:
    """The columns of `number` named tables, of which one at a time is asked for. BadInput as `read_members`."""
    names: list[str] = []
    scores: dict[str, NDArray[np.float32]] = {}
    agreement = Agreement(track)
    for member, (name, given) in enumerate(tables):
        table = agreement.add(name, given)
        names.append(name)
        if table is None:
            continue
        for task in track.tasks:
            if task.name not in scores:
                scores[task.name] = np.empty((number, table.num_rows, len(task.columns)), dtype=np.float32)
            own_NC = scores[task.name][member]
            for k, column in enumerate(task.columns):
                own_NC[:, k] = table[column].to_numpy()
    return Members(track=track, names=tuple(names), common=agreement.common(), scores=scores)


def prepare(members: Members, *, logits: bool) -> None:
    """Clip valence and arousal to [-1, 1]; with `logits`, log(p / (1 - p)) of units and log p of classes. In place.

    The mean of values in range is in range, so what is chosen by is what is scored.
    """
    for task in members.track.tasks:
        for x_NC in members.scores[task.name]:
            if task.kind == "regression":
                np.clip(x_NC, -1, 1, out=x_NC)
            elif logits:
                np.clip(x_NC, EPSILON, 1 - EPSILON, out=x_NC)
                x_NC[:] = np.log(x_NC) - np.log1p(-x_NC) if task.kind == "binary" else np.log(x_NC)


def has_labels(members: Members) -> bool:
    """Whether every task has a labelled frame."""
    return all(labels_of(members.common, task)[1].any() for task in members.track.tasks)


def labels_for(members: Members, *, folds: int, seed: int) -> Labels:
    """The labels of the members' frames, and folds of whole videos: fewer than asked for where videos are fewer.

    With `folds` 1 nothing is held out. BadInput when a task has no labelled frame, or when folds are asked for and
    there is one video only.
    """
    true, mask = {}, {}
    for task in members.track.tasks:
        true[task.name], mask[task.name] = labels_of(members.common, task)
        if not mask[task.name].any():
            found = f"no labelled frame for task {task.name}"
            raise refuse(members.names[0], f"{found}; this method chooses by the labels that prediction tables carry")
    fold_N, k = (np.zeros(members.rows, dtype=np.int64), 1) if folds == 1 else _folds(members, true, folds, seed)
    return Labels(true=true, mask=mask, fold_N=fold_N, folds=k)


def _folds(members: Members, true: Mapping[str, Floats], folds: int, seed: int) -> tuple[NDArray[np.int64], int]:
    if of_stills(members.track):
        return np.random.default_rng(seed).permutation(np.arange(members.rows) % folds), folds
    frames = pl.DataFrame({"video": pl.Series(members.common["video"].to_pylist(), dtype=pl.String)})
    for task in members.track.tasks:
        if task.kind == "binary":
            frames = frames.with_columns(pl.Series("au", true[task.name]))
        else:
            values = zip(task.label_columns, true[task.name].T, strict=True)
            frames = frames.with_columns([pl.Series(name, values_N).fill_nan(None) for name, values_N in values])
    groups = len({fold_group(video) for video in frames["video"].unique()})
    if groups < 2:
        message = "holds one video; a choice is checked on videos held out, which takes two (--method mean needs none)"
        raise refuse(members.names[0], message)
    k = min(folds, groups)
    made = make_folds(frames, k=k, seed=seed)
    return made.fold_of(frames["video"]).to_numpy().astype(np.int64), k


def count(predicted: Mapping[str, Floats], labels: Labels, track: Track, rows_N: Mask) -> TrackStatistics:
    """Statistics over the rows of the mask; the predictions (n, C) a task are those of these rows."""
    counted = TrackStatistics(track)
    counted.update(
        {task.name: task.decide(predicted[task.name]) for task in track.tasks},
        {name: true_ND[rows_N] for name, true_ND in labels.true.items()},
        {name: mask_N[rows_N] for name, mask_N in labels.mask.items()},
    )
    return counted
