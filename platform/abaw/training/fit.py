"""The Ray Train entry: jobs of a recipe, one after another, inside one group of DDP workers.

Starting a worker group costs about fifteen seconds, more than a small training itself, so all jobs that are ready share
one, or one each of several groups where the cluster has room for them (`experiments.stages`). A worker that dies is
replaced, and the jobs go on from their folders: complete ones are passed over, the one that was running resumes from
its last checkpoint. A job that fails is recorded and passed over too. A group whose machine is about to go ends without
an error, and another one is started: that is no failure, and is never counted as one.
"""

import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchTrainer

from abaw.data.manifest import load_manifest
from abaw.problems import Problem
from abaw.training import failures
from abaw.training.checkpoints import check_preprocessing
from abaw.training.job import TrainingJob
from abaw.training.loop import run_job
from abaw.training.lost import TellLost
from abaw.training.notice import LeavingError, listen
from abaw.training.resources import Resources
from abaw.training.workers import Worker


def fit_together(jobs: Sequence[TrainingJob], *, resources: Resources, scratch: Path) -> list[Problem]:
    """Run the jobs in order in one worker group; returns why some failed, when every other job's folder is complete.

    `resources` are settled. `scratch` is where Ray keeps its own records while it runs; they are deleted afterwards.
    """
    for job in jobs:
        failures.forget(job)
        # The workers' warnings end in Ray's files: a person sees this. What this group makes is not there yet.
        for source in map(Path, job.init.values()):
            if source.suffix == ".safetensors" and source.is_file():
                check_preprocessing(source, load_manifest(job.train.shards).preprocessing)
    while todo := [job for job in jobs if not failures.is_over(job)]:
        try:
            _fit(todo, resources=resources, scratch=scratch)
        except TrainingFailedError as error:
            running = next((job for job in todo if not failures.is_over(job)), None)
            if running is not None and not failures.failures(todo):
                failures.record(running, _cause(error))  # it was started again as often as it may be
    return failures.failures(jobs)


def _fit(jobs: Sequence[TrainingJob], *, resources: Resources, scratch: Path) -> None:
    storage = scratch.absolute() / uuid.uuid4().hex
    trainer = TorchTrainer(
        _run_jobs,
        train_loop_config={"jobs": list(jobs), "resources": resources},
        scaling_config=ScalingConfig(
            num_workers=resources.workers_asked,
            use_gpu=resources.gpus_per_worker > 0,  # then the workers talk by NCCL, else by gloo
            resources_per_worker=resources.per_worker,
        ),
        run_config=RunConfig(
            name=jobs[0].name.replace("/", "-") + (f"+{len(jobs) - 1}" if jobs[1:] else ""),
            storage_path=str(storage),
            failure_config=FailureConfig(max_failures=resources.max_failures),
            callbacks=[TellLost(jobs)],
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
        torch.set_num_threads(config["resources"].threads)
    if any(job.optimisation.deterministic for job in config["jobs"]):
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS reads it once, before its first product
    listen()
    rank, world = context.get_world_rank(), context.get_world_size()
    resources = config["resources"]
    worker = Worker(rank=rank, world=world, device=device, loading=resources.loading, checkpoints=resources.checkpoints)
    over = worker.gather([failures.is_over(job) for job in config["jobs"]])[0]
    for job in [job for job, is_over in zip(config["jobs"], over, strict=True) if not is_over]:
        try:
            run_job(job, worker)
        except LeavingError:
            return  # all is saved; `fit_together` starts another group
        except ValueError as error:
            failures.record(job, error, rank=rank)
            if not failures.all_failed(job, world):
                raise
        ray.train.report({"job": job.name})


def _cause(error: TrainingFailedError) -> BaseException:
    """What stopped the workers, or Ray Train itself."""
    workers = getattr(error, "worker_failures", {})
    cause: BaseException | None = next(iter(workers.values()), getattr(error, "controller_failure", None))
    return cause or error


def quick_ray_train() -> None:
    """Set, before Ray starts, what cuts the start of a worker group from 15 s to 10 s on one machine."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_ACTOR_RECONCILIATION", "0")
