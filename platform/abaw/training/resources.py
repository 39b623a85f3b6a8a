"""What a training asks of the cluster, and whether the cluster has it: known before anything waits."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import yaml

from abaw.data.batches import Loading
from abaw.problems import refuse
from abaw.training.away import check_place

LAUNCHER_FILE = "~/ray_bootstrap_config.yaml"
"""Where `ray up` leaves the launcher's file on the head: which machines the autoscaler may start."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a training asks of the cluster."""

    workers: int = 2
    """DDP processes of a training; 0 takes as many as there is room for, one a GPU where the cluster has GPUs."""
    least_workers: int = 0
    """Fewest workers that a training goes on with while machines are missing; it grows again when they are back. 0
    waits for all `workers`. The frames of a step do not depend on it."""
    gpus_per_worker: int = 0
    cpus_per_worker: float = 0.5
    """Logical CPUs of a worker. Below one on a laptop, so that Ray Data keeps a CPU: without one both wait for ever."""
    threads: int = 1
    """Threads that a worker computes with on CPU."""
    loading: Loading = Loading()
    """How a worker decodes images."""
    max_failures: int = 3
    """How often a worker group that lost a worker is started again."""
    checkpoints: str = ""
    """URL or absolute path, such as s3://bucket/night, on any file system that fsspec opens. Checkpoints are copied
    there too, and a training whose run folder went with its machine goes on from there."""
    wait: bool = False
    """Wait for machines that the cluster has not yet, where a batch system or Kubernetes brings them; else what is
    missing is refused. What the file of `ray up` lets an autoscaler start counts as there."""
    tensorboard: bool = False
    """Write TensorBoard's event files too; needs `abaw-platform[tensorboard]`."""
    mlflow: str = ""
    """MLflow server or database to log to as well, such as sqlite:///runs/mlflow.db; needs `abaw-platform[mlflow]`."""

    def __post_init__(self) -> None:
        if min(self.workers, self.gpus_per_worker, self.least_workers) < 0 or self.cpus_per_worker < 0:
            raise ValueError("workers, least_workers, gpus_per_worker and cpus_per_worker are 0 or more")
        if self.workers and self.least_workers > self.workers:
            raise ValueError(f"least_workers is {self.least_workers}, more than the {self.workers} workers")

    @property
    def per_worker(self) -> dict[str, float]:
        """What Ray reserves for one worker."""
        return {"CPU": self.cpus_per_worker} | ({"GPU": self.gpus_per_worker} if self.gpus_per_worker else {})

    @property
    def workers_asked(self) -> int | tuple[int, int]:
        """As Ray Train takes it: a number, or the fewest and the most."""
        return (self.least_workers, self.workers) if self.least_workers else self.workers

    def __str__(self) -> str:
        each = f"{self.cpus_per_worker:g} CPUs" + (f" and {self.gpus_per_worker} GPUs" if self.gpus_per_worker else "")
        least = f" (at least {self.least_workers})" if self.least_workers else ""
        return f"{self.workers or 'all'} workers{least} of {each} each"


def settled(resources: Resources) -> Resources:
    """With a number of workers for 0, and a GPU for each of them where the cluster has some.

    Raises BadInput when there is not room for one group of workers, and nothing says that there will be, or where no
    checkpoint can be written.
    """
    if resources.checkpoints:
        check_place(resources.checkpoints)
    if not resources.workers:
        held = machines()
        if not resources.gpus_per_worker and any(machine.get("GPU", 0) for machine in held):
            resources = replace(resources, gpus_per_worker=1)
        resources = replace(resources, workers=max(1, room(held, _at_work(resources)), resources.least_workers))
    if (missing := shortage(resources)) and not resources.wait:
        raise refuse(
            "resources",
            f"{missing}. Give --resources.workers 0 for as many as fit (the batch stays as it is), ask for less of "
            "each, or --resources.wait True where more machines are to come",
        )
    return resources


def shortage(resources: Resources) -> str:
    """What is asked and what is there, where there is not room for one group of workers; else nothing."""
    held = machines()
    fitting = room(held, resources.per_worker)
    if fitting >= (resources.least_workers or resources.workers):
        return ""
    there = {name: sum(machine.get(name, 0) for machine in held) for name in ("CPU", "GPU")}
    return (
        f"asked are {resources}; there are {there['CPU']:g} CPUs and {there['GPU']:g} GPUs on {len(held)} machine(s), "
        f"room for {fitting} such workers"
    )


def groups_at_once(resources: Resources) -> int:
    """How many groups of such workers the cluster has room for side by side, at least 1."""
    return max(1, room(machines(), _at_work(resources)) // resources.workers)


def machines() -> list[Mapping[str, float]]:
    """What each machine of the cluster has, those among them that its autoscaler may start."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]] + startable()


def room(held: Sequence[Mapping[str, float]], per_worker: Mapping[str, float]) -> int:
    """How many workers of these resources the machines hold, each on one machine."""
    asked = {name: amount for name, amount in per_worker.items() if amount}
    fitting = [min(math.floor(machine.get(name, 0) / amount) for name, amount in asked.items()) for machine in held]
    return sum(fitting)


def startable() -> list[Mapping[str, float]]:
    """The machines that the autoscaler of this head may start, running ones among them; none without its file."""
    path = Path(LAUNCHER_FILE).expanduser()
    if not path.is_file():
        return []
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    running = len([node for node in ray.nodes() if node["Alive"]]) - 1
    kinds = [
        kind.get("resources", {})
        for kind in config.get("available_node_types", {}).values()
        for _ in range(kind.get("max_workers", 0))
    ]
    return sorted(kinds, key=lambda one: -one.get("GPU", 0))[: max(0, config.get("max_workers", 0) - running)]


def _at_work(resources: Resources) -> dict[str, float]:
    """What a worker keeps busy: on CPU its threads, whatever Ray reserves for it."""
    if resources.gpus_per_worker:
        return resources.per_worker
    return {"CPU": max(resources.cpus_per_worker, resources.threads)}
