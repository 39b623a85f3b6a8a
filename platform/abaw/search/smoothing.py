"""Smoothing widths found by Ray Tune with Optuna on out-of-fold predictions, with no network in memory.

One trial smooths every task with its own widths. Tasks do not touch each other, so the best widths of a task are picked
from all trials. The first trial smooths nothing: a result is never worse in-sample than no smoothing.

What the widths are worth is told three ways (`abaw.postprocess.crossfit`). For the cross-fitted score the choice among
the trials is made on one half of the videos and scored on the other; trials are proposed from scores on all videos.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from abaw.postprocess.crossfit import pooled_score, three_ways
from abaw.postprocess.smoothing import Smoothing
from abaw.search.evaluation import Halves, search_data
from abaw.tracks import Track


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One trial of one task."""

    smoothing: Smoothing
    score: float
    """Score over all videos."""


@dataclass(frozen=True, kw_only=True)
class SmoothingResult:
    """The smoothing found for one task, and its score on the same predictions told three ways."""

    smoothing: Smoothing
    """Best over all videos: what is applied to other predictions."""
    untuned: float
    """Score without smoothing."""
    in_sample: float
    """Score of `smoothing` on the videos that it was chosen on: too good."""
    cross_fitted: float
    """Score of both halves of the videos together, each smoothed as is best on the other half."""
    halves: tuple[Smoothing, ...]
    """What each half of the videos was smoothed with for the cross-fitted score."""
    trials: tuple[Tried, ...]
    """All that was tried, in order; the first one is no smoothing."""


def search_smoothing(
    table: pa.Table, track: Track, *, trials: int, seed: int, storage: Path
) -> dict[str, SmoothingResult]:
    """Find the smoothing of each task of the track; the keys are the names of the tasks.

    Uses the Ray that is running, or a local one for the time of the search. The same arguments give the same result,
    whatever the number of processors.

    Args:
        table: out-of-fold prediction table with labels (`abaw.predictions`), of two videos or more.
        track: its tasks are searched.
        trials: how many widths to try, the first of them none at all.
        seed: of Optuna and of the halves.
        storage: folder for the files of Ray Tune.

    Raises:
        ValueError: no trials, fewer than two videos, a frame that comes twice, or a task without a labelled frame.
    """
    # Ray reads its environment when it is imported, and a caller may want to set that first.
    from abaw.search.tuning import run_trials

    if trials < 1:
        raise ValueError(f"a search needs at least 1 trial, not {trials}")
    data = search_data(table, track, seed=seed)
    smoothings, statistics = run_trials(data, trials=trials, seed=seed, storage=storage.absolute())
    return {
        name: _result(own.track, [one[name] for one in smoothings], [one[name] for one in statistics])
        for name, own in data.tasks.items()
    }


def _result(track: Track, smoothings: Sequence[Smoothing], statistics: Sequence[Halves]) -> SmoothingResult:
    ways = three_ways(track, statistics)
    scores = [pooled_score(track, halves) for halves in statistics]
    return SmoothingResult(
        smoothing=smoothings[ways.best],
        untuned=ways.untuned,
        in_sample=ways.in_sample,
        cross_fitted=ways.cross_fitted,
        halves=tuple(smoothings[best] for best in ways.best_elsewhere),
        trials=tuple(Tried(smoothing=one, score=score) for one, score in zip(smoothings, scores, strict=True)),
    )
