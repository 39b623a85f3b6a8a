"""BYOL (Grill et al. 2020): predict how a slowly moving average of the network sees the other view of a face.

Section 3.1 with equations 1-3; section 3.2 for the widths and the momentum's schedule. Published: LARS at
0.2 x batch / 256 with 10 epochs of warm-up and cosine decay, batch 4096, weight decay 1.5e-6 (none for biases and batch
norm), 1000 epochs. As there, the target's batch norm uses the statistics of the batch. Legend: B faces, F features.
"""

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from abaw.models.backbones import BackboneConfig, feature_map
from abaw.models.global_views import GlobalViews
from abaw.models.vit import to_pixels
from abaw.systems.siamese import SiameseSystem, mlp, similarity
from abaw.systems.system import Batch


@dataclass(frozen=True, kw_only=True)
class Byol:
    """Learning from a momentum target, without negatives."""

    backbone: BackboneConfig = BackboneConfig()
    views: GlobalViews = GlobalViews()
    hidden: int = 4096
    """Width of the hidden layers of projection and predictor."""
    output: int = 256
    """Width of what is compared."""
    momentum: float = 0.996
    """How much of the target stays in a step at the start; it rises to 1 along half a cosine."""

    def build(self) -> "ByolSystem":
        """The system with fresh weights."""
        return ByolSystem(self)


class ByolSystem(SiameseSystem):
    """The online network (encoder, projector, predictor), its target, and the loss between them."""

    def __init__(self, config: Byol) -> None:
        super().__init__(config.backbone, config.views)
        self.config = config
        self.projector = mlp(self.width, config.hidden, config.output)
        self.predictor = mlp(config.output, config.hidden, config.output)
        online = nn.ModuleList([self.encoder, self.projector])
        self.target = copy.deepcopy(online).requires_grad_(False)
        """Encoder and projector that follow the online ones and never see a gradient."""

    def predict_views(self, images: Tensor) -> Tensor:
        """Views (B, 3, H, W) in 0..255 to the online network's predictions (B, F)."""
        predicted_BF: Tensor = self.predictor(self.projector(self.pooled(images)))
        return predicted_BF

    @torch.no_grad()
    def project_target(self, images: Tensor) -> Tensor:
        """The target's projections (B, F) of views (B, 3, H, W) in 0..255, without gradient."""
        encoder, projector = self.target
        pixels = to_pixels(images, image_size=self.backbone.image_size)
        projected_BF: Tensor = projector(feature_map(encoder, pixels).mean(dim=(2, 3)))
        return projected_BF

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The symmetric loss between two views, in [0, 8]."""
        images = batch["image"]
        first, second = (self.see(images, self.draw_view(images, generator)) for _ in range(2))
        return {
            "pull": distance(self.predict_views(first), self.project_target(second)).mean()
            + distance(self.predict_views(second), self.project_target(first)).mean()
        }

    def trunks(self) -> dict[str, list[nn.Module]]:
        """The online encoder and its target start from the same weights."""
        return {"encoder": [self.encoder, self.target[0]]}

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the target a little towards the online network; `progress` in (0, 1] of all steps."""
        keep = target_momentum(self.config.momentum, progress)
        online = nn.ModuleList([self.encoder, self.projector])
        for slow, fast in zip(self.target.parameters(), online.parameters(), strict=True):
            slow.lerp_(fast, 1 - keep)


def distance(first_BF: Tensor, second_BF: Tensor) -> Tensor:
    """Squared distance (B,) between the rows brought to length 1, in [0, 4]: 2 - 2 cos (equation 2)."""
    return 2 - 2 * similarity(first_BF, second_BF)


def target_momentum(base: float, progress: float) -> float:
    """The target's momentum after a share `progress` of all steps: 1 - (1 - base) (cos(pi progress) + 1) / 2."""
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2
