"""Dual-view fusion (Nguyen et al., ABAW6): one encoder for the face, one for its eyes and mouth, fused by attention.

Stage one fine-tunes an encoder for each view (`SingleView`, Table 1), stage two trains the fusion of their features
(`DualView`, Table 2). Views are cut out of the image here, so both stages and inference see the same parts.

Shape legend: B images, N patches, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from abaw.data.views import Region, face_regions
from abaw.models.fusion import AttentionFusion, Fusion
from abaw.models.vit import VitConfig, encode_visible, layer_of, to_pixels
from abaw.systems.heads import Heads, TaskSystem
from abaw.systems.multitask import MultiTask, MultiTaskSystem
from abaw.systems.system import Batch
from abaw.tracks import get_track


@dataclass(frozen=True, kw_only=True)
class SingleView(MultiTask):
    """Stage one: fine-tuning on the whole face or on some of its parts."""

    track: str = "expr"
    regions: tuple[Region, ...] = ()
    """Parts that the encoder sees, such as eyes and mouth; empty for the whole face."""
    frozen: bool = False
    """Train the head alone: the row without MAE fine-tuning of Table 3."""

    def build(self) -> "SingleViewSystem":
        """The system with fresh weights."""
        return SingleViewSystem(self)


class SingleViewSystem(MultiTaskSystem):
    """One encoder and its heads on one view."""

    def __init__(self, config: SingleView) -> None:
        super().__init__(config)
        self.regions = config.regions
        self.frozen = config.frozen
        self.encoder.requires_grad_(not config.frozen)

    def train(self, mode: bool = True) -> "SingleViewSystem":
        """Training or evaluation; a frozen encoder stays in evaluation, so its batch norm stays too."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def features(self, batch: Batch) -> Tensor:
        """The pooled feature (B, F) of what is kept of each image."""
        return super().features({"image": face_regions(batch["image"], self.regions)})


@dataclass(frozen=True, kw_only=True)
class DualView:
    """Stage two: fusion of the features of two fine-tuned encoders, which are frozen."""

    track: str = "expr"
    """Name in `abaw.tracks`: which tasks are learnt."""
    encoder: VitConfig = VitConfig()
    """Of each view; one that starts from the weights of stage one."""
    parts: tuple[Region, ...] = ("eyes", "mouth")
    """What the second encoder sees; the first sees the whole face."""
    fusion: Fusion = "concat"
    """How the keys are made of both views, Table 2; concat was the best."""

    def build(self) -> "DualViewSystem":
        """The system with fresh weights."""
        return DualViewSystem(self)


class DualViewSystem(TaskSystem):
    """Two frozen encoders, attention between their patches, and an MLP on the average of the patches.

    The paper's loss is the cross entropy (eq. 3, mean over rows).
    """

    def __init__(self, config: DualView) -> None:
        super().__init__()
        self.config = config
        self.face = config.encoder.build().requires_grad_(False)
        self.parts = config.encoder.build().requires_grad_(False)
        width = self.face.embed_dim
        self.fusion = AttentionFusion(width, heads=self.face.blocks[0].attn.num_heads, fusion=config.fusion)
        self.hidden = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.heads = Heads(width, get_track(config.track).tasks)
        self.layers = len(self.face.blocks) + 1

    def train(self, mode: bool = True) -> "DualViewSystem":
        """Training or evaluation; the encoders stay in evaluation, so their batch norm stays too."""
        super().train(mode)
        self.face.eval()
        self.parts.eval()
        return self

    def features(self, batch: Batch) -> Tensor:
        """The fused feature of each image (B, F)."""
        images, size = batch["image"], self.config.encoder.image_size
        with torch.no_grad():
            face_BND = encode_visible(self.face, to_pixels(images, image_size=size))[:, 1:]
            cut = face_regions(images, self.config.parts)
            parts_BND = encode_visible(self.parts, to_pixels(cut, image_size=size))[:, 1:]
        features_BF: Tensor = self.hidden(self.fusion(face_BND, parts_BND).mean(dim=1))
        return features_BF

    def trunks(self) -> dict[str, list[nn.Module]]:
        """The two encoders, each to start from its own fine-tuned weights."""
        return {"face": [self.face], "parts": [self.parts]}

    def layer_of(self, parameter: str) -> int:
        """The encoders' layers side by side, then the fusion and the heads."""
        network, rest = parameter.split(".", 1)
        return layer_of(rest, self.layers - 1) if network in ("face", "parts") else self.layers
