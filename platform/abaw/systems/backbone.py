"""What every system on one backbone shares: the encoder, its frozen stages and its layers.

ContraWarping + SRP, section 3.2.2. Fine-tuning starts from what pre-training made since both call it `encoder`.
"""

from typing import Self

from torch import Tensor

from abaw.models.backbones import BackboneConfig, feature_map, freeze, map_shape, parameter_stage, stages
from abaw.models.vit import to_pixels
from abaw.systems.system import System


class BackboneSystem(System):
    """A system whose feature maps come from `encoder`."""

    def __init__(self, backbone: BackboneConfig) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = backbone.build()
        self.map_shape = map_shape(self.encoder, backbone.image_size)
        """Channels, rows and columns of the feature map."""
        self._stages = stages(self.encoder)
        self.layers = self._stages[""][1] + 1

    def feature_map(self, images: Tensor) -> Tensor:
        """Images (B, 3, h, w) in 0..255 to feature maps (B, C, H, W)."""
        return feature_map(self.encoder, to_pixels(images, image_size=self.backbone.image_size))

    def train(self, mode: bool = True) -> Self:
        """As every module, but frozen stages stay as in evaluation."""
        super().train(mode)
        for encoder in self.trunks()["encoder"]:
            freeze(encoder, self.backbone.frozen_stages)
        return self

    def layer_of(self, parameter: str) -> int:
        """A layer for each stage of the encoder, then everything else."""
        if parameter.startswith("encoder."):
            return parameter_stage(self._stages, parameter.removeprefix("encoder."))
        return self.layers
