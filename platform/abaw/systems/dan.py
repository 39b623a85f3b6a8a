"""DAN trained on expressions, for teams that have no published weights for the frozen branch of EMMA.

Wen et al., "Distract your attention": here with cross entropy alone; their affinity and partition losses, which spread
the heads over the face, are left out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from abaw.models.dan import Dan
from abaw.models.vit import to_pixels
from abaw.systems.heads import TaskSystem
from abaw.tracks import get_track


@dataclass(frozen=True, kw_only=True)
class DanClassifier:
    """A DAN for the expressions of a track."""

    track: str = "affectnet8"
    image_size: int = 224
    """Side of the square input, in pixels."""

    def build(self) -> "DanSystem":
        """The system with fresh weights."""
        return DanSystem(self)


class DanSystem(TaskSystem):
    """DAN: cross entropy over the labelled rows, and class probabilities."""

    layers = 0

    def __init__(self, config: DanClassifier) -> None:
        super().__init__()
        self.config = config
        self.dan = Dan(classes=len(get_track(config.track).task("expr").columns))

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Class scores (B, C)."""
        return {"expr": self.dan(to_pixels(images, image_size=self.config.image_size))}

    def trunks(self) -> dict[str, list[torch.nn.Module]]:
        """The whole network."""
        return {"dan": [self.dan]}

    def layer_of(self, parameter: str) -> int:
        """One learning rate for all layers."""
        return 0
