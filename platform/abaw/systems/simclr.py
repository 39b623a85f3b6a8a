"""SimCLR (Chen, Kornblith, Norouzi, Hinton 2020): tell the other view of a face from all other faces.

Section 2.1, equation 1 (NT-Xent), with the projection W2 ReLU(W1 h) of section 4.2; the public code adds batch norm
there. The negatives are the faces of the worker's own batch: with several workers each compares within its share.
Published: LARS at 0.3 x batch / 256 with cosine decay, batch 4096, weight decay 1e-6, temperature 0.1.
Legend: B faces, F features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from abaw.models.backbones import BackboneConfig
from abaw.models.global_views import GlobalViews
from abaw.systems.siamese import SiameseSystem, mlp
from abaw.systems.system import Batch


@dataclass(frozen=True, kw_only=True)
class SimClr:
    """Contrastive learning with the faces of a batch as negatives."""

    backbone: BackboneConfig = BackboneConfig()
    views: GlobalViews = GlobalViews()
    hidden: int = 2048
    """Width of the projection's hidden layer; the paper takes that of ResNet-50's features."""
    output: int = 128
    """Width of what is compared."""
    temperature: float = 0.1
    """Divides the cosines; larger than 0."""

    def build(self) -> "SimClrSystem":
        """The system with fresh weights."""
        return SimClrSystem(self)


class SimClrSystem(SiameseSystem):
    """Networks and loss of SimCLR."""

    def __init__(self, config: SimClr) -> None:
        super().__init__(config.backbone, config.views)
        self.config = config
        self.projector = mlp(self.width, config.hidden, config.output, hidden_norm=False)

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """NT-Xent between two views."""
        images = batch["image"]
        both = torch.cat([self.see(images, self.draw_view(images, generator)) for _ in range(2)])
        first_BF, second_BF = self.projector(self.pooled(both)).chunk(2)
        return {"contrast": nt_xent(first_BF, second_BF, temperature=self.config.temperature)}


def nt_xent(first_BF: Tensor, second_BF: Tensor, *, temperature: float) -> Tensor:
    """Mean over the 2B views of the cross entropy of finding the other view among the 2B - 1 (equation 1)."""
    views = torch.nn.functional.normalize(torch.cat([first_BF, second_BF]).float(), dim=1)
    with torch.autocast(views.device.type, enabled=False):
        logits = views @ views.T / temperature
    logits.fill_diagonal_(float("-inf"))
    other = torch.arange(len(views), device=views.device).roll(len(first_BF))
    return torch.nn.functional.cross_entropy(logits, other)
