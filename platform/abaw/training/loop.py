"""The training loop: one job, from fresh or resumed weights to final weights, predictions and `result.json`.

Everything that chance decides at a step follows from (seed, epoch, step, rank), so a resumed run sees what an
uninterrupted one would have seen.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from abaw import runs
from abaw.data.batches import FrameSource, batches, steps_per_epoch
from abaw.data.manifest import load_manifest
from abaw.data.sampling import epoch_size
from abaw.data.storage import as_path
from abaw.systems.system import System
from abaw.tracks import Track, get_track
from abaw.training.checkpoints import (
    Position,
    check_preprocessing,
    load_encoder,
    load_state,
    save_state,
    save_weights,
)
from abaw.training.evaluation import (
    predict,
    prediction_table,
    score_over_workers,
    summary_over_workers,
    write_over_workers,
)
from abaw.training.job import Frames, TrainingJob
from abaw.training.optimisation import (
    MovingAverage,
    Optimisation,
    learning_rate,
    make_optimiser,
    set_learning_rate,
)
from abaw.training.workers import Worker


def run_job(job: TrainingJob, worker: Worker) -> None:
    """Train, evaluate and predict; does nothing when the job's folder is complete."""
    if runs.is_complete(job.folder):
        return
    started = time.time()
    if worker.rank == 0:
        runs.start(job.folder, job)
    training = Training(job, worker)
    training.run()
    final = job.folder / "checkpoints" / "final.safetensors"
    if worker.rank == 0:
        about = {"job": job.name, "system": type(job.system).__name__}
        save_weights(training.average.system, final, about, preprocessing=training.preprocessing)
    summary = training.predict_all()
    if worker.rank == 0:
        runs.finish(
            job.folder,
            config=job,
            started=started,
            inputs=job.inputs,
            name=job.name,
            seed=job.seed,
            fold=job.fold,
            training_frames=len(training.source),
            weights=str(final),
            **summary,
        )
    worker.barrier()


