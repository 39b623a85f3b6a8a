"""The Ray Train entry: jobs of a recipe, one after another, inside one group of DDP workers.

Starting a worker group costs about fifteen seconds, more than a small training itself, so all jobs that are ready share
one. A worker that dies is replaced, and the jobs go on from their folders: complete ones are passed over, the one that
was running resumes from its last checkpoint.
"""

import os
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

from abaw.data.batches import Loading
from abaw.data.manifest import load_manifest
from abaw.training.checkpoints import check_preprocessing
from abaw.training.job import TrainingJob
from abaw.training.loop import run_job
from abaw.training.workers import Worker


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a training asks of the cluster."""

    workers: int = 2
    """DDP processes."""
    gpus_per_worker: int = 0
    cpus_per_worker: float = 0.5
    """Logical CPUs of a worker. Below one on a laptop, so that Ray Data keeps a CPU: without one both wait for ever."""
    threads: int = 1
    """Threads that a worker computes with on CPU."""
    loading: Loading = Loading()
    """How a worker decodes images."""
    max_failures: int = 3
    """How often a worker group that lost a worker is started again."""


def fit_together(jobs: Sequence[TrainingJob], *, resources: Resources, scratch: Path) -> None:
    """Run the jobs in order in one worker group; returns when every job's folder is complete.

    `scratch` is where Ray keeps its own records while it runs; they are deleted afterwards.
    """
    for job in jobs:
        # The workers' warnings end in Ray's files: a person sees this. What this group makes is not there yet.
        for source in map(Path, job.init.values()):
            if source.suffix == ".safetensors" and source.is_file():
                check_preprocessing(source, load_manifest(job.train.shards).preprocessing)
    storage = scratch.absolute() / uuid.uuid4().hex
    trainer = TorchTrainer(
        _run_jobs,
        train_loop_config={"jobs": list(jobs), "threads": resources.threads, "loading": resources.loading},
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker={"CPU": resources.cpus_per_worker}
            | ({"GPU": resources.gpus_per_worker} if resources.gpus_per_worker else {}),
        ),
        run_config=RunConfig(
            name=jobs[0].name.replace("/", "-"),
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=resources.max_failures),
        ),
    )
    try:
        trainer.fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _run_jobs(config: dict[str, Any]) -> None:
    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(config["threads"])
    rank, world = context.get_world_rank(), context.get_world_size()
    worker = Worker(rank=rank, world=world, device=device, loading=config["loading"])
    for job in config["jobs"]:
        run_job(job, worker)
        ray.train.report({"job": job.name})


def quick_ray_train() -> None:
    """Set, before Ray starts, what cuts the start of a worker group from 15 s to 10 s on one machine."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION", "0")
