"""The training loop: one job, from fresh or resumed weights to final weights, predictions and `result.json`.

Everything that chance decides at a step follows from (seed, epoch, step, rank), so a resumed run sees what an
uninterrupted one would have seen.
"""

import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor

from abaw import runs
from abaw.data.batches import batches, steps_per_epoch
from abaw.data.manifest import check_track, load_manifest
from abaw.tracks import Track, get_track
from abaw.training.away import away_for
from abaw.training.checkpoints import Position, check_preprocessing, load_weights, save_weights
from abaw.training.evaluation import (
    predict,
    prediction_table,
    score_over_workers,
    summary_over_workers,
    write_over_workers,
)
from abaw.training.frames import check, check_size, check_windows, open_frames
from abaw.training.guard import DivergedError
from abaw.training.job import Frames, TrainingJob
from abaw.training.keeping import Kept
from abaw.training.lost import note
from abaw.training.notice import LeavingError, told_to_leave
from abaw.training.optimisation import total_steps
from abaw.training.reporting import Reporter
from abaw.training.starts import load_start
from abaw.training.states import States
from abaw.training.steps import Clock, Stepper
from abaw.training.workers import Worker, give_memory_back

LOG = logging.getLogger(__name__)
PICTURES = 8
"""Images in `pictures.png`."""


def run_job(job: TrainingJob, worker: Worker) -> None:
    """Train, evaluate and predict; does nothing when the job's folder is complete."""
    if not runs.is_complete(job.folder):
        _run(job, worker)
        give_memory_back()


def _run(job: TrainingJob, worker: Worker) -> None:
    started = time.time()
    if worker.rank == 0:
        runs.start(job.folder, job)
    training = Training(job, worker)
    training.run()
    final = job.folder / "checkpoints" / "final.safetensors"
    if worker.rank == 0:
        about = {"job": job.name, "system": type(job.system).__name__}
        save_weights(training.average.system, final, about, preprocessing=training.preprocessing)
        training.draw()
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
            skipped_steps=training.stepper.guard.skipped,
            **summary,
        )
    worker.barrier()


