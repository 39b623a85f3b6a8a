"""What connects Ray Tune to an Optuna study: proposals go out as trials, and what becomes of them goes into the study.

Ray's own OptunaSearch records a trial that ASHA stopped as complete, one that ran out of memory as failed without a
reason, and forgets the device time; the study here is the only record of a search, so it says all of that.
"""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
from optuna.trial import TrialState
from ray import cloudpickle, tune
from ray.tune.search import Searcher

from abaw.search.space import Space, shown, suggest
from abaw.search.study import DEVICE_S, REASON, ended

Say = Callable[[str], None]
Note = Callable[[int, str, str], None]
"""Takes the number of a trial without a score, what became of it (pruned, fail), and why."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """When a search starts no more trials; those that run are finished."""

    trials: int
    """That came to an end of their own, in all runs of the search together."""
    hours: float | None = None
    """Since the start of this run of the search."""
    device_hours: float | None = None
    """Of the devices of all trials, in all runs of the search together."""


class Recorded(Searcher):  # type: ignore[misc]
    """A searcher whose state is all in a study: Ray Tune keeps nothing of it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing: the study is in its database already."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing, as `save_to_dir`."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a search that is gone on with opens its study."""


class StudySearcher(Recorded):
    """Asks the study for points, and tells it of scores, of early stops and of errors.

    Trials get `{"number": ..., "point": {...}}` and report `score`, `epochs`, and at their end `final`.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        *,
        budget: Budget,
        devices: int,
        at_once: Callable[[], int],
        say: Say,
        note: Note,
    ) -> None:
        super().__init__(metric="score", mode="max")
        self.study, self.space, self.budget, self.say, self.note = study, space, budget, say, note
        self.devices, self.at_once = devices, at_once
        self.open: dict[str, tuple[optuna.Trial, float]] = {}
        self.began, self.reached = time.time(), ""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A new trial; nothing while no more fit side by side, and the end where the budget is used up."""
        self.reached = self._reached()
        if self.reached:
            return str(Searcher.FINISHED)
        if len(self.open) >= max(1, self.at_once()):
            return None
        trial = self.study.ask()
        self.open[trial_id] = (trial, time.time())
        return {"number": trial.number, "point": suggest(self.space, trial)}

    def started(self, trial_id: str) -> None:
        """The trial has got its resources; its time runs from here."""
        trial, _ = self.open[trial_id]
        self.open[trial_id] = (trial, time.time())
        self.say(f"trial-{trial.number:03d}: starting  {_point(trial)}")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep the score so far."""
        if not result.get("final"):
            self.open[trial_id][0].report(result["score"], step=result["epochs"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The score of a trial that ended, or of one that was stopped early; for errors see `failed`."""
        if error or trial_id not in self.open:
            return
        result = result or {}
        if result.get("final") and math.isfinite(result["score"]):
            self._close(trial_id, TrialState.COMPLETE, value=result["score"])
        elif result.get("final"):
            self._close(trial_id, TrialState.FAIL, reason=f"its score is {result['score']}")
        else:
            reason = f"stopped by ASHA after {result.get('epochs', 0)} epochs, at {result.get('score', math.nan):.4f}"
            self._close(trial_id, TrialState.PRUNED, reason=reason)

    def failed(self, trial_id: str, error: BaseException | None) -> None:
        """A trial that raised or whose process died; one that ran out of memory is pruned."""
        if trial_id in self.open:
            state = TrialState.PRUNED if out_of_memory(error) else TrialState.FAIL
            self._close(trial_id, state, reason=_in_words(error))

    def _close(self, trial_id: str, state: TrialState, *, value: float | None = None, reason: str = "") -> None:
        trial, began = self.open.pop(trial_id)
        seconds = time.time() - began
        trial.set_user_attr(DEVICE_S, seconds * self.devices)
        if reason:
            trial.set_user_attr(REASON, reason)
            self.note(trial.number, state.name.lower(), reason)
        self.study.tell(trial, value, state=state)
        outcome = f"{value:.4f}" if value is not None else f"{state.name.lower()}: {reason}"
        self.say(f"trial-{trial.number:03d}: {outcome} ({seconds:.0f} s)")

    def _reached(self) -> str:
        """Which budget is used up, in words; empty while there is some left."""
        past, now = ended(self.study), time.time()
        hours = (now - self.began) / 3600
        running = sum(now - began for _, began in self.open.values()) * self.devices
        device_hours = (sum(one.user_attrs.get(DEVICE_S, 0.0) for one in past) + running) / 3600
        budget = self.budget
        if len(past) + len(self.open) >= budget.trials:
            return f"{budget.trials} trials"
        if budget.hours is not None and hours >= budget.hours:
            return f"{budget.hours:g} hours"
        if budget.device_hours is not None and device_hours >= budget.device_hours:
            return f"{budget.device_hours:g} device hours"
        return ""


class Ends(tune.Callback):  # type: ignore[misc]
    """Tells the searcher when a trial begins, and what it raised, which Ray Tune does not."""

    def __init__(self, searcher: StudySearcher) -> None:
        self.searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Waiting for room is over."""
        self.searcher.started(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell the reason, from the file that Ray Tune has just written on this machine."""
        path = trial.pickled_error_file
        error = cloudpickle.loads(Path(path).read_bytes()) if path and Path(path).is_file() else None
        self.searcher.failed(trial.trial_id, error)


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what it was raised from, says that memory of the machine or of a device ran out."""
    if error is None:
        return False
    if isinstance(error, MemoryError | ray.exceptions.OutOfMemoryError):
        return True
    text = str(error).lower()
    if "out of memory" in text or "can't allocate memory" in text:  # torch says it in words, on GPU and on CPU
        return True
    return any(out_of_memory(cause) for cause in _causes(error))


def _causes(error: BaseException) -> list[BaseException]:
    """What Ray, Ray Train or Python wrapped in an error."""
    inner = [getattr(error, "cause", None), getattr(error, "controller_failure", None), error.__cause__]
    inner += getattr(error, "worker_failures", {}).values()
    return [cause for cause in inner if isinstance(cause, BaseException)]


def _in_words(error: BaseException | None) -> str:
    """The innermost error in one line."""
    if error is None:
        return "its process ended without a word"
    while causes := _causes(error):
        error = causes[0]
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()[:300]}" if lines else type(error).__name__


def _point(trial: optuna.Trial) -> str:
    return "  ".join(f"{name} {shown(value)}" for name, value in trial.params.items())


def quiet() -> None:
    """No banners and tables of Ray Tune and Optuna between our own lines; errors are told by the searcher."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
