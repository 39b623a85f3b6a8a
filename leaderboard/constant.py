"""The constant predictor: what a submission is worth that never looks at a face.

It predicts for every row the mean valence and arousal, the most frequent class and each action unit's majority value of
the training labels. A constant has CCC 0, and the F1 of one class at most: every trained entry must beat it.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.problems import refuse
from abaw.tracks import Task, Track
from leaderboard.official import official_bytes
from leaderboard.templates import read_template


def constant_labels(train: pl.DataFrame, track: Track) -> NDArray[np.float64]:
    """The one prediction (D,), in the order of `track.label_columns`.

    Args:
        train: training labels in the track's label columns, as `abaw.annotations.read_mtl_list` returns them (null =
            not annotated; further columns are ignored). The smallest class wins a tie, and 0 for an action unit.
        track: whose labels are predicted.

    Raises:
        ValueError: a column is missing or is annotated nowhere.
    """
    absent = [c for c in track.label_columns if c not in train.columns or train[c].null_count() == len(train)]
    if absent:
        raise ValueError(f"the training labels hold nothing in the columns {', '.join(absent)} of track {track.name}")
    return np.concatenate([_constant(train, task) for task in track.tasks])


def constant_predictions(train: pl.DataFrame, template: Path, track: Track, out: Path) -> Path:
    """Write the constant prediction for every row of the template as the submission file `out`, and return `out`.

    Raises BadInput when the file exists or the template cannot be used; ValueError as `constant_labels`.
    """
    if out.exists():
        raise refuse(out, "exists already; name another file or remove it")
    rows = read_template(template, track).rows
    labels_MD = np.tile(constant_labels(train, track), (len(rows), 1))
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    partial.write_bytes(official_bytes(rows, labels_MD, track))
    return partial.replace(out)


def _constant(train: pl.DataFrame, task: Task) -> NDArray[np.float64]:
    labels = [train[column].drop_nulls().to_numpy().astype(np.float64) for column in task.label_columns]
    if task.kind == "regression":
        return np.array([np.clip(values.mean(), -1.0, 1.0) for values in labels])
    if task.kind == "classes":
        return np.array([np.bincount(labels[0].astype(np.int64)).argmax()], dtype=np.float64)
    return np.array([float(values.mean() > 0.5) for values in labels])