class Training:
    """The moving parts of one job on one worker."""

    def __init__(self, job: TrainingJob, worker: Worker) -> None:
        self.job, self.worker = job, worker
        settings = job.optimisation
        check(job)
        torch.use_deterministic_algorithms(settings.deterministic)
        torch.manual_seed(job.seed)
        self.system = job.system.build()
        check_windows(job, windows=self.system.windows)
        manifest = load_manifest(job.train.shards)
        if job.track is not None:
            check_track(manifest, job.track)
        self.preprocessing = manifest.preprocessing
        self.started_from = self._load_starts()
        self.system.to(worker.device)
        self.stepper = Stepper(self.system, settings, seed=job.seed, worker=worker)
        self.average = self.stepper.average
        checkpoints = job.folder / "checkpoints"
        tell = partial(note, job) if worker.rank == 0 else LOG.warning
        away = away_for(worker.checkpoints, job.folder)
        if away is not None and worker.rank == 0:
            away.restore_kept(checkpoints)
        self.states, self.kept = States(checkpoints, tell, away=away), Kept(checkpoints, settings.keep)
        self.position = self.states.load(self.stepper) or Position(epoch=0, step=0)
        self.source = open_frames(job.train, track=job.track, soft_targets=job.soft_targets)
        check_size(job, self.source)
        self.steps = steps_per_epoch(self.source, global_batch=settings.batch_size, sampling=settings.sampling)
        self.total = total_steps(settings, steps_per_epoch=self.steps)
        self.report = Reporter(job, worker, steps=self.steps, total=self.total)
        self.epochs = self.report.epochs

    def _load_starts(self) -> list[str]:
        """Load what the job's networks start from; returns what came in, a line each."""
        trunks, lines = self.system.trunks(), list[str]()
        for name, source in self.job.init.items():
            if name not in trunks:
                known = ", ".join(trunks) or "none"
                raise ValueError(f"{self.job.name}: init names {name!r}, this system has the networks {known}")
            if source.endswith(".safetensors"):
                check_preprocessing(Path(source), self.preprocessing)
            report = load_start(trunks[name], source, at_least=self.job.at_least)
            lines += [f"{name}: {line}" for line in report.lines()]
        return lines

    def run(self) -> None:
        """Train from the present position to the last step, with a checkpoint after each epoch.

        Raises ValueError when training diverges again after going back once.
        """
        settings = self.job.optimisation
        if self.started_from:
            self.report.line(self.position.epoch, {"started_from": self.started_from})
        if self.position != Position(epoch=0, step=0):
            self.report.line(self.position.epoch, {"resumed_at_step": self.position.step})
        self.report.start(self.position.epoch, self.stepper)
        self._save(self.position)
        while self.position.epoch < self.epochs:
            epoch = self.position.epoch
            try:
                self._train_epoch(epoch)
            except DivergedError as error:
                self._go_back(error, epoch)
                continue
            self.position = Position(epoch=epoch + 1, step=0)
            last_one = epoch + 1 == self.epochs
            if settings.evaluate_every and (epoch + 1) % settings.evaluate_every == 0 and not last_one:
                self._evaluate(epoch)
            if not last_one:
                self._save(self.position)
            self.worker.barrier()
        self.states.wait()

    def _save(self, position: Position) -> None:
        if self.worker.rank == 0:
            self.states.save(self.stepper, position)

    def _leave(self, position: Position) -> None:
        self._save(position)
        self.states.wait()
        self.worker.barrier()
        self.report.line(position.epoch, {"left_at_step": position.step})
        raise LeavingError(f"{self.job.name}: a machine is about to go; all is saved, another group goes on from here")

    def _go_back(self, error: DivergedError, epoch: int) -> None:
        """To the last checkpoint, with a lower rate; once."""
        self.states.wait()
        self.worker.barrier()
        if self.stepper.guard.rate < 1:
            raise ValueError(
                f"{self.job.name}: diverged in epoch {epoch + 1}, and again at a lower rate: {error}; lower "
                f"optimisation.lr ({self.job.optimisation.lr:g}), give clip_norm, or look at the labels and images"
            ) from error
        skipped = self.stepper.guard.skipped
        self.position = self.states.load(self.stepper) or self.position
        self.stepper.guard.skipped = skipped
        self.stepper.guard.slow_down()
        self.report.line(epoch, {"went_back_to_epoch": self.position.epoch + 1, "rate": self.stepper.guard.rate})
        LOG.warning("%s: %s; going on from epoch %d at a lower rate", self.job.name, error, self.position.epoch + 1)

    def _train_epoch(self, epoch: int) -> None:
        settings, clock = self.job.optimisation, Clock()
        self.stepper.parallel.train()
        sums: dict[str, float] = {}
        micro_batches = clock.timed(self._micro_batches(epoch))
        steps = range(self.position.step, min(self.steps, self.total - epoch * self.steps))
        images = settings.batch_size * max(1, settings.sampling.window)
        taken = 0
        for step in steps:
            losses = self.stepper.step(micro_batches, epoch=epoch, step=step, steps_per_epoch=self.steps)
            clock.steps += 1
            self.report.step(epoch, step, clock, images=clock.steps * images, losses=losses)
            taken += bool(losses)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value
            if settings.save_every and (step + 1) % settings.save_every == 0 and step + 1 < steps.stop:
                self._save(Position(epoch=epoch, step=step + 1))
            if step + 1 < steps.stop and told_to_leave(self.worker):
                self._leave(Position(epoch=epoch, step=step + 1))
        values = {name: value / taken for name, value in sums.items()}
        self.report.line(
            epoch,
            {f"loss/{name}": value for name, value in values.items()}
            | {
                "loss": sum(values.values()),
                "images_per_s": len(steps) * images / clock.elapsed,
                "data_wait": clock.waited / clock.elapsed,
                "lr": self.stepper.rate,
                "step": epoch * self.steps + steps.stop,
                "skipped_steps": self.stepper.guard.skipped,
            },
        )

    def _micro_batches(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        settings = self.job.optimisation
        return batches(
            self.source,
            global_batch=settings.batch_size // self.stepper.accumulate,
            rank=self.worker.rank,
            world=self.worker.world,
            seed=self.job.seed,
            epoch=epoch,
            start_step=self.position.step * self.stepper.accumulate,
            sampling=settings.sampling,
            augmentation=None if self.system.windows else settings.augmentation,
            loading=self.worker.loading,
        )

    def _evaluate(self, epoch: int) -> None:
        """Score the held-out frames; the best epochs are kept."""
        assert self.job.held_out is not None
        assert self.job.track is not None
        track = get_track(self.job.track)
        table = self._predict(self.job.held_out, track, checkpoint=self.job.name)
        metrics = score_over_workers(table, track, self.worker)
        self.report.line(epoch, {**metrics, "step": (epoch + 1) * self.steps})
        if self.kept.most and self.worker.rank == 0:
            self.states.wait()  # which may be copying the epochs kept so far
            self.kept.offer(self.average.system, epoch=epoch, score=metrics[track.score])

    def _predict(self, frames: Frames, track: Track, *, checkpoint: str) -> pa.Table:
        """This worker's part of a prediction table."""
        source, settings = open_frames(frames, track=None), self.job.optimisation
        self.worker.share_buffers(self.average.system)
        index, columns = predict(
            self.average.system,
            source,
            track=track,
            worker=self.worker,
            augmentation=settings.augmentation,
            sampling=settings.sampling,
        )
        return prediction_table(index, columns, source, track=track, fold=self.job.fold, checkpoint=checkpoint)

    def draw(self) -> None:
        """`pictures.png`: a row for each of a few images, where the system has pictures and predicts nothing."""
        if self.job.track is not None:
            return
        rows = np.linspace(0, len(self.source) - 1, PICTURES).astype(np.int64)
        system, chance = self.average.system.eval(), torch.Generator().manual_seed(self.job.seed)
        pictures_BKCHW = system.pictures(self.worker.put(self.source.batch(rows)), chance)
        if pictures_BKCHW is not None:
            rows_HWC = torch.cat([torch.cat([*row_KCHW], dim=2) for row_KCHW in pictures_BKCHW], dim=1).permute(1, 2, 0)
            Image.fromarray(rows_HWC.cpu().numpy()).save(self.job.folder / "pictures.png")

    def predict_all(self) -> dict[str, Any]:
        """Write the predictions that the job asks for; returns the summary of the held-out frames, if there are any.

        Predictions of the kept epochs go to folders of their own, `predictions/epoch-012/`.
        """
        if self.job.track is None:
            return {}
        track = get_track(self.job.track)
        summary: dict[str, Any] = {"track": track.name}
        folder = self.job.folder / "predictions"
        held_out = {"held_out": self.job.held_out} if self.job.held_out else {}
        wanted = {**held_out, **self.job.predict}
        for name, frames in wanted.items():
            table = self._predict(frames, track, checkpoint=self.job.name)
            if name == "held_out":
                summary = summary_over_workers(table, track, self.worker, seed=self.job.seed)
            write_over_workers(table, folder / f"{name}.parquet", self.worker)
        kept = self.kept.scores if self.kept.most else {}
        for epoch in kept:
            self.average.system.load_state_dict(load_weights(self.kept.path(epoch)))
            for name, frames in wanted.items():
                table = self._predict(frames, track, checkpoint=f"{self.job.name}/{epoch}")
                write_over_workers(table, folder / epoch / f"{name}.parquet", self.worker)
        return summary | {"kept": kept}
