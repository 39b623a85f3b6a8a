"""The Ray Tune side of the smoothing search: trials that train nothing, proposed by Optuna's TPE.

Starting a process a trial would cost far more than the trial, so trials reuse their actors and take the predictions
from the object store. Trials come in batches of fixed size that are told to Optuna together, so what it proposes does
not depend on how many run at once or which ends first.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import ray
from ray import tune
from ray.tune.logger import JsonLoggerCallback
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from abaw.metrics import TrackStatistics
from abaw.postprocess.crossfit import pooled_score
from abaw.postprocess.smoothing import NO_SMOOTHING, Smoothing
from abaw.search.evaluation import Halves, SearchData, evaluate

log = logging.getLogger(__name__)

MAX_SIGMA = 100.0
"""Widest base filter tried, in frames: a window of +-50 frames, which public entries use, is about 29 wide."""
STARTS = ((0.0, 0.0, 0.0), (12.0, 4 / 12, 2 / 12), (3.0, 0.0, 0.0), (8.0, 0.0, 0.0), (29.0, 0.0, 0.0))
"""First trials: no smoothing, the default of `Smoothing`, plain Gaussians. sigma1, then the others as parts of it."""
BATCH = 4
"""Trials that Optuna proposes before it hears of their scores, and that run side by side where there is room."""
SMALL = 100_000
"""Rows below which a trial takes less time than the start of a second actor: one trial after the other is faster."""


def run_trials(
    data: SearchData, *, trials: int, seed: int, storage: Path
) -> tuple[list[dict[str, Smoothing]], list[dict[str, Halves]]]:
    """Smoothing of each task and the statistics it gives, by trial; the first smooths nothing."""
    names = list(data.tasks)
    batch = BATCH if len(data.frame_N) > SMALL else 1
    _quiet()
    first = [_point(names, *start) for start in STARTS]
    search = OptunaSearch(metric="score", mode="max", points_to_evaluate=first, seed=seed)
    with _running_ray():
        grid = tune.Tuner(
            tune.with_parameters(SmoothingTrial, data=data),
            param_space=_space(names),
            tune_config=tune.TuneConfig(
                search_alg=ConcurrencyLimiter(search, max_concurrent=batch, batch=True),
                metric="score",
                mode="max",
                num_samples=trials,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                storage_path=str(storage),
                name="smoothing",
                verbose=0,
                callbacks=[JsonLoggerCallback(), Progress(trials)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    if grid.errors:
        raise grid.errors[0]
    smoothings = [_smoothings(result.config, names) for result in grid]
    assert all(one == NO_SMOOTHING for one in smoothings[0].values())
    return smoothings, [_unpack(result.metrics["states"], data) for result in grid]


class SmoothingTrial(tune.Trainable):  # type: ignore[misc]
    """One trial: smooth, score, done."""

    def setup(self, config: dict[str, Any], data: SearchData) -> None:
        """Take the predictions from the object store, once an actor."""
        self.data, self.point = data, config

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take over the next trial in the same process."""
        self.point = new_config
        return True

    def step(self) -> dict[str, Any]:
        """The sum of the tasks' scores, which Optuna raises, and the statistics of each half of the videos."""
        statistics = evaluate(self.data, _smoothings(self.point, list(self.data.tasks)))
        states = {name: [half.state() for half in halves] for name, halves in statistics.items()}
        score = sum(pooled_score(self.data.tasks[name].track, halves) for name, halves in statistics.items())
        return {"score": score, "states": states, "done": True}


class Progress(tune.Callback):  # type: ignore[misc]
    """Logs how many trials are through."""

    def __init__(self, expected: int) -> None:
        self.expected, self.through = expected, 0

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Count one more trial."""
        self.through += 1
        if self.through % 4 == 0 or self.through == self.expected:
            log.info("smoothing: %d of %d trials", self.through, self.expected)


def _quiet() -> None:
    """No banner and no tables in the middle of a recipe's own progress; results go to disk once, as JSON."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    optuna.logging.set_verbosity(optuna.logging.WARNING)


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


def _space(names: list[str]) -> dict[str, Any]:
    """Of each task: the base width on a logarithmic scale that reaches 0, and the detail widths as parts of it."""
    highest = _point(names, MAX_SIGMA, 1.0, 1.0)
    return {key: tune.uniform(0.0, high) for key, high in highest.items()}


def _point(names: list[str], sigma1: float, detail2: float, detail3: float) -> dict[str, float]:
    own = {"width": float(np.log1p(sigma1)), "detail2": detail2, "detail3": detail3}
    return {f"{name}_{key}": value for name in names for key, value in own.items()}


def _smoothings(point: Mapping[str, float], names: list[str]) -> dict[str, Smoothing]:
    """The smoothing of each task at a point of the space; widths to a hundredth of a frame."""
    found = {}
    for name in names:
        sigma1 = float(np.expm1(point[f"{name}_width"]))
        sigma2, sigma3 = (sigma1 * point[f"{name}_detail{which}"] for which in (2, 3))
        found[name] = Smoothing(sigma1=round(sigma1, 2), sigma2=round(sigma2, 2), sigma3=round(sigma3, 2))
    return found


def _unpack(states: Mapping[str, Any], data: SearchData) -> dict[str, Halves]:
    """The statistics of each half, from the lists that Ray Tune reads back."""
    return {
        name: tuple(
            TrackStatistics.from_state(own.track, {key: np.array(state) for key, state in half.items()})
            for half in states[name]
        )
        for name, own in data.tasks.items()
    }
