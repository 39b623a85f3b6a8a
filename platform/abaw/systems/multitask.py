"""Fine-tuning of a ViT for the tasks of a track: expression, action units, valence and arousal from one feature.

The common base of MAE-Face section 3.2 (global average pooling, one linear layer, weighted CE and BCE, CCC loss) and
EMMA section 3.2 (the three losses summed, missing labels masked).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from abaw.models.vit import VitConfig, encode_visible, layer_of, to_pixels
from abaw.systems.heads import Heads, LossWeights, TaskSystem, task_losses
from abaw.systems.system import Batch
from abaw.tracks import get_track

SPATIAL_WIDTH = 16
"""Values that spatial pooling keeps of each patch."""


@dataclass(frozen=True, kw_only=True)
class MultiTask:
    """One encoder, a linear head a task."""

    track: str = "mtl"
    """Name in `abaw.tracks`: which tasks are learnt."""
    encoder: VitConfig = VitConfig()
    pool: Literal["mean", "token", "spatial"] = "mean"
    """mean: average over the patches (MAE-Face). token: the class token. spatial: each patch to 16 values, kept in
    their places, as SRP keeps the places that pooling averages away (ContraWarping + SRP, section 3.2.3)."""
    expression_weight: tuple[float, ...] = ()
    """Weight of each class in the cross entropy, mean 1; empty for equal weights."""
    au_weight: tuple[float, ...] = ()
    """Weight of each action unit in the binary cross entropy (MAE-Face eq. 2); empty for equal weights."""
    au_active_weight: tuple[float, ...] = ()
    """Weight of the part of active frames in each unit's cross entropy; empty for equal weights."""

    def build(self) -> "MultiTaskSystem":
        """The system with fresh weights."""
        return MultiTaskSystem(self)


class MultiTaskSystem(TaskSystem):
    """Networks, losses and predictions of multi-task fine-tuning."""

    def __init__(self, config: MultiTask) -> None:
        super().__init__()
        self.config = config
        tasks = get_track(config.track).tasks
        self.encoder = config.encoder.build()
        self.norm = nn.LayerNorm(self.encoder.embed_dim)
        width = self.encoder.embed_dim
        if config.pool == "spatial":
            self.spatial = nn.Sequential(nn.Linear(width, SPATIAL_WIDTH), nn.ReLU(), nn.Flatten())
            width = SPATIAL_WIDTH * self.encoder.patch_embed.num_patches
        self.heads = Heads(width, tasks)
        self.loss_weights = LossWeights(
            tasks,
            expression=config.expression_weight,
            au=config.au_weight,
            au_active=config.au_active_weight,
        )
        self.layers = len(self.encoder.blocks) + 1

    def features(self, batch: Batch) -> Tensor:
        """The pooled feature of each image (B, F)."""
        pixels = to_pixels(batch["image"], image_size=self.config.encoder.image_size)
        tokens_BND = encode_visible(self.encoder, pixels)
        if self.config.pool == "token":
            features_BF: Tensor = self.norm(tokens_BND[:, 0])
        elif self.config.pool == "spatial":
            features_BF = self.spatial(self.norm(tokens_BND[:, 1:]))
        else:
            features_BF = self.norm(tokens_BND[:, 1:].mean(dim=1))
        return features_BF

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of the tasks, each over its labelled rows."""
        return task_losses(self.logits(batch["image"]), batch, **self.loss_weights.named())

    def layer_of(self, parameter: str) -> int:
        """The encoder's layers, then the heads."""
        if parameter.startswith("encoder."):
            return layer_of(parameter.removeprefix("encoder."), self.layers - 1)
        return self.layers
