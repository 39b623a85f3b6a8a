"""How far a ranking score could be off: a bootstrap over videos (Efron and Tibshirani, 1993, chapter 13).

Frames of one video are alike, so whole videos are drawn, with replacement, and their frames are pooled and scored as
`abaw.metrics` does. A video is counted once and a resample only adds counts: a thousand take a fraction of a second.

Legend: V videos, R resamples, D label columns of a task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abaw.metrics import Concordance, TrackStatistics
from abaw.tracks import Track

RESAMPLES = 1000
LEVEL = 0.95
_SIDES = ("_left", "_right")


def fold_group(video: str) -> str:
    """The video file that a track of frames was cut from: the name without a trailing `_left` or `_right`."""
    for side in _SIDES:
        if video.endswith(side) and video != side:
            return video.removesuffix(side)
    return video


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Percentiles of the ranking score over resamples of the videos."""

    low: float
    high: float
    level: float
    """Share of the resamples between `low` and `high`."""
    resamples: int
    """Resamples that had a labelled frame for every task; the others have no score and do not count."""


def score_interval(
    track: Track, videos: Sequence[TrackStatistics], *, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """The interval of the track's ranking score; ValueError for fewer than two videos or tasks without a label."""
    scores_R = resampled_scores(track, videos, seed=seed, resamples=resamples)
    if np.isnan(scores_R).all():
        raise ValueError(f"track {track.name}: no resample has a labelled frame for every task; nothing to score")
    return interval_of(scores_R)


def interval_of(values_R: NDArray[np.float64]) -> Interval:
    """The middle of resampled values (R,), those that are NaN left out; at least one is a number."""
    found = np.sort(values_R[~np.isnan(values_R)])
    # As `np.quantile`, which imports masked arrays for it: between the two nearest values, along a line.
    low, high = (
        np.interp(q * (len(found) - 1), np.arange(len(found)), found) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    )
    return Interval(low=float(low), high=float(high), level=LEVEL, resamples=len(found))


def resampled_scores(
    track: Track, videos: Sequence[TrackStatistics], *, seed: int = 0, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """The ranking score of each resample (R,), NaN where one has no labelled frame for a task.

    Arguments and errors are those of `resampled_metrics`.
    """
    found = resampled_metrics(track, videos, seed=seed, resamples=resamples)
    return found.get(track.score, np.full(resamples, np.nan))


def resampled_metrics(
    track: Track, videos: Sequence[TrackStatistics], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, NDArray[np.float64]]:
    """Every metric of each resample (R,), NaN where one has no labelled frame for a task; empty if all are so.

    Args:
        track: what the videos were counted for.
        videos: statistics of one video each.
        seed: decides, with the number of videos, what is drawn. So entries that were scored on the same videos in the
            same order can be compared resample by resample.
        resamples: R.

    Raises:
        ValueError: fewer than two videos.
    """
    if len(videos) < 2:
        raise ValueError(f"an interval over videos needs two of them or more, not {len(videos)}")
    drawn_RV = draw_videos(len(videos), resamples=resamples, seed=seed)
    numbered_RV = drawn_RV + np.arange(resamples)[:, None] * len(videos)
    times = np.bincount(numbered_RV.ravel(), minlength=resamples * len(videos))
    return repeated_metrics(track, videos, times.reshape(resamples, len(videos)))


def repeated_metrics(
    track: Track, videos: Sequence[TrackStatistics], times_RV: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Every metric (R,) of the videos, each counted the given number of times; NaN and empty as above."""
    states = {
        name: (_add_moments if isinstance(part, Concordance) else _add_counts)(
            np.stack([video.parts[name].state for video in videos]), times_RV
        )
        for name, part in videos[0].parts.items()
    }
    labelled_R = np.logical_and.reduce([_rows(states[task.name]) > 0 for task in track.tasks])
    if not labelled_R.any():
        return {}
    computed = TrackStatistics(track).metrics_of({name: state_R[labelled_R] for name, state_R in states.items()})
    found = {name: np.full(len(times_RV), np.nan) for name in computed}
    for name, values_R in found.items():
        values_R[labelled_R] = computed[name]
    return found


def draw_videos(videos: int, *, resamples: int, seed: int) -> NDArray[np.int64]:
    """Numbers of the videos in each resample (R, V), drawn with replacement."""
    return np.random.default_rng(seed).integers(0, videos, (resamples, videos))


def _rows(states_R: NDArray[Any]) -> NDArray[Any]:
    """A state's first entry is its number of rows."""
    return states_R.reshape(len(states_R), -1)[:, 0]


def _add_counts(states_V: NDArray[Any], times_RV: NDArray[np.int64]) -> NDArray[np.int64]:
    """States of the resamples, where states are counts: sums over videos. float64 is exact up to 2**53."""
    flat = states_V.reshape(len(states_V), -1).astype(np.float64)
    return (times_RV.astype(np.float64) @ flat).astype(np.int64).reshape(len(times_RV), *states_V.shape[1:])


def _add_moments(states_V8D: NDArray[np.float64], times_RV: NDArray[np.int64]) -> NDArray[np.float64]:
    """States (R, 8, D) of the resamples for `Concordance`, pooled as it merges.

    A video that was drawn w times has w times the rows and centred sums, and the same means.
    """
    labelled_V = states_V8D[:, 0, 0] > 0
    states_V8D, times_RV = states_V8D[labelled_V], times_RV[:, labelled_V].astype(np.float64)
    rows_RV = times_RV * states_V8D[:, 0, 0]
    rows_R1 = rows_RV.sum(axis=1, keepdims=True)
    share_RV = np.divide(rows_RV, rows_R1, out=np.zeros_like(rows_RV), where=rows_R1 > 0)
    pooled_R8D = np.zeros((len(times_RV), *states_V8D.shape[1:]))
    pooled_R8D[:, 0] = rows_R1
    # One shift for all: what the first video was shifted by.
    pooled_R8D[:, 1:3] = states_V8D[:1, 1:3].sum(axis=0)
    offset_V2D = (states_V8D[:, 1:3] - pooled_R8D[0, 1:3]) + states_V8D[:, 3:5]
    pooled_R8D[:, 5:] = np.tensordot(times_RV, states_V8D[:, 5:], axes=1)
    for column in range(states_V8D.shape[2]):
        deltas_RV = []
        for k in (0, 1):
            offset_V = offset_V2D[:, k, column]
            mean_R = share_RV @ offset_V
            # Once more, from near by: the mean of equal values is then exactly theirs.
            mean_R += np.einsum("rv,rv->r", share_RV, offset_V - mean_R[:, None])
            pooled_R8D[:, 3 + k, column] = mean_R
            deltas_RV.append(offset_V - mean_R[:, None])
        for k, (a, b) in enumerate(((0, 0), (1, 1), (0, 1))):
            pooled_R8D[:, 5 + k, column] += np.einsum("rv,rv,rv->r", rows_RV, deltas_RV[a], deltas_RV[b])
    return pooled_R8D
