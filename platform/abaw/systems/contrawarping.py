"""ContraWarping (Xue, Sun, Yang 2023, as told in ContraWarping + SRP, section 3.1 and Figure 3).

Global changes keep an expression, moved muscles change it: two global views of a face are pulled together, and a view
whose muscles were moved by local warps is pushed away. The pull is BYOL's. The paper has no formula for the push, and
no training code is public: here it is a margin on BYOL's distance, after the contrastive loss that the paper cites
(Hadsell et al. 2006). The moved view is the first view in everything but its muscles, so that nothing else can tell it
from a face that is pulled. Legend: B faces, F features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from abaw.models.warping import Warping, draw_warps
from abaw.systems.byol import Byol, ByolSystem, distance
from abaw.systems.system import Batch


@dataclass(frozen=True, kw_only=True)
class ContraWarping(Byol):
    """BYOL with locally warped faces as negatives."""

    warping: Warping = Warping()
    margin: float = 0.5
    """Distance, in (0, 4], from which a moved view is pushed no further."""
    push: float = 1.0
    """Weight of the push against the pull."""

    def build(self) -> "ContraWarpingSystem":
        """The system with fresh weights."""
        return ContraWarpingSystem(self)


class ContraWarpingSystem(ByolSystem):
    """Networks of BYOL, loss of ContraWarping."""

    config: ContraWarping

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Pull between two global views, in [0, 8], and push of the moved view, in [0, push * margin]."""
        images = batch["image"]
        view, other = self.draw_view(images, generator), self.draw_view(images, generator)
        warps = draw_warps(self.config.warping, images.shape[0], generator)
        first, second, moved = self.see(images, view), self.see(images, other), self.see(images, view, warps)
        # In one pass: batch norm over moved faces alone would take away what they have in common.
        predicted1, predicted2, predicted_moved = self.predict_views(torch.cat([first, second, moved])).chunk(3)
        target1, target2 = self.project_target(torch.cat([first, second])).chunk(2)
        return {
            "pull": distance(predicted1, target2).mean() + distance(predicted2, target1).mean(),
            "push": self.config.push * push_loss(predicted_moved, target2, margin=self.config.margin),
        }


def push_loss(moved_BF: Tensor, target_BF: Tensor, *, margin: float) -> Tensor:
    """Mean of what each distance lacks to the margin."""
    return (margin - distance(moved_BF, target_BF)).clamp(min=0).mean()
