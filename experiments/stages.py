"""Stages: named steps with a key, run once, in order; trainings that are ready share one worker group."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from abaw import runs
from abaw.problems import BadInput, Problem
from abaw.training.job import TrainingJob
from abaw.training.resources import Resources, groups_at_once, settled, shortage
from abaw.training.sinks import Sink, open_sinks
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
    """Run what is missing, in the order given; every stage comes after its inputs.

    A training that fails does not stop those that do without it: BadInput names every one that did, at the end.
    """
    pending = [stage for stage in stages if not runs.is_complete(stage.folder(root))]
    sinks: list[Sink] = []
    if any(stage.job is not None for stage in pending):
        # What the cluster has not, or is not installed, is refused before anything runs.
        resources, sinks = settled(resources), open_sinks(resources)
    problems: list[Problem] = []
    left_out: list[str] = []
    while pending:
        ready = _leading_trainings(pending, root)
        if ready:
            problems += _train(ready, root=root, resources=resources, progress=progress, sinks=sinks)
        else:
            ready = pending[:1]
            _act(ready[0], root=root, progress=progress)
        pending = pending[len(ready) :]
        for stage in [stage for stage in pending if _cannot_run(stage, pending, root)]:
            left_out.append(stage.name)
            pending.remove(stage)
    if problems:
        waiting = f"{len(left_out)} stage(s) that need them did not run: {', '.join(left_out)}" if left_out else ""
        raise BadInput([*problems, *([Problem(path=str(root), message=waiting)] if waiting else [])])


def _cannot_run(stage: Stage, pending: Sequence[Stage], root: Path) -> bool:
    """Whether an input is neither there nor going to be."""
    keys = {one.key for one in pending}
    return any(
        not runs.is_complete(one.folder(root)) and (one.key not in keys or _cannot_run(one, pending, root))
        for one in stage.inputs
    )


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


def _train(
    stages: Sequence[Stage], *, root: Path, resources: Resources, progress: Progress, sinks: Sequence[Sink]
) -> list[Problem]:
    """Train them, in several worker groups at once where the cluster has room; returns why some failed."""
    jobs = {stage.key: stage.job(stage.folder(root).absolute()) for stage in stages if stage.job is not None}
    groups = min(groups_at_once(resources), len(stages))
    waves = [list(stages)] if groups == 1 else independent(stages)
    problems: list[Problem] = []
    if missing := shortage(resources):
        progress.say(f"waiting for machines: {missing}")
    with watch(list(jobs.values()), progress, sinks):
        for wave in waves:
            shares = [[jobs[stage.key] for stage in wave[k::groups]] for k in range(min(groups, len(wave)))]
            progress.say(f"{len(wave)} training(s) in {len(shares)} group(s) of {resources}: starting")
            problems += _fit_side_by_side(shares, resources=resources, scratch=root / ".ray")
    return problems


def _fit_side_by_side(shares: Sequence[Sequence[TrainingJob]], *, resources: Resources, scratch: Path) -> list[Problem]:
    from abaw.training.fit import fit_together  # Ray Train: `abaw plan` goes without

    fit = partial(fit_together, resources=resources, scratch=scratch)
    if len(shares) == 1:
        return fit(shares[0])  # in the main thread, where Ray Train hears Ctrl-C
    threads = ThreadPoolExecutor(max_workers=len(shares))
    try:
        return [problem for told in threads.map(fit, shares) for problem in told]
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # on Ctrl-C they end with Ray


def independent(stages: Sequence[Stage]) -> list[list[Stage]]:
    """The stages in waves: no stage of a wave needs another one of it, and all come after their inputs."""
    depths: dict[str, int] = {}
    for stage in stages:
        depths[stage.key] = max((depths[one.key] + 1 for one in stage.inputs if one.key in depths), default=0)
    return [[stage for stage in stages if depths[stage.key] == depth] for depth in range(max(depths.values()) + 1)]


def _act(stage: Stage, *, root: Path, progress: Progress) -> None:
    assert stage.action is not None
    folder, started = stage.folder(root), time.time()
    progress.say(f"{stage.name}: starting")
    runs.start(folder, stage.config)
    result = stage.action(folder)
    names = tuple(parent.folder(root).name for parent in stage.inputs)
    runs.finish(folder, config=stage.config, started=started, inputs=names, name=stage.name, **result)
    progress.say(f"{stage.name}: done in {time.time() - started:.1f} s")
