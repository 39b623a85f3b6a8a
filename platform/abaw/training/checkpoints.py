"""Checkpoints: weights as safetensors with metadata, and beside them what exact resumption needs.

A checkpoint is a folder that appears whole: it is written under another name and renamed.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from abaw.problems import refuse


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where training goes on: the next optimiser step of an epoch, both from 0."""

    epoch: int
    step: int


def save_weights(module: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    """Write the module's weights as safetensors; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    weights = {name: value.detach().contiguous().cpu() for name, value in module.state_dict().items()}
    save_file(weights, partial, metadata=metadata)
    partial.replace(path)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; BadInput when it is missing or broken."""
    if not path.is_file():
        raise refuse(path, "no such weights; expected a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except Exception as error:  # the Rust reader raises its own type for each kind of damage
        raise refuse(path, f"not a readable safetensors file ({error}); write it again or choose another") from error


def load_encoder(encoder: nn.Module, path: Path) -> int:
    """Load the encoder found in another system's weights, whatever its prefix there; returns how many tensors came in.

    Every tensor of `encoder` must be found with its shape, else BadInput lists what does not fit.
    """
    weights = load_weights(path)
    prefix = next((name.removesuffix("cls_token") for name in weights if name.endswith("encoder.cls_token")), None)
    if prefix is None:
        raise refuse(path, "holds no encoder (no tensor named …encoder.cls_token); expected weights of a ViT system")
    wanted = encoder.state_dict()
    misfits = [
        f"{name}: {tuple(wanted[name].shape)} wanted, {tuple(found.shape) if found is not None else 'nothing'} found"
        for name in wanted
        if (found := weights.get(prefix + name)) is None or found.shape != wanted[name].shape
    ]
    if misfits:
        raise refuse(path, f"{len(misfits)} of {len(wanted)} encoder tensors do not fit: " + "; ".join(misfits[:5]))
    encoder.load_state_dict({name: weights[prefix + name] for name in wanted})
    return len(wanted)


def save_state(
    folder: Path, *, module: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer, position: Position
) -> None:
    """Replace the checkpoint in `folder` by the present state of training."""
    partial, old = folder.with_name(folder.name + ".partial"), folder.with_name(folder.name + ".old")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    metadata = {"epoch": str(position.epoch), "step": str(position.step)}
    save_weights(module, partial / "model.safetensors", metadata)
    if average is not module:
        save_weights(average, partial / "ema.safetensors", metadata)
    torch.save(
        {"optimiser": optimiser.state_dict(), "epoch": position.epoch, "step": position.step}, partial / "state.pt"
    )
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def load_state(
    folder: Path, *, module: nn.Module, average: nn.Module, optimiser: torch.optim.Optimizer
) -> Position | None:
    """Continue from the checkpoint in `folder`; None when there is none. A kill between two renames leaves `.old`."""
    if not folder.exists():
        folder = folder.with_name(folder.name + ".old")
        if not folder.exists():
            return None
    module.load_state_dict(load_weights(folder / "model.safetensors"))
    if average is not module:
        average.load_state_dict(load_weights(folder / "ema.safetensors"))
    state: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True, map_location="cpu")
    optimiser.load_state_dict(state["optimiser"])
    return Position(epoch=state["epoch"], step=state["step"])
