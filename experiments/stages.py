"""Stages: named steps with a key, run once, in order; trainings that are ready share one worker group."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abaw import runs
from abaw.training.fit import Resources, fit_together
from abaw.training.job import TrainingJob
from experiments.progress import Progress, watch

Action = Callable[[Path], dict[str, Any]]
"""Does a stage's work in its folder and returns what goes into `result.json`."""
MakeJob = Callable[[Path], TrainingJob]
"""Makes the training of a stage, once its inputs are there."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One step of a recipe. Its key changes when its config or any stage before it changes."""

    name: str
    config: Any
    inputs: "tuple[Stage, ...]" = ()
    action: Action | None = None
    """For steps that are no training; exactly one of `action` and `job` is given."""
    job: MakeJob | None = None

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits."""
        return runs.key_of([self.name, self.config], [stage.key for stage in self.inputs])

    def folder(self, root: Path) -> Path:
        """`<root>/<name>-<key>`, with the slashes of the name as dashes."""
        return root / f"{self.name.replace('/', '-')}-{self.key}"


def in_waves(stages: Sequence[Stage]) -> list[Stage]:
    """The stages in an order in which trainings that can share a worker group stand together, each after its inputs."""
    waves: dict[str, int] = {}
    for stage in stages:
        steps = [waves[one.key] + ((one.job is None) != (stage.job is None)) for one in stage.inputs]
        waves[stage.key] = max(steps, default=0)
    return sorted(stages, key=lambda stage: waves[stage.key])


def run_stages(stages: Sequence[Stage], *, root: Path, resources: Resources, progress: Progress) -> None:
    """Run what is missing, in the order given; every stage comes after its inputs."""
    pending = [stage for stage in stages if not runs.is_complete(stage.folder(root))]
    while pending:
        ready = _leading_trainings(pending, root)
        if ready:
            _train(ready, root=root, resources=resources, progress=progress)
        else:
            ready = pending[:1]
            _act(ready[0], root=root, progress=progress)
        pending = pending[len(ready) :]


def _leading_trainings(pending: Sequence[Stage], root: Path) -> list[Stage]:
    """The trainings at the head of the queue whose inputs are complete or are trainings among them."""
    ready: list[Stage] = []
    for stage in pending:
        keys = {training.key for training in ready}
        fed = all(parent.key in keys or runs.is_complete(parent.folder(root)) for parent in stage.inputs)
        if stage.job is None or not fed:
            break
        ready.append(stage)
    return ready


def _train(stages: Sequence[Stage], *, root: Path, resources: Resources, progress: Progress) -> None:
    jobs = [stage.job(stage.folder(root).absolute()) for stage in stages if stage.job is not None]
    progress.say(f"{len(jobs)} training(s) in one group of {resources.workers} workers: starting")
    with watch(jobs, progress):
        fit_together(jobs, resources=resources, scratch=root / ".ray")


def _act(stage: Stage, *, root: Path, progress: Progress) -> None:
    assert stage.action is not None
    folder, started = stage.folder(root), time.time()
    progress.say(f"{stage.name}: starting")
    runs.start(folder, stage.config)
    result = stage.action(folder)
    names = tuple(parent.folder(root).name for parent in stage.inputs)
    runs.finish(folder, config=stage.config, started=started, inputs=names, name=stage.name, **result)
    progress.say(f"{stage.name}: done in {time.time() - started:.1f} s")