class Training:
    """The moving parts of one job on one worker."""

    def __init__(self, job: TrainingJob, worker: Worker) -> None:
        self.job, self.worker = job, worker
        settings = job.optimisation
        _check(job)
        torch.manual_seed(job.seed)
        self.system = job.system.build()
        self.preprocessing = load_manifest(job.train.shards).preprocessing
        if job.init is not None:
            check_preprocessing(job.init, self.preprocessing)
            load_encoder(_encoder_of(self.system), job.init)
        self.system.to(worker.device)
        self.optimiser = make_optimiser(self.system, settings)
        self.average = MovingAverage(self.system, settings.ema_decay)
        self.last = job.folder / "checkpoints" / "last"
        resumed = load_state(self.last, module=self.system, average=self.average.system, optimiser=self.optimiser)
        self.position = resumed or Position(epoch=0, step=0)
        self.parallel = worker.parallel(self.system)
        self.source = open_frames(job.train, track=job.track)
        self.micro_batch = _micro_batch(settings, worker.world)
        self.steps = (
            steps_per_epoch(self.source, global_batch=self.micro_batch * worker.world, sampling=settings.sampling)
            // settings.accumulate
        )
        if self.steps == 0:
            raise ValueError(
                f"{job.name}: an epoch takes {epoch_size(self.source.table, settings.sampling)} of the "
                f"{len(self.source)} frames, which do not fill one batch of {settings.batch_size}; lower "
                "optimisation.batch_size, or take more frames by optimisation.sampling"
            )

    def run(self) -> None:
        """Train from the present position to the last epoch, with a checkpoint after each."""
        settings = self.job.optimisation
        for epoch in range(self.position.epoch, settings.epochs):
            self._train_epoch(epoch)
            self.position = Position(epoch=epoch + 1, step=0)
            last_one = epoch + 1 == settings.epochs
            if settings.evaluate_every and (epoch + 1) % settings.evaluate_every == 0 and not last_one:
                self._log(epoch, self._evaluate())
            if self.worker.rank == 0 and not last_one:
                save_state(
                    self.last,
                    module=self.system,
                    average=self.average.system,
                    optimiser=self.optimiser,
                    position=self.position,
                )
            self.worker.barrier()

    def _train_epoch(self, epoch: int) -> None:
        settings, clock = self.job.optimisation, _Clock()
        self.parallel.train()
        sums: dict[str, float] = {}
        micro_batches = clock.timed(self._micro_batches(epoch))
        for step in range(self.position.step, self.steps):
            at = epoch * self.steps + step
            set_learning_rate(self.optimiser, learning_rate(at, settings=settings, steps_per_epoch=self.steps))
            losses = self._step(micro_batches, epoch, step)
            self.average.update(self.system, at)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
        steps = self.steps - self.position.step
        images = steps * self.micro_batch * settings.accumulate * self.worker.world
        values = {name: value / steps for name, value in sums.items()}
        self._log(
            epoch,
            {f"loss/{name}": value for name, value in values.items()}
            | {
                "loss": sum(values.values()),
                "images_per_s": images / clock.elapsed,
                "data_wait": clock.waited / clock.elapsed,
                "lr": self.optimiser.param_groups[-1]["lr"],
            },
        )

    def _micro_batches(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        settings = self.job.optimisation
        return batches(
            self.source,
            global_batch=self.micro_batch * self.worker.world,
            rank=self.worker.rank,
            world=self.worker.world,
            seed=self.job.seed,
            epoch=epoch,
            start_step=self.position.step * settings.accumulate,
            sampling=settings.sampling,
            augmentation=settings.augmentation,
            loading=self.worker.loading,
        )

    def _step(self, micro_batches: Iterator[dict[str, Tensor]], epoch: int, step: int) -> dict[str, float]:
        """One optimiser step; returns the mean of each loss over the micro-batches."""
        settings = self.job.optimisation
        chance = hash((self.job.seed, epoch, step, self.worker.rank)) & 0x7FFF_FFFF
        torch.manual_seed(chance)
        generator = torch.Generator().manual_seed(chance)
        means: dict[str, float] = {}
        for k in range(settings.accumulate):
            batch = {
                name: value.to(self.worker.device, non_blocking=True) for name, value in next(micro_batches).items()
            }
            last_one = k + 1 == settings.accumulate
            with contextlib.nullcontext() if last_one else _no_sync(self.parallel):
                with torch.autocast(self.worker.device.type, torch.bfloat16, enabled=self._bf16):
                    losses = self.parallel(batch, generator)
                loss = torch.stack(list(losses.values())).sum() / settings.accumulate
                loss.backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                means[name] = means.get(name, 0.0) + value.item() / settings.accumulate
        if settings.clip_norm:
            nn.utils.clip_grad_norm_(self.system.parameters(), settings.clip_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return means

    @property
    def _bf16(self) -> bool:
        precision = self.job.optimisation.precision
        if precision == "auto":
            return self.worker.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return precision == "bf16"

    def _evaluate(self) -> dict[str, float]:
        assert self.job.held_out is not None
        assert self.job.track is not None
        track = get_track(self.job.track)
        source = open_frames(self.job.held_out, track=self.job.track)
        index, columns = self._predict(source, track)
        table = prediction_table(index, columns, source, track=track, fold=self.job.fold, checkpoint=self.job.name)
        return score_over_workers(table, track, self.worker)

    def _predict(self, source: FrameSource, track: Track) -> tuple[NDArray[np.int64], pa.Table]:
        augmentation = self.job.optimisation.augmentation
        self.worker.share_buffers(self.average.system)
        return predict(self.average.system, source, track=track, worker=self.worker, augmentation=augmentation)

    def predict_all(self) -> dict[str, Any]:
        """Write the predictions that the job asks for; returns the summary of the held-out frames, if there are any."""
        if self.job.track is None:
            return {}
        track = get_track(self.job.track)
        summary: dict[str, Any] = {"track": track.name}
        held_out = {"held_out": self.job.held_out} if self.job.held_out else {}
        for name, frames in {**held_out, **self.job.predict}.items():
            source = open_frames(frames, track=None)
            index, columns = self._predict(source, track)
            table = prediction_table(index, columns, source, track=track, fold=self.job.fold, checkpoint=self.job.name)
            if name == "held_out":
                summary = summary_over_workers(table, track, self.worker, seed=self.job.seed)
            write_over_workers(table, self.job.folder / "predictions" / f"{name}.parquet", self.worker)
        return summary

    def _log(self, epoch: int, values: dict[str, float]) -> None:
        """Append a line to metrics.jsonl: the driver shows it, and a person can plot it."""
        if self.worker.rank == 0:
            line = {"job": self.job.name, "epoch": epoch + 1, "epochs": self.job.optimisation.epochs, **values}
            with (self.job.folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")


def open_frames(frames: Frames, *, track: str | None) -> FrameSource:
    """The frames of a selection; with a track, only those that have a label for it."""
    return FrameSource(as_path(frames.shards), videos=frames.videos, splits=frames.splits, labelled=track is not None)


def _check(job: TrainingJob) -> None:
    """Refuse what the loop cannot do, before anything is opened."""
    if job.optimisation.evaluate_every and (job.held_out is None or job.track is None):
        raise ValueError(
            f"{job.name}: evaluate_every needs a held-out fold and a track, this training has none; give 0"
        )
    if job.optimisation.sampling.window:
        raise ValueError(f"{job.name}: sampling.window gives windows of frames, this system takes frames; give 0")


def _encoder_of(system: System) -> nn.Module:
    encoder = getattr(system, "encoder", None)
    if not isinstance(encoder, nn.Module):
        raise ValueError(f"{type(system).__name__} has no encoder to start from other weights; leave `init` empty")
    return encoder


def _micro_batch(settings: Optimisation, world: int) -> int:
    parts = world * settings.accumulate
    if settings.batch_size % parts:
        raise ValueError(
            f"batch_size {settings.batch_size} is not a multiple of {world} workers x {settings.accumulate} "
            f"accumulated micro-batches; choose a multiple of {parts}"
        )
    return settings.batch_size // parts


def _no_sync(module: nn.Module) -> contextlib.AbstractContextManager[None]:
    no_sync = getattr(module, "no_sync", contextlib.nullcontext)
    context: contextlib.AbstractContextManager[None] = no_sync()
    return context


class _Clock:
    """Time of an epoch, and how much of it went into waiting for data."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.waited = 0.0

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def timed(self, items: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        while True:
            before = time.perf_counter()
            item = next(items, None)
            self.waited += time.perf_counter() - before
            if item is None:
                return
            yield item
