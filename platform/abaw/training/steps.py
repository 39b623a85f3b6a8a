"""One optimiser step: micro-batches forward and backward, precision, clipping, the rate, the moving average."""

import contextlib
import math
import shutil
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from abaw.models.vit import unfuse_attention
from abaw.systems.system import System
from abaw.training.guard import Guard
from abaw.training.optimisation import (
    MovingAverage,
    Optimisation,
    accumulation,
    learning_rate,
    make_optimiser,
    precision_on,
    set_learning_rate,
    total_steps,
)
from abaw.training.workers import Worker

COMPILERS = ("c++", "g++", "clang++", "cc", "gcc", "clang")
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Stepper:
    """A system, its optimiser and its moving average on one worker, moved a step at a time."""

    def __init__(self, system: System, settings: Optimisation, *, seed: int, worker: Worker) -> None:
        self.system, self.settings, self.seed, self.worker = system, settings, seed, worker
        self.accumulate = accumulation(settings, world=worker.world)
        self.optimiser = make_optimiser(system, settings)
        self.average = MovingAverage(system, settings.ema_decay)
        if settings.compile:
            check_compiler()
            system.compile_blocks()
        self.parallel = worker.parallel(system)
        self.precision = precision_on(worker.device, settings.precision)
        if worker.device.type == "cpu" and self.precision in HALVES:
            unfuse_attention(system)
        self.scaler = torch.amp.GradScaler(worker.device.type, enabled=self.precision == "fp16")
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
        for k in range(self.accumulate):
            batch = self.worker.put(next(micro_batches))
            # Of the mean over the whole batch: gradients are averaged over workers, whose shares may differ by one.
            weight = len(batch["index"]) * self.worker.world / settings.batch_size
            last_one = k + 1 == self.accumulate
            with contextlib.nullcontext() if last_one else _no_sync(self.parallel):
                with torch.autocast(
                    self.worker.device.type, HALVES.get(self.precision), enabled=self.precision in HALVES
                ):
                    losses = self.parallel(batch, generator)
                loss = torch.stack(list(losses.values())).sum() * weight
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                means[name] = means.get(name, 0.0) + value.item() / self.accumulate
        try:
            taken = self._allowed()
            if taken:
                self.optimiser.step()
        finally:
            self.optimiser.zero_grad(set_to_none=True)  # or a gradient that is no number would stay for the next step
        if not taken:
            return {}
        self.system.after_step((at + 1) / total_steps(settings, steps_per_epoch=steps_per_epoch))
        self.average.update(self.system, at)
        return means

    def _allowed(self) -> bool:
        """Whether the gradient, unscaled and clipped, may be followed. Raises DivergedError."""
        self.scaler.unscale_(self.optimiser)
        norm = self._clipped_norm()
        too_large_a_scale = not math.isfinite(norm) and self.scaler.get_scale() > 1
        self.scaler.update()
        return not too_large_a_scale and self.guard.allows(norm)

    def _clipped_norm(self) -> float:
        """Norm of the gradient before it is clipped."""
        if self.settings.clip_norm:
            return nn.utils.clip_grad_norm_(self.system.parameters(), self.settings.clip_norm).item()
        gradients = [value.grad for value in self.system.parameters() if value.grad is not None]
        return nn.utils.get_total_norm(gradients).item()


def check_compiler() -> None:
    """ValueError where torch.compile would end in an error of its own, minutes later."""
    if not any(map(shutil.which, COMPILERS)):
        raise ValueError(
            "compile is True, but this machine has no C++ compiler, which torch.compile needs on CPU and GPU; "
            "install one (on Debian: apt install g++), or give compile False"
        )


class Clock:
    """Time of an epoch, how much of it went into waiting for data, and the steps that it took."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.waited = 0.0
        self.steps = 0

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


def _no_sync(module: nn.Module) -> contextlib.AbstractContextManager[None]:
    no_sync = getattr(module, "no_sync", contextlib.nullcontext)
    context: contextlib.AbstractContextManager[None] = no_sync()
    return context
