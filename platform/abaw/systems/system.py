"""The contract between a system and the trainer: named losses in, columns of a track out."""

from abc import abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

Batch = dict[str, Tensor]
"""`image` uint8 (B, 3, h, w), labels and their masks as `abaw.data.batches` makes them."""


class System(nn.Module):
    """Networks, losses and predictions of one paper. The trainer knows nothing else about it."""

    layers: int
    """Number of steps between the input and the heads, for layer-wise learning rates."""

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Named losses of a batch, each a scalar; their sum is minimised. `generator` is the only source of chance."""

    @abstractmethod
    def layer_of(self, parameter: str) -> int:
        """Which layer a parameter belongs to: 0 at the input, `layers` at the heads."""

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Predictions (B, C) by task name from uint8 images (B, 3, h, w): values for va, else probabilities."""
        raise ValueError(f"{type(self).__name__} learns without labels and predicts no track")


class SystemConfig(Protocol):
    """A frozen dataclass that builds its system."""

    def build(self) -> System:
        """A freshly initialised system."""
        ...
