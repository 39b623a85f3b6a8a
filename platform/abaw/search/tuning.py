"""The Ray Tune side of the smoothing search: trials that train nothing, proposed by Optuna's TPE, a study a task.

A trial of Ray Tune costs far more than an evaluation, so each one evaluates several proposals of every task, and trials
reuse their actors, which keep what they have filtered. What Optuna has been told of when it proposes follows from the
number of the trial alone, so the result does not depend on how many trials run at once or on which ends first.
"""

import logging
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import ray
from ray import tune
from ray.tune.search import Searcher

from abaw.metrics import TrackStatistics
from abaw.postprocess.crossfit import pooled_score
from abaw.search.candidates import candidate_at, space_of, start_points
from abaw.search.evaluation import Evaluator, Halves, SearchData, TaskData
from abaw.search.searcher import Recorded
from abaw.search.space import Space, suggest
from abaw.search.study import complete

log = logging.getLogger(__name__)

CALL = 4
"""Proposals of each task that one call evaluates."""
MOST_CALLS = 4
"""Calls that may be on their way before Optuna hears of the first; at most a quarter of all, so that it does hear."""
SMALL = 100_000
"""Rows below which a call takes less time than the start of a second actor: one call after the other is faster."""
PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
"""Ray Tune's own setting."""
RECORDS = ".ray"
"""Folder of what Ray Tune keeps of a search while it runs."""
HALVES = "halves"
"""User attribute: the statistics of each half of the videos."""


