"""Weights as safetensors with metadata; `abaw.training.states` has what exact resumption needs beside them.

Weights say how the images that they were trained on had been made: other crops or colours cost a score more than most
choices, and silently.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from abaw.data.manifest import Preprocessing
from abaw.problems import refuse

LOG = logging.getLogger(__name__)
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where training goes on: the next optimiser step of an epoch, both from 0."""

    epoch: int
    step: int


def save_weights(
    weights: nn.Module | dict[str, Tensor],
    path: Path,
    metadata: dict[str, str],
    *,
    preprocessing: Preprocessing | None = None,
) -> None:
    """Write a module's weights as safetensors, with how its images were made; the file appears whole or not."""
    if preprocessing is not None:
        metadata = metadata | {"preprocessing": json.dumps(asdict(preprocessing))}
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    tensors = weights.state_dict() if isinstance(weights, nn.Module) else weights
    stored = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    save_file(stored, partial, metadata=metadata)
    partial.replace(path)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file; BadInput when it is missing or broken."""
    return _read(path, lambda file: {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping


def _read(path: Path, read: Callable[[Any], Found]) -> Found:
    if not path.is_file():
        raise refuse(path, "no such weights; expected a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            return read(file)
    except Exception as error:  # the Rust reader raises its own type for each kind of damage
        raise refuse(path, f"not a readable safetensors file ({error}); write it again or choose another") from error


def read_preprocessing(path: Path) -> Preprocessing | None:
    """How the images were made that the weights of a safetensors file were trained on; None where it does not say."""
    stored = _read(path, lambda file: (file.metadata() or {}).get("preprocessing"))
    return Preprocessing(**json.loads(stored)) if stored else None


def check_preprocessing(path: Path, data: Preprocessing) -> None:
    """Warn where the weights of a file were trained on images that were made otherwise than those of the data."""
    trained = read_preprocessing(path)
    if trained is None:
        LOG.warning("%s does not say how the images it was trained on were made; the data's: %s", path, data)
    elif trained != data:
        ours, theirs = asdict(data), asdict(trained)
        differing = [
            f"{name}: weights {theirs[name]!r}, data {ours[name]!r}" for name in ours if ours[name] != theirs[name]
        ]
        message = "%s was trained on images that were made otherwise than the data's: %s (weights: %s; data: %s)"
        LOG.warning(message, path, "; ".join(differing), trained, data)
