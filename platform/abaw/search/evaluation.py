"""What one trial of the smoothing search computes: smooth, shift, decide, count. No Ray here.

Filtering takes nearly all of the time, and candidates share their filters: each task is filtered once a width and gap
limit, and what came out is kept while there is room.

Legend: N rows (frames), L labelled rows of a task, C columns, D label columns of a task.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from abaw.folds import make_folds
from abaw.metrics import TrackStatistics
from abaw.postprocess.apply import in_range
from abaw.postprocess.decisions import shifted
from abaw.postprocess.rows import Rows, rows_by_video
from abaw.postprocess.smoothing import NO_SMOOTHING, Smoothing, cut_at_gaps, filter_rows, put_together
from abaw.predictions import labels_of, scores_of
from abaw.tracks import Task, Track

KEPT_BYTES = 1 << 30
"""Filtered predictions that one process keeps."""
HALVES = 2
"""Parts of the videos that a choice is cross-fitted over."""

Halves = tuple[TrackStatistics, ...]
"""Statistics of one task on each half of the videos."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What may be done with the predictions of one task."""

    smoothing: Smoothing = NO_SMOOTHING
    bias: tuple[float, ...] = ()
    """Added to the log odds of each unit, or to the log probability of each class (`abaw.postprocess.decisions`);
    empty for nothing."""


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


class Evaluator:
    """Counts what candidates give, one after the other; keeps what it has filtered."""

    def __init__(self, data: SearchData) -> None:
        self.data = data
        self._kept: OrderedDict[tuple[str, int, float, float], NDArray[np.float32]] = OrderedDict()
        self._bytes = 0

    def count(self, name: str, candidate: Candidate) -> Halves:
        """Smooth and shift the task of this name, decide, and count the labelled frames of each half of the videos."""
        own = self.data.tasks[name]
        task, labelled_N = own.track.task(name), own.mask_N
        values_LC = self._smoothed(name, candidate.smoothing)
        if any(candidate.bias):
            values_LC = shifted(in_range(values_LC.astype(np.float64), task), task, candidate.bias)
        decided_LD, true_LD, half_L = task.decide(values_LC), own.true_ND[labelled_N], self.data.half_N[labelled_N]
        halves = tuple(TrackStatistics(own.track) for _ in range(HALVES))
        for half, counted in enumerate(halves):
            counted.update({name: decided_LD}, {name: true_LD}, {name: half_L == half})
        return halves

    def _smoothed(self, name: str, smoothing: Smoothing) -> NDArray[np.floating]:
        """The labelled rows (L, C) of a task after equation 9."""
        own = self.data.tasks[name]
        values_LC = own.scores_NC[own.mask_N]
        if smoothing.sigma1 == 0:
            return values_LC
        widths = (smoothing.sigma1, smoothing.sigma2, smoothing.sigma3)
        return put_together(values_LC, *(self._filtered(name, smoothing, sigma) for sigma in widths))

    def _filtered(self, name: str, smoothing: Smoothing, sigma: float) -> NDArray[np.floating]:
        """The labelled rows (L, C) of a task after a Gaussian filter over all of its rows."""
        own, key = self.data.tasks[name], (name, smoothing.gap_limit, smoothing.truncate, sigma)
        if sigma == 0:
            return own.scores_NC[own.mask_N]
        if key not in self._kept:
            pieces = cut_at_gaps(self.data.videos, self.data.frame_N, smoothing.gap_limit)
            filtered_NC = filter_rows(own.scores_NC, pieces, self.data.frame_N, sigma, smoothing.truncate)
            self._kept[key] = filtered_NC[own.mask_N].astype(np.float32)
            self._bytes += self._kept[key].nbytes
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(key)
        return self._kept[key]


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
