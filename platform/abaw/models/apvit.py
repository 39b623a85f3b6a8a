"""APViT (Xue et al., "Vision Transformer with Attentive Pooling for Robust Facial Expression Recognition").

The best competitor in ContraWarping + SRP, Table 5. Three stages of IR-50 give a 14x14 map of 112 pixels; attentive
patch pooling keeps the places with the strongest features (160 of 196); eight Transformer blocks follow, the last four
of which keep the nine tenths of the patches that the class token attends to most (attentive token pooling). Neither
pooling has parameters. The widths are those of the public code. Legend: B images, N tokens, D width, K kept tokens.
"""

import torch
from timm.layers import Mlp
from torch import Tensor, nn

from abaw.models.iresnet import IResNet50

WIDTH = 768
HEADS = 8
MLP_RATIO = 3
PATCHES_KEPT = 160 / 196
"""Share of the places of the map that attentive patch pooling keeps."""
TOKENS_KEPT = (1.0, 1.0, 1.0, 1.0, 0.9, 0.9, 0.9, 0.9)
"""Share of the patches that each block keeps."""


def strongest(tokens_BND: Tensor, score_BN: Tensor, keep: int) -> Tensor:
    """The `keep` tokens (B, K, D) of the largest scores, in the order that they had."""
    index_BK = score_BN.topk(keep, dim=1).indices.sort(dim=1).values
    return tokens_BND.gather(1, index_BK.unsqueeze(-1).expand(-1, -1, tokens_BND.shape[-1]))


class ApVit(nn.Module):
    """Normalised images (B, 3, h, w) to the class token as a map of one place, (B, 768, 1, 1): pooled already."""

    def __init__(self, image_size: int = 112) -> None:
        super().__init__()
        self.convolutions = IResNet50(stages=3)
        self.project = nn.Conv2d(self.convolutions.width, WIDTH, 1)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (image_size // 8) ** 2, WIDTH))
        self.blocks = nn.ModuleList(PoolingBlock(kept) for kept in TOKENS_KEPT)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6)
        self.stage_ends = [
            *(f"convolutions.{end}" for end in self.convolutions.stage_ends),
            *(f"blocks.{k}" for k in range(len(self.blocks))),
        ]
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """The class token after the last block."""
        patches_BND = self.project(self.convolutions(pixels_BCHW)).flatten(2).transpose(1, 2)
        strength_BN = patches_BND.abs().sum(dim=2)
        keep = round(PATCHES_KEPT * patches_BND.shape[1])
        patches_BND = strongest(patches_BND + self.pos_embed[:, 1:], strength_BN, keep)
        class_B1D = (self.cls_token + self.pos_embed[:, :1]).expand(patches_BND.shape[0], -1, -1)
        tokens_BND = torch.cat([class_B1D, patches_BND], dim=1)
        for block in self.blocks:
            tokens_BND = block(tokens_BND)
        class_BD: Tensor = self.norm(tokens_BND[:, 0])
        return class_BD[:, :, None, None]


class PoolingBlock(nn.Module):
    """A Transformer block that lets go of the patches which the class token attends to least."""

    def __init__(self, kept: float) -> None:
        super().__init__()
        self.kept = kept
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.mlp = Mlp(WIDTH, MLP_RATIO * WIDTH)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Attention, pooling, then the MLP on what is left; the class token always stays."""
        query, key, value = self.qkv(self.norm1(tokens_BND)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(query, key, value)
        tokens_BND = tokens_BND + self.out(attended.transpose(1, 2).flatten(2))
        if self.kept < 1:
            patches_BND = tokens_BND[:, 1:]
            # The scores of the class token before the softmax, summed over the heads.
            score_BN = (query[:, :, :1] @ key[:, :, 1:].transpose(2, 3)).sum(dim=(1, 2))
            keep = int(self.kept * patches_BND.shape[1])
            tokens_BND = torch.cat([tokens_BND[:, :1], strongest(patches_BND, score_BN, keep)], dim=1)
        result: Tensor = tokens_BND + self.mlp(self.norm2(tokens_BND))
        return result
