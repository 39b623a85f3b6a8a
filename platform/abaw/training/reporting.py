"""What a training tells while it runs: lines of `metrics.jsonl`, `progress.json` each second, and Ray's metrics.

The driver shows the first two and hands them on (`abaw.training.sinks`), wherever the workers run. Ray's metrics are on
its dashboard and for Prometheus: `ray_abaw_images_per_second`, `ray_abaw_data_wait` and `ray_abaw_gpu_memory_bytes`,
by job and rank.
"""

import json
import math
import time
from collections.abc import Mapping

import ray
import torch
import torch.distributed as dist
from ray.util.metrics import Gauge

from abaw.runs import write_json
from abaw.training.job import TrainingJob
from abaw.training.steps import Clock, Stepper
from abaw.training.workers import Worker

METRICS, PROGRESS = "metrics.jsonl", "progress.json"
EVERY_S = 1.0
"""Seconds between two writings of the progress."""
GAUGES = {
    "abaw_images_per_second": "Images that all workers of a training learnt from, a second.",
    "abaw_data_wait": "Share of the time that a worker waited for data, in [0, 1].",
    "abaw_gpu_memory_bytes": "GPU memory that a worker holds.",
}


class Reporter:
    """Tells of one job on one worker; files are written by rank 0."""

    def __init__(self, job: TrainingJob, worker: Worker, *, steps: int, total: int) -> None:
        self.job, self.worker, self.steps, self.total = job, worker, steps, total
        self.epochs = math.ceil(total / steps)
        self._told = 0.0
        self._gauges = {}
        if ray.is_initialized():
            self._gauges = {name: Gauge(name, text, tag_keys=("job", "rank")) for name, text in GAUGES.items()}

    def line(self, epoch: int, values: Mapping[str, object]) -> None:
        """Append a line to metrics.jsonl about an epoch, counted from 0 here and from 1 in the file."""
        if self.worker.rank == 0:
            line = {"job": self.job.name, "epoch": epoch + 1, "epochs": self.epochs, **values}
            with (self.job.folder / METRICS).open("a") as file:
                file.write(json.dumps(line) + "\n")

    def start(self, epoch: int, stepper: Stepper) -> None:
        """A line on what computes how, before the first step."""
        settings, device = stepper.settings, self.worker.device
        share = math.ceil(settings.batch_size / stepper.accumulate / self.worker.world)
        starting = {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "backend": dist.get_backend() if dist.is_initialized() else "",
            "workers": self.worker.world,
            "threads": torch.get_num_threads(),
            "precision": stepper.precision,
            "compile": settings.compile,
            "micro_batch": share,
            "accumulate": stepper.accumulate,
            "batch_size": settings.batch_size,
            "lr": settings.lr,
        }
        self.line(epoch, {"starting": starting})

    def step(self, epoch: int, step: int, clock: Clock, *, images: int, losses: Mapping[str, float]) -> None:
        """Tell where training stands after a step, once a second; `images` of this epoch so far, over all workers."""
        now = time.monotonic()
        if now - self._told < EVERY_S:
            return
        self._told = now
        speed, wait = images / clock.elapsed, clock.waited / clock.elapsed
        self._set(speed, wait)
        if self.worker.rank == 0:
            left = self.total - (epoch * self.steps + step + 1)
            where = {"epoch": epoch + 1, "epochs": self.epochs, "step": step + 1, "steps": self.steps}
            rates = {"images_per_s": speed, "data_wait": wait, "eta_s": left * clock.elapsed / clock.steps}
            write_json(self.job.folder / PROGRESS, {"job": self.job.name, **where, **rates, "losses": dict(losses)})

    def _set(self, speed: float, wait: float) -> None:
        held = torch.cuda.memory_reserved(self.worker.device) if self.worker.device.type == "cuda" else 0
        for gauge, value in zip(self._gauges.values(), (speed, wait, held), strict=False):
            gauge.set(value, tags={"job": self.job.name, "rank": str(self.worker.rank)})
