"""Multi-task fine-tuning of a ViT: expression, action units, valence and arousal from one pooled feature.

The common base of MAE-Face section 3.2 (global average pooling, one linear layer, weighted CE and BCE, CCC loss) and
EMMA section 3.2 (the three losses summed, missing labels masked).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from abaw.models.vit import VitConfig, encode_visible, layer_of, to_pixels
from abaw.systems.losses import au_loss, ccc_loss, expression_loss
from abaw.systems.system import Batch, System
from abaw.tracks import AU, EXPR, VA, Task

SPATIAL_WIDTH = 16
"""Values that spatial pooling keeps of each patch."""


@dataclass(frozen=True, kw_only=True)
class MultiTask:
    """One encoder, three linear heads."""

    encoder: VitConfig = VitConfig()
    pool: Literal["mean", "spatial"] = "mean"
    """mean: average over the patches (MAE-Face). spatial: each patch to 16 values, kept in their places, as SRP keeps
    the places that pooling averages away (ContraWarping + SRP, section 3.3)."""
    expression_weight: tuple[float, ...] = ()
    """Weight of each class in the cross entropy, mean 1; empty for equal weights."""
    au_weight: tuple[float, ...] = ()
    """Weight of the active term of each action unit in the binary cross entropy; empty for equal weights."""

    def build(self) -> "MultiTaskSystem":
        """The system with fresh weights."""
        return MultiTaskSystem(self)


class MultiTaskSystem(System):
    """Networks, losses and predictions of multi-task fine-tuning."""

    expression_weight: Tensor
    au_weight: Tensor

    def __init__(self, config: MultiTask) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build()
        self.norm = nn.LayerNorm(self.encoder.embed_dim)
        width = self.encoder.embed_dim
        if config.pool == "spatial":
            self.spatial = nn.Sequential(nn.Linear(width, SPATIAL_WIDTH), nn.ReLU(), nn.Flatten())
            width = SPATIAL_WIDTH * self.encoder.patch_embed.num_patches
        self.heads = nn.ModuleDict({task.name: _head(width, task) for task in (VA, EXPR, AU)})
        self.register_buffer("expression_weight", _weights(config.expression_weight, EXPR.columns), persistent=False)
        self.register_buffer("au_weight", _weights(config.au_weight, AU.columns), persistent=False)
        self.layers = len(self.encoder.blocks) + 1

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs of the heads (B, C) by task name, before tanh, softmax and sigmoid."""
        pixels = to_pixels(images, image_size=self.config.encoder.image_size)
        patches_BND = encode_visible(self.encoder, pixels)[:, 1:]
        if self.config.pool == "spatial":
            features_BF = self.spatial(self.norm(patches_BND))
        else:
            features_BF = self.norm(patches_BND.mean(dim=1))
        return {name: head(features_BF) for name, head in self.heads.items()}

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The three losses, each over its labelled rows."""
        logits = self.logits(batch["image"])
        return {
            "va": ccc_loss(logits["va"].tanh(), batch["va"], mask_B=batch["va_mask"]),
            "expr": expression_loss(
                logits["expr"], batch["expression"], mask_B=batch["expression_mask"], weight_C=self.expression_weight
            ),
            "au": au_loss(logits["au"], batch["au"], mask_BA=batch["au_mask"], weight_A=self.au_weight),
        }

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Valence and arousal in (-1, 1), class probabilities, and the probability of each action unit."""
        logits = {name: value.float() for name, value in self.logits(images).items()}
        return {"va": logits["va"].tanh(), "expr": logits["expr"].softmax(dim=1), "au": logits["au"].sigmoid()}

    def layer_of(self, parameter: str) -> int:
        """The encoder's layers, then the heads."""
        if parameter.startswith("encoder."):
            return layer_of(parameter.removeprefix("encoder."), self.layers - 1)
        return self.layers


def _head(width: int, task: Task) -> nn.Linear:
    head = nn.Linear(width, len(task.columns))
    nn.init.trunc_normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return head


def _weights(weights: tuple[float, ...], columns: tuple[str, ...]) -> Tensor:
    if weights and len(weights) != len(columns):
        raise ValueError(f"{len(weights)} weights given for the {len(columns)} columns {', '.join(columns)}")
    return torch.tensor(weights or (1.0,) * len(columns))
