"""Masked autoencoder (He et al., sections 3-4; MAE-Face section 3.1): encode the visible patches, rebuild the others.

Shape legend: B images, N patches, K visible patches, M masked patches, D encoder width, E decoder width,
P pixel values of a patch (3 * patch_size ** 2).
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, scaled_dot_product_attention

from abaw.models.vit import VitConfig, encode_visible, take_patches


@dataclass(frozen=True, kw_only=True)
class MaeConfig:
    """Masked autoencoder: encoder, light decoder and objective."""

    encoder: VitConfig = VitConfig()
    mask_ratio: float = 0.75
    """Share of patches that the encoder does not see, in (0, 1)."""
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    loss: Literal["l1", "l2"] = "l1"
    """MAE-Face uses l1 (eq. 1), the original MAE l2."""


def patchify(images_BCHW: Tensor, patch_size: int) -> Tensor:
    """Images (B, 3, H, W) to patches (B, N, P), rows first; inside a patch: row, column, channel."""
    batch, channels, height, width = images_BCHW.shape
    rows, columns = height // patch_size, width // patch_size
    grid = images_BCHW.reshape(batch, channels, rows, patch_size, columns, patch_size)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, patch_size**2 * channels)


def unpatchify(patches_BNP: Tensor, patch_size: int) -> Tensor:
    """Patches (B, N, P) of square images back to the images (B, 3, H, W): undoes `patchify`."""
    rows = math.isqrt(patches_BNP.shape[1])
    grid = patches_BNP.reshape(len(patches_BNP), rows, rows, patch_size, patch_size, -1)
    return grid.permute(0, 5, 1, 3, 2, 4).reshape(len(patches_BNP), -1, rows * patch_size, rows * patch_size)


def normalise_patches(patches: Tensor) -> Tensor:
    """Each patch to zero mean and unit variance over its P values: the target that MAE found to work best."""
    mean = patches.mean(dim=-1, keepdim=True)
    variance = patches.var(dim=-1, keepdim=True)
    return (patches - mean) / (variance + 1e-6).sqrt()


def random_masks(batch: int, patches: int, mask_ratio: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Indices of the visible (B, K) and of the masked patches (B, M), drawn uniformly for each image."""
    visible = round(patches * (1 - mask_ratio))
    if not 0 < visible < patches:
        raise ValueError(
            f"mask_ratio {mask_ratio} leaves {visible} of {patches} patches visible; some of each are needed"
        )
    order_BN = torch.rand(batch, patches, generator=generator).argsort(dim=1)
    return order_BN[:, :visible], order_BN[:, visible:]


