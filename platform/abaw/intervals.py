"""How far a ranking score could be off: a bootstrap over videos (Efron and Tibshirani, 1993, chapter 13).

Frames of one video are alike, so whole videos are drawn, with replacement, and their frames are pooled and scored as
`abaw.metrics` does. A video is counted once and a resample only adds counts: a thousand take a fraction of a second.

Legend: V videos, R resamples, D label columns of a task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abaw.metrics import Concordance, TrackStatistics
from abaw.tracks import Track

RESAMPLES = 1000
LEVEL = 0.95


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
    track: Track, videos: Sequence[TrackStatistics], *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Interval:
    """The interval of the track's ranking score; ValueError for fewer than two videos or tasks without a label."""
    scores_R = resampled_scores(track, videos, seed=seed, resamples=resamples)
    found = scores_R[~np.isnan(scores_R)]
    if not len(found):
        raise ValueError(f"track {track.name}: no resample has a labelled frame for every task; nothing to score")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level, resamples=len(found))


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
    return repeated_metrics(track, videos, np.stack([np.bincount(row_V, minlength=len(videos)) for row_V in drawn_RV]))


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
    tasks = [states[task.name] for task in track.tasks]
    labelled = [r for r in range(len(times_RV)) if all(_rows(task[r]) for task in tasks)]
    computed = [_metrics(track, states, r) for r in labelled]
    found = {name: np.full(len(times_RV), np.nan) for name in (computed[0] if computed else ())}
    for name, values_R in found.items():
        values_R[labelled] = [metrics[name] for metrics in computed]
    return found


def draw_videos(videos: int, *, resamples: int, seed: int) -> NDArray[np.int64]:
    """Numbers of the videos in each resample (R, V), drawn with replacement."""
    return np.random.default_rng(seed).integers(0, videos, (resamples, videos))


def _metrics(track: Track, states: Mapping[str, NDArray[Any]], resample: int) -> dict[str, float]:
    state = {name: state_R[resample] for name, state_R in states.items()}
    return TrackStatistics.from_state(track, state).compute()


def _rows(state: NDArray[Any]) -> int:
    """A state's first entry is its number of rows."""
    return int(state.flat[0])


def _add_counts(states_V: NDArray[Any], times_RV: NDArray[np.int64]) -> NDArray[np.int64]:
    """States of the resamples, where states are counts: sums over videos. float64 is exact up to 2**53."""
    flat = states_V.reshape(len(states_V), -1).astype(np.float64)
    return (times_RV.astype(np.float64) @ flat).astype(np.int64).reshape(len(times_RV), *states_V.shape[1:])


def _add_moments(states_V8D: NDArray[np.float64], times_RV: NDArray[np.int64]) -> NDArray[np.float64]:
    """States of the resamples for `Concordance`: video after video, pooled as it merges, all resamples at once.

    A video that was drawn w times has w times the rows and centred sums, and the same means.
    """
    counted_V8D = states_V8D[states_V8D[:, 0, 0] > 0]
    times_RV = times_RV[:, states_V8D[:, 0, 0] > 0]
    pooled = np.zeros((len(times_RV), *states_V8D.shape[1:]))
    if not len(counted_V8D):
        return pooled
    # One shift for all: what the first video was shifted by.
    pooled[:, 1:3] = shift_2D = counted_V8D[0, 1:3]
    for state_8D, times_R in zip(counted_V8D, times_RV.T, strict=True):
        before_R, more_R = pooled[:, 0, 0], times_R * state_8D[0, 0]
        rows_R = before_R + more_R
        share_R = np.divide(more_R, rows_R, out=np.zeros(len(rows_R)), where=rows_R > 0)
        delta_R2D = (state_8D[1:3] - shift_2D) + state_8D[3:5] - pooled[:, 3:5]
        delta_p, delta_t = delta_R2D[:, 0], delta_R2D[:, 1]
        between = np.stack([delta_p * delta_p, delta_t * delta_t, delta_p * delta_t], axis=1)
        pooled[:, 5:] += times_R[:, None, None] * state_8D[5:] + between * (before_R * share_R)[:, None, None]
        pooled[:, 3:5] += delta_R2D * share_R[:, None, None]
        pooled[:, 0] = rows_R[:, None]
    return pooled
