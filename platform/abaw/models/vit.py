"""Vision Transformer encoders (Dosovitskiy et al.) on timm, in the sizes of MAE-Face and a micro size for two cores.

Shape legend: B images, N patches, D width, H and W pixels.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

Size = Literal["micro", "tiny", "base", "large"]

_SHAPES = {  # width, depth, heads
    "micro": (128, 4, 4),
    "tiny": (192, 12, 3),
    "base": (768, 12, 12),
    "large": (1024, 24, 16),
}


@dataclass(frozen=True, kw_only=True)
class VitConfig:
    """An encoder; a checkpoint fits another one when all fields but `drop_path` agree."""

    size: Size = "base"
    image_size: int = 224
    """Side of the square input, in pixels; a multiple of `patch_size`."""
    patch_size: int = 16
    """Side of a patch, in pixels."""
    drop_path: float = 0.0
    """Rate of stochastic depth at the last block, rising linearly from 0 at the first."""

    def build(self) -> VisionTransformer:
        """The encoder: image (B, 3, H, W) to tokens (B, 1 + N, D), the class token first."""
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        width, depth, heads = _SHAPES[self.size]
        return VisionTransformer(
            img_size=self.image_size,
            patch_size=self.patch_size,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            num_classes=0,
            global_pool="",
            drop_path_rate=self.drop_path,
        )


def encode_visible(encoder: VisionTransformer, images_BCHW: Tensor, keep_BK: Tensor | None = None) -> Tensor:
    """Tokens (B, 1 + K, D) of the patches named by `keep_BK` (indices into the N patches), or of all patches.

    Patches are dropped after the position embedding and before the first block, so the cost follows K.
    """
    patches_BND = encoder.patch_embed(images_BCHW) + encoder.pos_embed[:, 1:]
    if keep_BK is not None:
        index_BKD = keep_BK.unsqueeze(-1).expand(-1, -1, patches_BND.shape[-1])
        patches_BND = patches_BND.gather(1, index_BKD)
    class_B1D = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(patches_BND.shape[0], -1, -1)
    tokens = encoder.norm_pre(torch.cat([class_B1D, patches_BND], dim=1))
    result: Tensor = encoder.norm(encoder.blocks(tokens))
    return result


def to_pixels(images: Tensor, *, image_size: int) -> Tensor:
    """uint8 images (B, 3, h, w) to normalised float32 (B, 3, image_size, image_size), about N(0, 1).

    Done on the model's device, so that bytes and not floats travel there.
    """
    pixels = images.float()
    if images.shape[-1] != image_size or images.shape[-2] != image_size:
        pixels = torch.nn.functional.interpolate(
            pixels, size=(image_size, image_size), mode="bilinear", antialias=True, align_corners=False
        )
    mean = pixels.new_tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = pixels.new_tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return (pixels / 255.0 - mean) / std


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def layer_of(parameter: str, depth: int) -> int:
    """Layer of an encoder's parameter: 0 for the embeddings, 1..depth for the blocks, depth + 1 after them."""
    if parameter.startswith(("patch_embed", "pos_embed", "cls_token", "norm_pre")):
        return 0
    if parameter.startswith("blocks."):
        return int(parameter.split(".")[1]) + 1
    return depth + 1
