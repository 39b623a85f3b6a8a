"""SimSiam (Chen and He 2021): predict the projection of one view of a face from the other, without negatives.

Section 3, algorithm 1 and equations 1-4. What keeps it from collapse is the stopped gradient. Published: SGD at
0.05 x batch / 256 with cosine decay and momentum 0.9, weight decay 1e-4, batch 256 to 512; the predictor's rate is not
decayed, which helps a little (Table 1) and is not done here. Legend: B faces, F features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from abaw.models.backbones import BackboneConfig
from abaw.models.global_views import GlobalViews
from abaw.systems.siamese import SiameseSystem, mlp, similarity
from abaw.systems.system import Batch


@dataclass(frozen=True, kw_only=True)
class SimSiam:
    """Siamese learning with a stopped gradient."""

    backbone: BackboneConfig = BackboneConfig()
    views: GlobalViews = GlobalViews()
    output: int = 2048
    """Width of the projection, in all of its three layers."""
    bottleneck: int = 512
    """Width of the predictor's hidden layer, a quarter of the projection."""

    def build(self) -> "SimSiamSystem":
        """The system with fresh weights."""
        return SimSiamSystem(self)


class SimSiamSystem(SiameseSystem):
    """Networks and loss of SimSiam; batch norm also behind the projection's last layer, not behind the predictor's."""

    def __init__(self, config: SimSiam) -> None:
        super().__init__(config.backbone, config.views)
        self.config = config
        self.projector = mlp(self.width, config.output, config.output, config.output, output_norm=True)
        self.predictor = mlp(config.output, config.bottleneck, config.output)

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The symmetric loss between two views, in [-1, 1]."""
        images = batch["image"]
        first, second = (
            self.projector(self.pooled(self.see(images, self.draw_view(images, generator)))) for _ in range(2)
        )
        return {"similarity": simsiam_loss(self.predictor(first), self.predictor(second), first, second)}


def simsiam_loss(predicted1_BF: Tensor, predicted2_BF: Tensor, first_BF: Tensor, second_BF: Tensor) -> Tensor:
    """Minus the mean cosine between prediction and the other view's projection, whose gradient is stopped (eq. 4)."""
    towards_second = similarity(predicted1_BF, second_BF.detach()).mean()
    towards_first = similarity(predicted2_BF, first_BF.detach()).mean()
    return -(towards_second + towards_first) / 2