def sine_cosine_positions(rows: int, width: int) -> Tensor:
    """Fixed position embedding (1, rows * rows, width): half of the width for the row, half for the column."""
    assert width % 4 == 0
    rates = torch.exp(torch.arange(width // 4) * (-math.log(10_000.0) / (width // 4)))
    angles = torch.arange(rows)[:, None] * rates
    line = torch.cat([angles.sin(), angles.cos()], dim=1)
    row = line[:, None].expand(rows, rows, -1)
    column = line[None].expand(rows, rows, -1)
    return torch.cat([row, column], dim=-1).reshape(1, rows * rows, width)


def hide(images_BCHW: Tensor, masked_BM: Tensor, patch_size: int) -> Tensor:
    """The images with masked patches at 0, the mean colour: overlapping convolutions would see into them."""
    batch, _, height, width = images_BCHW.shape
    rows, columns = height // patch_size, width // patch_size
    visible_BN = images_BCHW.new_ones(batch, rows * columns).scatter(1, masked_BM, 0.0)
    visible = visible_BN.reshape(batch, 1, rows, 1, columns, 1).expand(-1, -1, -1, patch_size, -1, patch_size)
    return images_BCHW * visible.reshape(batch, 1, height, width)


class MaskedAutoencoder(nn.Module):
    """Encoder over visible patches, decoder over all; `forward` gives predictions of the masked patches only."""

    decoder_positions: Tensor

    def __init__(self, config: MaeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = config.encoder.build()
        width = config.decoder_width
        self.to_decoder = nn.Linear(self.encoder.embed_dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        rows = config.encoder.image_size // config.encoder.patch_size
        self.register_buffer("decoder_positions", sine_cosine_positions(rows, width), persistent=False)
        self.decoder = nn.Sequential(
            *(Block(width, config.decoder_heads, qkv_bias=True) for _ in range(config.decoder_depth))
        )
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.to_pixels = nn.Linear(width, 3 * config.encoder.patch_size**2)
        nn.init.normal_(self.mask_token, std=0.02)
        self.encoder.blocks.apply(_xavier)
        self.decoder.apply(_xavier)

    def compile_blocks(self) -> None:
        """Let torch.compile fuse what is between the matrix products; blocks share code, and weights keep their names.

        The last block of the decoder runs as it is: it does less than a block.
        """
        for block in (*self.encoder.blocks, *self.decoder[:-1]):
            block.compile()

    def forward(self, pixels_BCHW: Tensor, keep_BK: Tensor, masked_BM: Tensor) -> Tensor:
        """Predicted normalised pixels (B, M, P) of the patches in `masked_BM`, given those in `keep_BK`."""
        if self.config.encoder.stem == "conv":
            pixels_BCHW = hide(pixels_BCHW, masked_BM, self.config.encoder.patch_size)
        tokens = self.to_decoder(encode_visible(self.encoder, pixels_BCHW, keep_BK))
        visible = tokens[:, 1:] + embedding(keep_BK, self.decoder_positions[0])
        hidden = self.mask_token + embedding(masked_BM, self.decoder_positions[0])
        # Attention has no order of its own: visible patches first, masked ones last, and nothing is scattered back.
        tokens = self.decoder[:-1](torch.cat([tokens[:, :1], visible, hidden], dim=1))
        result: Tensor = self.to_pixels(self.decoder_norm(last_tokens(self.decoder[-1], tokens, masked_BM.shape[1])))
        return result

    def loss(self, pixels_BCHW: Tensor, keep_BK: Tensor, masked_BM: Tensor) -> Tensor:
        """Mean distance to the normalised pixels of the masked patches: MAE-Face eq. 1 for l1."""
        patch_size = self.config.encoder.patch_size
        target_BMP = normalise_patches(take_patches(pixels_BCHW, masked_BM, patch_size=patch_size))
        error = self(pixels_BCHW, keep_BK, masked_BM) - target_BMP
        distance: Tensor = error.abs() if self.config.loss == "l1" else error.square()
        return distance.mean()

    @torch.no_grad()
    def rebuild(self, pixels_BCHW: Tensor, keep_BK: Tensor, masked_BM: Tensor) -> Tensor:
        """The images with their masked patches as predicted; the mean and spread of each are those of the true patch.

        The network predicts normalised patches, so it does not say how bright one is.
        """
        patch_size = self.config.encoder.patch_size
        patches_BNP = patchify(pixels_BCHW, patch_size)
        true_BMP = take_patches(pixels_BCHW, masked_BM, patch_size=patch_size)
        predicted_BMP = self(pixels_BCHW, keep_BK, masked_BM).to(true_BMP.dtype)
        spread_BM1 = (true_BMP.var(dim=-1, keepdim=True) + 1e-6).sqrt()
        predicted_BMP = predicted_BMP * spread_BM1 + true_BMP.mean(dim=-1, keepdim=True)
        index_BMP = masked_BM.unsqueeze(-1).expand(-1, -1, patches_BNP.shape[-1])
        return unpatchify(patches_BNP.scatter(1, index_BMP, predicted_BMP), patch_size)


def _xavier(module: nn.Module) -> None:
    """Transformer blocks start from Xavier's uniform weights (MAE-Face section 4.1)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


def last_tokens(block: Block, tokens_BLE: Tensor, count: int) -> Tensor:
    """What `block` makes of the last `count` tokens: they look at all tokens, and nothing is computed for the others.

    For a block of timm as it is by default: no norm of queries and keys, no layer scale, no dropout, no drop path.
    """
    attention, normal_BLE = block.attn, block.norm1(tokens_BLE)
    parts = [tokens_BLE.shape[-1], 2 * tokens_BLE.shape[-1]]
    query_weight, key_value_weight = attention.qkv.weight.split(parts)
    query_bias, key_value_bias = attention.qkv.bias.split(parts)
    batch, tokens, _ = tokens_BLE.shape
    heads = (attention.num_heads, attention.head_dim)
    query = linear(normal_BLE[:, -count:], query_weight, query_bias).view(batch, count, *heads).transpose(1, 2)
    key_value = linear(normal_BLE, key_value_weight, key_value_bias).view(batch, tokens, 2, *heads)
    key, value = key_value.permute(2, 0, 3, 1, 4)
    if attention.fused_attn:
        mixed = scaled_dot_product_attention(query, key, value)
    else:  # see `unfuse_attention`
        mixed = (attention.scale * query @ key.transpose(2, 3)).softmax(dim=-1) @ value
    mixed = mixed.transpose(1, 2).flatten(2)
    asked = tokens_BLE[:, -count:] + attention.proj(mixed)
    result: Tensor = asked + block.mlp(block.norm2(asked))
    return result
