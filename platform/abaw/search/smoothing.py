"""Smoothing, thresholds and class biases found by Ray Tune with Optuna on out-of-fold predictions, with no network.

Tasks do not touch each other, so each has a study of its own. Its first trial leaves the predictions as they are: a
result is never worse in-sample than doing nothing.

What a find is worth is told three ways (`abaw.postprocess.crossfit`). For the cross-fitted score the choice among
the trials is made on one half of the videos and scored on the other; trials are proposed from scores on all videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import pyarrow as pa

from abaw.postprocess.apply import apply_bias, apply_smoothing
from abaw.postprocess.crossfit import pooled_score, three_ways
from abaw.postprocess.decisions import thresholds
from abaw.postprocess.smoothing import Smoothing
from abaw.search.candidates import candidate_at
from abaw.search.evaluation import Candidate, Halves, TaskData, search_data
from abaw.search.study import complete, sampler
from abaw.tracks import Track


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One trial of one task."""

    candidate: Candidate
    score: float
    """Score over all videos."""


@dataclass(frozen=True, kw_only=True)
class SmoothingResult:
    """What was found for one task, and its score on the same predictions told three ways."""

    smoothing: Smoothing
    """Best over all videos, with `bias`: what is applied to other predictions."""
    bias: tuple[float, ...]
    """Added to log odds or log probabilities after smoothing; empty where none was searched for."""
    thresholds: tuple[float, ...]
    """What `bias` is as thresholds of action units; empty for other tasks."""
    untuned: float
    """Score of the predictions as they are."""
    in_sample: float
    """Score of what was found on the videos that it was chosen on: too good."""
    cross_fitted: float
    """Score of both halves of the videos together, each treated as is best on the other half."""
    halves: tuple[Candidate, ...]
    """What each half of the videos was treated with for the cross-fitted score."""
    trials: tuple[Tried, ...]
    """All that was tried, in order; the first one is nothing."""


def search_smoothing(
    table: pa.Table,
    track: Track,
    *,
    trials: int,
    seed: int,
    storage: Path,
    decisions: bool = False,
    studies: Mapping[str, optuna.Study] | None = None,
    hours: float | None = None,
) -> dict[str, SmoothingResult]:
    """Find the smoothing of each task of the track; the keys are the names of the tasks.

    Uses the Ray that is running, or a local one for the time of the search. The same arguments give the same result,
    whatever the number of processors.

    Args:
        table: out-of-fold prediction table with labels (`abaw.predictions`), of two videos or more.
        track: its tasks are searched.
        trials: how much to try, the first of them nothing at all.
        seed: of Optuna and of the halves.
        storage: folder for the files of Ray Tune.
        decisions: search for a threshold of each action unit and a bias of each class too.
        studies: one a task, to be gone on with; new ones in memory without them.
        hours: after which nothing more is tried, but once something was.

    Raises:
        ValueError: no trials, fewer than two videos, a frame that comes twice, or a task without a labelled frame.
    """
    # Ray reads its environment when it is imported, and a caller may want to set that first.
    from abaw.search.searcher import quiet
    from abaw.search.tuning import HALVES, run_trials, unpacked

    quiet()
    if trials < 1:
        raise ValueError(f"a search needs at least 1 trial, not {trials}")
    data = search_data(table, track, seed=seed)
    if studies is None:
        studies = {
            name: optuna.create_study(direction="maximize", sampler=sampler(seed + place))
            for place, name in enumerate(data.tasks)
        }
    run_trials(data, studies, trials=trials, decisions=decisions, storage=storage.absolute(), hours=hours)
    found = {}
    for name, own in data.tasks.items():
        tried = complete(studies[name])
        halves = [unpacked(own, one.user_attrs[HALVES]) for one in tried]
        found[name] = _result(own, [candidate_at(one.params) for one in tried], halves)
    return found


def apply_result(table: pa.Table, track: Track, found: Mapping[str, SmoothingResult]) -> pa.Table:
    """The prediction table smoothed and shifted as was found."""
    table = apply_smoothing(table, track, {name: one.smoothing for name, one in found.items()})
    return apply_bias(table, track, {name: one.bias for name, one in found.items()})


def apply_cross_fitted(table: pa.Table, track: Track, found: Mapping[str, SmoothingResult], *, seed: int) -> pa.Table:
    """The table that was searched on, each half of its videos treated as was best on the other half.

    Its score is what the search is worth; so is that of ensembles with such tables of the same labels and `seed`.
    """
    half_N = search_data(table, track, seed=seed).half_N
    halves = []
    for half in np.unique(half_N):
        own = table.filter(pa.array(half_N == half))
        own = apply_smoothing(own, track, {name: one.halves[half].smoothing for name, one in found.items()})
        halves.append(apply_bias(own, track, {name: one.halves[half].bias for name, one in found.items()}))
    return pa.concat_tables(halves)


def _result(own: TaskData, candidates: Sequence[Candidate], statistics: Sequence[Halves]) -> SmoothingResult:
    ways = three_ways(own.track, statistics)
    scores = [pooled_score(own.track, halves) for halves in statistics]
    best = candidates[ways.best]
    return SmoothingResult(
        smoothing=best.smoothing,
        bias=best.bias,
        thresholds=thresholds(best.bias) if own.track.tasks[0].kind == "binary" else (),
        untuned=ways.untuned,
        in_sample=ways.in_sample,
        cross_fitted=ways.cross_fitted,
        halves=tuple(candidates[one] for one in ways.best_elsewhere),
        trials=tuple(Tried(candidate=one, score=score) for one, score in zip(candidates, scores, strict=True)),
    )
