"""Post-processing of a whole prediction table, task by task.

Legend: N rows (frames), C columns of a task.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from abaw.postprocess.decisions import shifted
from abaw.postprocess.smoothing import Smoothing, smooth
from abaw.tracks import Task, Track


def apply_smoothing(table: pa.Table, track: Track, smoothing: Mapping[str, Smoothing]) -> pa.Table:
    """The prediction table with the tasks named in `smoothing` smoothed; all else, and the row order, stay as they are.

    Smoothed columns keep their meaning: values stay in [-1, 1], action units in [0, 1], and class probabilities are
    not negative and sum to one. A sigma1 of 0 changes nothing.

    Raises:
        ValueError: the track has no such task, or the table repeats a frame or holds values that are not finite.
    """
    for name, one in smoothing.items():
        task = track.task(name)
        if one.sigma1 == 0:
            continue
        videos = table["video"].to_numpy(zero_copy_only=False)
        smoothed_NC = smooth(_values_of(table, task), videos, table["frame"].to_numpy(), one)
        table = _with_values(table, task, in_range(smoothed_NC, task))
    return table


def apply_bias(table: pa.Table, track: Track, bias: Mapping[str, Sequence[float]]) -> pa.Table:
    """The prediction table with the probabilities of the tasks named in `bias` shifted (`abaw.postprocess.decisions`).

    ValueError where a bias has not one number for each column of its task.
    """
    for name, bias_C in bias.items():
        task = track.task(name)
        if any(bias_C):
            table = _with_values(table, task, shifted(_values_of(table, task), task, bias_C))
    return table


def _values_of(table: pa.Table, task: Task) -> NDArray[np.float64]:
    return np.stack([table[column].to_numpy() for column in task.columns], axis=1).astype(np.float64)


def _with_values(table: pa.Table, task: Task, values_NC: NDArray[np.float64]) -> pa.Table:
    for column, values_N in zip(task.columns, values_NC.T, strict=True):
        place = table.schema.get_field_index(column)
        field = table.schema.field(place)
        table = table.set_column(place, field, pa.array(values_N.astype(np.float32), type=field.type))
    return table


def in_range(smoothed_NC: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """The detail that smoothing puts back may overshoot; no decision changes by cutting that off."""
    if task.kind == "regression":
        return np.clip(smoothed_NC, -1.0, 1.0)
    if task.kind == "binary":
        return np.clip(smoothed_NC, 0.0, 1.0)
    # The base of eq. 9 sums to one and the detail takes away less than that, so the sum is never 0.
    positive_NC = np.maximum(smoothed_NC, 0.0)
    return np.asarray(positive_NC / positive_NC.sum(axis=1, keepdims=True))
