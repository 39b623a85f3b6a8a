"""Vision Transformer encoders (Dosovitskiy et al.) on timm, in the sizes of MAE-Face and a micro size for two cores.

Shape legend: B images, N patches, D width, H and W pixels.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Literal

import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import Tensor, nn

Size = Literal["micro", "tiny", "base", "large"]

_SHAPES = {  # width, depth, heads
    "micro": (96, 2, 3),
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
    stem: Literal["patch", "conv"] = "patch"
    """patch: one linear layer a patch, as published. conv: strided 3x3 convolutions to the same grid (Xiao et al.,
    "Early convolutions help transformers see better"), without which a ViT learns nothing from few frames."""
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
            embed_layer=PatchEmbed if self.stem == "patch" else ConvStem,
        )


def unfuse_attention(network: nn.Module) -> None:
    """Let attention be two matrix products and a softmax.

    For half precision on a CPU, where the gradient of torch's fused attention is slow: docs/models-speed-cpu.md has
    steps of libraries that use it.
    """
    for module in network.modules():
        if isinstance(module, Attention):
            module.fused_attn = False


class ConvStem(nn.Module):
    """Image (B, 3, H, W) to patches (B, N, D): 3x3 convolutions of stride 2 with batch norm, then a linear layer.

    Takes the arguments that timm gives to its patch embedding.
    """

    def __init__(self, *, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **_: Any) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        if 2**halvings != patch_size:
            raise ValueError(f"a conv stem halves the image: patch_size {patch_size} is not a power of two")
        self.num_patches = (img_size // patch_size) ** 2
        widths = [in_chans, *(max(16, embed_dim >> k) for k in reversed(range(halvings)))]
        steps = [_halve(before, after) for before, after in itertools.pairwise(widths)]
        self.proj = nn.Sequential(*steps, nn.Conv2d(widths[-1], embed_dim, kernel_size=1))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Patches, rows first."""
        patches_BND: Tensor = self.proj(images_BCHW).flatten(2).transpose(1, 2)
        return patches_BND


def _halve(before: int, after: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def encode_visible(encoder: VisionTransformer, images_BCHW: Tensor, keep_BK: Tensor | None = None) -> Tensor:
    """Tokens (B, 1 + K, D) of the patches named by `keep_BK` (indices into the N patches), or of all patches.

    Patches are dropped before the first block, with a linear stem before it, so the cost follows K.
    """
    if keep_BK is None:
        patches_BND = encoder.patch_embed(images_BCHW) + encoder.pos_embed[:, 1:]
    else:
        patches_BND = _embed(encoder.patch_embed, images_BCHW, keep_BK)
        patches_BND = patches_BND + nn.functional.embedding(keep_BK, encoder.pos_embed[0, 1:])
    class_B1D = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(patches_BND.shape[0], -1, -1)
    tokens = encoder.norm_pre(torch.cat([class_B1D, patches_BND], dim=1))
    result: Tensor = encoder.norm(encoder.blocks(tokens))
    return result


def _embed(patch_embed: nn.Module, images_BCHW: Tensor, keep_BK: Tensor) -> Tensor:
    """Embedding (B, K, D) of some patches; timm's own stem is one linear layer a patch, so the others are left out."""
    if not isinstance(patch_embed, PatchEmbed):
        patches_BND: Tensor = patch_embed(images_BCHW)
        return patches_BND.gather(1, keep_BK.unsqueeze(-1).expand(-1, -1, patches_BND.shape[-1]))
    weight_DP = patch_embed.proj.weight.permute(0, 2, 3, 1).flatten(1)
    pixels_BKP = take_patches(images_BCHW, keep_BK, patch_size=patch_embed.patch_size[0])
    return nn.functional.linear(pixels_BKP, weight_DP, patch_embed.proj.bias)


def take_patches(images_BCHW: Tensor, index_BK: Tensor, *, patch_size: int) -> Tensor:
    """Pixels (B, K, P) of the patches named by `index_BK`, rows first; inside a patch: row, column, channel."""
    batch, channels, height, width = images_BCHW.shape
    rows, columns = height // patch_size, width // patch_size
    grid = images_BCHW.reshape(batch, channels, rows, patch_size, columns, patch_size).permute(0, 2, 4, 3, 5, 1)
    image_B1 = torch.arange(batch, device=index_BK.device)[:, None]
    return grid[image_B1, index_BK // columns, index_BK % columns].flatten(2)


def to_pixels(images: Tensor, *, image_size: int) -> Tensor:
    """uint8 images (B, 3, h, w) to normalised float32 (B, 3, image_size, image_size), about N(0, 1).

    Done on the model's device, so that bytes and not floats travel there.
    """
    if images.shape[-2:] != (image_size, image_size):
        # The CPU resizes bytes ten times as fast as floats; accelerators resize floats only.
        source = images if images.device.type == "cpu" else images.float()
        images = torch.nn.functional.interpolate(
            source, size=(image_size, image_size), mode="bilinear", antialias=True, align_corners=False
        )
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1)
    return (images.float() - 255 * mean).div_(255 * std)


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def layer_of(parameter: str, depth: int) -> int:
    """Layer of an encoder's parameter: 0 for the embeddings, 1..depth for the blocks, depth + 1 after them."""
    if parameter.startswith(("patch_embed", "pos_embed", "cls_token", "norm_pre")):
        return 0
    if parameter.startswith("blocks."):
        return int(parameter.split(".")[1]) + 1
    return depth + 1