def run_trials(
    data: SearchData,
    studies: Mapping[str, optuna.Study],
    *,
    trials: int,
    decisions: bool,
    storage: Path,
    hours: float | None = None,
) -> None:
    """Go on until the study of each task has that many complete trials; the first of them leaves predictions alone."""
    spaces = {name: space_of(own, data, decisions=decisions) for name, own in data.tasks.items()}
    calls = Calls(data, studies, spaces, trials=trials, hours=hours)
    if calls.expected == 0:
        return
    with _running_ray(), _starting_at_once(calls.at_once), _swept(storage / RECORDS):
        grid = tune.Tuner(
            tune.with_parameters(SmoothingCall, data=data),
            tune_config=tune.TuneConfig(
                search_alg=calls, num_samples=calls.expected, reuse_actors=True,
                trial_name_creator=lambda trial: f"tune/smoothing/call-{trial.config['call']:03d}",
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=str(storage), name=RECORDS, verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()  # fmt: skip
    if grid.errors:
        raise grid.errors[0]


class Calls(Recorded):
    """Asks each study for several points at a time; tells results in the order in which they were asked for."""

    def __init__(
        self,
        data: SearchData,
        studies: Mapping[str, optuna.Study],
        spaces: Mapping[str, Space],
        *,
        trials: int,
        hours: float | None,
    ) -> None:
        super().__init__(metric="score", mode="max")
        self.tasks, self.studies, self.spaces = data.tasks, studies, spaces
        self.starts = {name: _missing_starts(study, spaces[name]) for name, study in studies.items()}
        self.missing = {name: max(0, trials - len(complete(study))) for name, study in studies.items()}
        self.expected = -(-max(self.missing.values()) // CALL)
        most = 1 if len(data.frame_N) < SMALL else MOST_CALLS
        self.at_once = min(most, max(1, self.expected // 4))
        self.asked: list[dict[str, list[optuna.Trial]]] = []
        self.numbers: dict[str, int] = {}
        self.results: dict[int, Mapping[str, Sequence[Any]]] = {}
        self.told, self.ends = 0, math.inf if hours is None else time.time() + hours * 3600

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Points for the next call; nothing while too many are on their way."""
        if self.asked and time.time() > self.ends:
            log.warning("smoothing: the hours are used up after %d of %d calls", len(self.asked), self.expected)
            self.expected = len(self.asked)
        if len(self.asked) == self.expected:
            self._tell()
            return str(Searcher.FINISHED)
        if len(self.asked) - self.told >= self.at_once:
            return None
        asked = {name: [self._ask(name) for _ in range(self._share(name))] for name in self.studies}
        points = {name: [suggest(self.spaces[name], trial) for trial in trials] for name, trials in asked.items()}
        self.numbers[trial_id] = len(self.asked)
        self.asked.append(asked)
        self._tell()
        return {"call": self.numbers[trial_id], "points": points}

    def _share(self, name: str) -> int:
        share = min(CALL, self.missing[name])
        self.missing[name] -= share
        return share

    def _ask(self, name: str) -> optuna.Trial:
        """A trial of the study: at a point that is to be tried first, while there is one left."""
        study, starts = self.studies[name], self.starts[name]
        if starts:
            study.enqueue_trial(starts.pop(0))
        return study.ask()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Keep what a call gave, and tell what is due; one that failed is the last one."""
        if error:
            self.expected = len(self.asked)
        elif result is not None:
            (self.results[self.numbers[trial_id]],) = result["counted"]
            self._tell()

    def _tell(self) -> None:
        """Tell a call when all that may be asked before it is told has been asked: the order is always the same."""
        all_asked = len(self.asked) == self.expected
        while self.told in self.results and (all_asked or len(self.asked) >= self.told + self.at_once):
            for name, states in self.results.pop(self.told).items():
                own = self.tasks[name]
                for trial, state in zip(self.asked[self.told][name], states, strict=True):
                    trial.set_user_attr(HALVES, state)
                    self.studies[name].tell(trial, pooled_score(own.track, unpacked(own, state)))
            self.told += 1
            log.info("smoothing: %d of %d calls", self.told, self.expected)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: a call has one result."""


class SmoothingCall(tune.Trainable):  # type: ignore[misc]
    """One call: the statistics of several points of each task."""

    def setup(self, config: dict[str, Any], data: SearchData) -> None:
        """Take the predictions from the object store, once an actor."""
        self.evaluator, self.points = Evaluator(data), config["points"]

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take over the next call in the same process."""
        self.points = new_config["points"]
        return True

    def step(self) -> dict[str, Any]:
        """Everything at once."""
        return {"score": 0.0, "counted": [count_points(self.evaluator, self.points)], "done": True}


def count_points(evaluator: Evaluator, points: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[Any]]:
    """The statistics of each half of the videos at some points of each task, as lists."""
    return {name: [packed(evaluator.count(name, candidate_at(one))) for one in some] for name, some in points.items()}


def packed(halves: Halves) -> list[dict[str, Any]]:
    """Statistics as JSON types."""
    return [{key: np.asarray(state).tolist() for key, state in half.state().items()} for half in halves]


def unpacked(own: TaskData, states: Sequence[Mapping[str, Any]]) -> Halves:
    """The statistics of each half, from `packed`."""
    return tuple(
        TrackStatistics.from_state(own.track, {key: np.array(state) for key, state in half.items()}) for half in states
    )


def _missing_starts(study: optuna.Study, space: Space) -> list[dict[str, Any]]:
    """The points to try first that have no score yet: all of a new study, and those that a killed search lost."""
    tried = [one.params for one in complete(study)]
    return [point for point in start_points(space) if point not in tried]


@contextmanager
def _swept(folder: Path) -> Iterator[None]:
    """Remove the folder at the end."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _starting_at_once(calls: int) -> Iterator[None]:
    """Let Ray Tune start the actors of so many calls side by side, as far as there are processors: not one by one."""
    before = os.environ.get(PENDING)
    os.environ[PENDING] = before or str(max(1, min(calls, int(ray.cluster_resources().get("CPU", 1)))))
    try:
        yield
    finally:
        if before is None:
            del os.environ[PENDING]


@contextmanager
def _running_ray() -> Iterator[None]:
    """The Ray that the caller runs, or a local one that ends with the search."""
    if ray.is_initialized():
        yield
        return
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="warning")
    try:
        yield
    finally:
        ray.shutdown()
