"""The contract between a system and the trainer: named losses in, columns of a track out."""

from abc import abstractmethod
from typing import Protocol

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

Batch = dict[str, Tensor]
"""`image` uint8 (B, 3, h, w), labels and their masks as `abaw.data.batches` makes them."""


class System(nn.Module):
    """Networks, losses and predictions of one paper. The trainer knows nothing else about it."""

    layers: int
    """Number of steps between the input and the heads, for layer-wise learning rates."""
    windows = False
    """Whether its batches are windows of `feature` (B, T, F) of frames instead of images, see `temporal.py`."""

    @abstractmethod
    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Named losses of a batch, each a scalar; their sum is minimised. `generator` is the only source of chance."""

    @abstractmethod
    def layer_of(self, parameter: str) -> int:
        """Which layer a parameter belongs to: 0 at the input, `layers` at the heads."""

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions (B, C) by task name from the images of a batch: values for va, else probabilities."""
        raise ValueError(f"{type(self).__name__} learns without labels and predicts no track")

    def features(self, batch: Batch) -> Tensor:
        """What the network sees in each image (B, F), before its heads: the input of a temporal head."""
        raise ValueError(f"{type(self).__name__} gives no feature of a frame; choose a system that does: MultiTask")

    def pictures(self, batch: Batch, generator: torch.Generator) -> Tensor | None:
        """What was learnt: K pictures of each image, uint8 (B, K, 3, H, W); None where none are made."""
        return None

    def trunks(self) -> dict[str, list[nn.Module]]:
        """The networks that can start from other weights, by name; those of one name start from the same."""
        encoder = getattr(self, "encoder", None)
        return {"encoder": [encoder]} if isinstance(encoder, nn.Module) else {}

    def compile_blocks(self) -> None:
        """Let torch.compile fuse what is between the matrix products of each ViT; weights keep their names.

        Raises ValueError where there is no Vision Transformer.
        """
        encoders = [module for module in self.modules() if isinstance(module, VisionTransformer)]
        if not encoders:
            raise ValueError(f"{type(self).__name__} has no Vision Transformer to compile; give compile False")
        for encoder in encoders:
            for block in encoder.blocks:
                block.compile()

    def after_step(self, progress: float) -> None:
        """What follows an optimiser step, such as the target network of BYOL; `progress` in (0, 1] of all steps."""


class SystemConfig(Protocol):
    """A frozen dataclass that builds its system."""

    def build(self) -> System:
        """A freshly initialised system."""
        ...
