"""What one trial of the smoothing search computes: smooth, decide, count. No Ray here.

Legend: N rows (frames), C columns, D label columns of a task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from abaw.folds import make_folds
from abaw.metrics import TrackStatistics
from abaw.postprocess.rows import Rows, rows_by_video
from abaw.postprocess.smoothing import Smoothing, smooth_rows
from abaw.predictions import labels_of, scores_of
from abaw.tracks import Task, Track

HALVES = 2
"""Parts of the videos that a choice is cross-fitted over."""

Halves = tuple[TrackStatistics, ...]
"""Statistics of one task on each half of the videos."""


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """Predictions and labels of one task."""

    track: Track
    """The track reduced to this task."""
    scores_NC: NDArray[np.float64]
    true_ND: NDArray[np.float64]
    mask_N: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class SearchData:
    """What every trial needs of a prediction table."""

    tasks: dict[str, TaskData]
    videos: tuple[Rows, ...]
    """Rows of each video, sorted by frame."""
    frame_N: NDArray[np.int32]
    half_N: NDArray[np.int8]
    """Half of the videos that each row belongs to: 0 or 1."""


def search_data(table: pa.Table, track: Track, *, seed: int) -> SearchData:
    """Take apart a prediction table with labels; the halves of its videos are stratified by those.

    Raises:
        ValueError: a task has no labelled frame, a frame comes twice, or there are fewer than two videos.
    """
    video = pl.Series(table["video"].to_numpy(zero_copy_only=False), dtype=pl.String)
    frame_N = table["frame"].to_numpy()
    tasks = {}
    for task in track.tasks:
        true_ND, mask_N = labels_of(table, task)
        if not mask_N.any():
            raise ValueError(f"track {track.name}: no labelled frame for task {task.name}; nothing to search on")
        scores_NC = scores_of(table, task)
        tasks[task.name] = TaskData(track=_alone(track, task), scores_NC=scores_NC, true_ND=true_ND, mask_N=mask_N)
    halves = make_folds(_labels(video, tasks), k=HALVES, seed=seed)
    videos = tuple(rows_by_video(video, frame_N).values())
    return SearchData(tasks=tasks, videos=videos, frame_N=frame_N, half_N=halves.fold_of(video).to_numpy())


def evaluate(data: SearchData, smoothing: Mapping[str, Smoothing]) -> dict[str, Halves]:
    """Smooth each task in its way, decide, and count the labelled frames of each half of the videos."""
    statistics = {}
    for name, own in data.tasks.items():
        smoothed_NC = smooth_rows(own.scores_NC, data.videos, data.frame_N, smoothing[name])
        decided_ND = own.track.task(name).decide(smoothed_NC)
        statistics[name] = tuple(TrackStatistics(own.track) for _ in range(HALVES))
        for half, counted in enumerate(statistics[name]):
            counted.update({name: decided_ND}, {name: own.true_ND}, {name: own.mask_N & (data.half_N == half)})
    return statistics


def _alone(track: Track, task: Task) -> Track:
    """The track reduced to one of its tasks."""
    return track if len(track.tasks) == 1 else replace(track, tasks=(task,), score=f"S_{task.name.upper()}")


def _labels(video: pl.Series, tasks: Mapping[str, TaskData]) -> pl.DataFrame:
    """Videos and labels in the columns of a frame table, which halves are stratified by."""
    columns = {"video": video}
    for name, own in tasks.items():
        task = own.track.task(name)
        if task.kind == "binary":
            columns["au"] = pl.Series(own.true_ND)
        else:
            values = zip(task.label_columns, own.true_ND.T, strict=True)
            columns |= {column: pl.Series(values_N).fill_nan(None) for column, values_N in values}
    return pl.DataFrame(columns)
