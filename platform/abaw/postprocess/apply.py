"""Post-processing of a whole prediction table, task by task.

Legend: N rows (frames), C columns of a task.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
        scores_NC = np.stack([table[column].to_numpy() for column in task.columns], axis=1).astype(np.float64)
        videos = table["video"].to_numpy(zero_copy_only=False)
        smoothed_NC = _in_range(smooth(scores_NC, videos, table["frame"].to_numpy(), one), task)
        for column, values_N in zip(task.columns, smoothed_NC.T, strict=True):
            place = table.schema.get_field_index(column)
            field = table.schema.field(place)
            table = table.set_column(place, field, pa.array(values_N.astype(np.float32), type=field.type))
    return table


def _in_range(smoothed_NC: NDArray[np.float64], task: Task) -> NDArray[np.float64]:
    """The detail that smoothing puts back may overshoot; no decision changes by cutting that off."""
    if task.kind == "regression":
        return np.clip(smoothed_NC, -1.0, 1.0)
    if task.kind == "binary":
        return np.clip(smoothed_NC, 0.0, 1.0)
    # The base of eq. 9 sums to one and the detail takes away less than that, so the sum is never 0.
    positive_NC = np.maximum(smoothed_NC, 0.0)
    return np.asarray(positive_NC / positive_NC.sum(axis=1, keepdims=True))
