"""The last two checkpoints of a training: what an interrupted run goes on from, exactly where it was.

A checkpoint is copied to memory at once and written by a thread, so that training does not wait for the disk. It is a
folder that appears whole; the one before stays beside it, for when the last turns out to be unreadable.
"""

import logging
import pickle
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from abaw.problems import BadInput
from abaw.training.away import Away
from abaw.training.checkpoints import Position, load_weights, save_weights
from abaw.training.steps import Stepper

LOG = logging.getLogger(__name__)
UNREADABLE = (BadInput, OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError)
"""What a truncated, mixed or missing file raises while a checkpoint is read."""
UNWRITTEN = (OSError, RuntimeError, SafetensorError)
"""What a full disk raises while one is written: Python, torch's zip writer and safetensors, each its own."""


class States:
    """Checkpoints in `<folder>/last` and `<folder>/last.old`. One rank saves, all ranks load."""

    def __init__(self, folder: Path, tell: Callable[[str], None] = LOG.warning, *, away: Away | None = None) -> None:
        """`tell` takes what a person must know of checkpoints that could not be written or read.

        What is written is copied to `away` too, and comes from there where the folder has none.
        """
        self.tell, self.away = tell, away
        self.last, self.before = folder / "last", folder / "last.old"
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._pending: Future[None] | None = None

    def save(self, stepper: Stepper, position: Position) -> None:
        """Take the present state; it is on the disk some time later, and after `wait` for sure.

        A full disk costs this checkpoint and is told; the one before stays.
        """
        self.wait()
        modules = {"model": _copy(stepper.system)}
        if stepper.average.system is not stepper.system:
            modules["ema"] = _copy(stepper.average.system)
        state = {
            "optimiser": _copied(stepper.optimiser.state_dict()),
            "guard": stepper.guard.state(),
            "scaler": stepper.scaler.state_dict(),
            "epoch": position.epoch,
            "step": position.step,
        }
        self._pending = self._writer.submit(self._write, modules, state)

    def wait(self) -> None:
        """Return when nothing is being written."""
        if self._pending is not None:
            self._pending.result()
            self._pending = None

    def load(self, stepper: Stepper) -> Position | None:
        """Continue from the last checkpoint that can be read; None when there is none.

        Raises BadInput when `away` is needed and cannot be reached.
        """
        for folder in self._found():
            try:
                return _load(folder, stepper)
            except UNREADABLE as error:
                self.tell(f"{folder} cannot be read ({error}): going on from the one before, or anew")
        return None

    def _found(self) -> Iterator[Path]:
        here = [folder for folder in (self.last, self.before) if folder.exists()]
        yield from here
        if self.away is not None and not here:
            yield from self.away.fetch()

    def _write(self, modules: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        partial = self.last.with_name(self.last.name + ".partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            metadata = {"epoch": str(state["epoch"]), "step": str(state["step"])}
            for name, weights in modules.items():
                save_weights(weights, partial / f"{name}.safetensors", metadata)
            torch.save(state, partial / "state.pt")
            shutil.rmtree(self.before, ignore_errors=True)
            if self.last.exists():
                self.last.rename(self.before)
            partial.rename(self.last)
        except UNWRITTEN as error:
            self.tell(f"{self.last} was not written ({error}); the checkpoint before it stays")
            shutil.rmtree(partial, ignore_errors=True)
            return
        if self.away is not None:
            try:
                self.away.send(self.last)
            except (BadInput, OSError) as error:
                self.tell(f"{self.last} was not copied ({error}); the checkpoint before it stays at {self.away.folder}")


def _load(folder: Path, stepper: Stepper) -> Position:
    """Read everything first: a checkpoint that breaks in the middle must not be half taken."""
    weights = load_weights(folder / "model.safetensors")
    average = None
    if stepper.average.system is not stepper.system:
        average = load_weights(folder / "ema.safetensors")
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    stepper.system.load_state_dict(weights)
    if average is not None:
        stepper.average.system.load_state_dict(average)
    stepper.optimiser.load_state_dict(state["optimiser"])
    stepper.guard.load(state["guard"])
    if stepper.scaler.is_enabled():
        stepper.scaler.load_state_dict(state["scaler"])
    return Position(epoch=state["epoch"], step=state["step"])


def _copy(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu", copy=True) for name, value in module.state_dict().items()}


def _copied(value: Any) -> Any:
    """The state of an optimiser with every tensor copied to memory."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value
