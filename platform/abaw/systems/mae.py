"""MAE-Face pre-training (section 3.1): rebuild three quarters of a face from the rest, without labels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from abaw.models.mae import MaeConfig, MaskedAutoencoder, hide, random_masks
from abaw.models.vit import IMAGENET_MEAN, IMAGENET_STD, layer_of, to_pixels
from abaw.systems.system import Batch, System


@dataclass(frozen=True, kw_only=True)
class MaePretraining:
    """Masked autoencoding of unlabelled faces."""

    mae: MaeConfig = MaeConfig()

    def build(self) -> "MaeSystem":
        """The system with fresh weights."""
        return MaeSystem(self)


class MaeSystem(System):
    """Network and loss of masked autoencoding; `network.encoder` is what fine-tuning starts from."""

    def __init__(self, config: MaePretraining) -> None:
        super().__init__()
        self.config = config
        self.network = MaskedAutoencoder(config.mae)
        self.layers = len(self.network.encoder.blocks) + 1

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Reconstruction loss of the masked patches."""
        pixels, keep_BK, masked_BM = self._masked(batch, generator)
        return {"reconstruction": self.network.loss(pixels, keep_BK, masked_BM)}

    def compile_blocks(self) -> None:
        """The decoder's blocks too."""
        self.network.compile_blocks()

    @torch.no_grad()
    def pictures(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """uint8 (B, 3, 3, H, W): each image as it is, with its masked patches in the mean colour, and rebuilt."""
        pixels, keep_BK, masked_BM = self._masked(batch, generator)
        hidden = hide(pixels, masked_BM, self.config.mae.encoder.patch_size)
        return _to_bytes(torch.stack([pixels, hidden, self.network.rebuild(pixels, keep_BK, masked_BM)], dim=1))

    def _masked(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised images, and the indices of their visible and of their masked patches."""
        images, encoder = batch["image"], self.config.mae.encoder
        patches = (encoder.image_size // encoder.patch_size) ** 2
        keep_BK, masked_BM = random_masks(images.shape[0], patches, self.config.mae.mask_ratio, generator)
        pixels = to_pixels(images, image_size=encoder.image_size)
        return pixels, keep_BK.to(images.device), masked_BM.to(images.device)

    def layer_of(self, parameter: str) -> int:
        """The encoder's layers, then everything else."""
        name = parameter.removeprefix("network.")
        return layer_of(name.removeprefix("encoder."), self.layers - 1) if name.startswith("encoder.") else self.layers


def _to_bytes(pixels: Tensor) -> Tensor:
    """Undo the normalisation of `to_pixels`: floats (..., 3, H, W) to uint8."""
    mean = torch.tensor(IMAGENET_MEAN, device=pixels.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=pixels.device).view(3, 1, 1)
    return ((pixels * std + mean) * 255).round().clamp(0, 255).byte()
