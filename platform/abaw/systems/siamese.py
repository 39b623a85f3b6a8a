"""What the self-supervised systems share: two global views of each face, pooled features, and small MLPs.

SimCLR, SimSiam, BYOL and ContraWarping all learn a backbone by comparing views. Legend: B faces, F features.
"""

import itertools

import torch
from torch import Tensor, nn

from abaw.models.backbones import BackboneConfig
from abaw.models.global_views import GlobalViews, View, draw_view, see
from abaw.models.warping import Warps
from abaw.systems.backbone import BackboneSystem
from abaw.systems.system import Batch


class SiameseSystem(BackboneSystem):
    """A system that compares views of faces; `encoder` is what fine-tuning starts from."""

    def __init__(self, backbone: BackboneConfig, views: GlobalViews) -> None:
        super().__init__(backbone)
        self.views = views
        self.width = self.map_shape[0]
        """Features of a face, averaged over its map."""

    def draw_view(self, images: Tensor, generator: torch.Generator) -> View:
        """A random view of each image."""
        return draw_view(self.views, images.shape[0], generator)

    def see(self, images: Tensor, view: View, warps: Warps | None = None) -> Tensor:
        """That view in the size of the backbone."""
        return see(images, view, size=self.backbone.image_size, warps=warps)

    def features(self, batch: Batch) -> Tensor:
        """The feature of each image (B, F)."""
        return self.pooled(batch["image"])

    def pooled(self, images: Tensor) -> Tensor:
        """Images (B, 3, h, w) in 0..255 to features (B, F)."""
        return self.feature_map(images).mean(dim=(2, 3))


def mlp(*widths: int, hidden_norm: bool = True, output_norm: bool = False) -> nn.Sequential:
    """Linear layers of these widths with ReLU between them, and batch norm behind hidden ones or the last."""
    layers: list[nn.Module] = []
    for k, (before, after) in enumerate(itertools.pairwise(widths), start=2):
        last = k == len(widths)
        norm = output_norm if last else hidden_norm
        layers.append(nn.Linear(before, after, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(after))
        if not last:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def similarity(first_BF: Tensor, second_BF: Tensor) -> Tensor:
    """Cosine between the rows (B,), in float32 whatever the precision of the network; 0 where a row is all 0."""
    return torch.nn.functional.cosine_similarity(first_BF.float(), second_BF.float(), dim=1)
