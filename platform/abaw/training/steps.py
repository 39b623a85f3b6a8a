"""One optimiser step: micro-batches forward and backward, precision, clipping, the rate, the moving average."""

import contextlib
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from abaw.systems.system import System
from abaw.training.guard import Guard
from abaw.training.optimisation import (
    MovingAverage,
    Optimisation,
    learning_rate,
    make_optimiser,
    set_learning_rate,
    total_steps,
)
from abaw.training.workers import Worker


class Stepper:
    """A system, its optimiser and its moving average on one worker, moved a step at a time."""

    def __init__(self, system: System, settings: Optimisation, *, seed: int, worker: Worker) -> None:
        self.system, self.settings, self.seed, self.worker = system, settings, seed, worker
        self.optimiser = make_optimiser(system, settings)
        self.average = MovingAverage(system, settings.ema_decay)
        self.parallel = worker.parallel(system)
        self.micro_batch = _micro_batch(settings, worker.world)
        self.guard = Guard()

    @property
    def rate(self) -> float:
        """The present learning rate of the last layer."""
        rate: float = self.optimiser.param_groups[-1]["lr"]
        return rate

    def step(
        self, micro_batches: Iterator[dict[str, Tensor]], *, epoch: int, step: int, steps_per_epoch: int
    ) -> dict[str, float]:
        """One optimiser step, number `step` of `epoch`; returns the mean of each loss over the micro-batches.

        Nothing is returned where the guard did not allow the step. Raises DivergedError.
        """
        settings, at = self.settings, epoch * steps_per_epoch + step
        rate = learning_rate(at, settings=settings, steps_per_epoch=steps_per_epoch)
        set_learning_rate(self.optimiser, rate * self.guard.rate)
        chance = hash((self.seed, epoch, step, self.worker.rank)) & 0x7FFF_FFFF
        torch.manual_seed(chance)
        generator = torch.Generator().manual_seed(chance)
        means: dict[str, float] = {}
        for k in range(settings.accumulate):
            batch = self.worker.put(next(micro_batches))
            last_one = k + 1 == settings.accumulate
            with contextlib.nullcontext() if last_one else _no_sync(self.parallel):
                with torch.autocast(self.worker.device.type, torch.bfloat16, enabled=self._bf16):
                    losses = self.parallel(batch, generator)
                loss = torch.stack(list(losses.values())).sum() / settings.accumulate
                loss.backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                means[name] = means.get(name, 0.0) + value.item() / settings.accumulate
        try:
            taken = self.guard.allows(self._clipped_norm())
            if taken:
                self.optimiser.step()
        finally:
            self.optimiser.zero_grad(set_to_none=True)  # or a gradient that is no number would stay for the next step
        if not taken:
            return {}
        self.system.after_step((at + 1) / total_steps(settings, steps_per_epoch=steps_per_epoch))
        self.average.update(self.system, at)
        return means

    def _clipped_norm(self) -> float:
        """Norm of the gradient before it is clipped."""
        if self.settings.clip_norm:
            return nn.utils.clip_grad_norm_(self.system.parameters(), self.settings.clip_norm).item()
        gradients = [value.grad for value in self.system.parameters() if value.grad is not None]
        return nn.utils.get_total_norm(gradients).item()

    @property
    def _bf16(self) -> bool:
        precision = self.settings.precision
        if precision == "auto":
            return self.worker.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return precision == "bf16"


class Clock:
    """Time of an epoch, and how much of it went into waiting for data."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.waited = 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started

    def timed(self, items: Iterator[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
        """The items, with the time that each took to come counted as waiting."""
        while True:
            before = time.perf_counter()
            item = next(items, None)
            self.waited += time.perf_counter() - before
            if item is None:
                return
            yield item


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
