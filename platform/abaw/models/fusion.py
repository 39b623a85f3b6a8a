"""Fusion of two views of a face by attention with a skip (dual-view fusion, section 3.3).

The paper names the parts and counts the dense layers of the key generator (section 4.4), but gives no widths and no
code. Read here as follows. Features are patch tokens: attention and convolution need places. Queries come from the
first view, the stronger one, whose features the skip adds again (eq. 2). Keys come from the key generator, which alone
sees both views, and values from the keys. Up is to twice the width, down to the width.

Shape legend: B images, N patches, D width, S side of the grid of patches, H heads.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Fusion = Literal["mean", "concat", "updown-mean", "updown-concat"]


class KeyGenerator(nn.Module):
    """Features of two views (B, N, D each) to keys (B, N, D), in one of the four ways of Table 2."""

    def __init__(self, width: int, fusion: Fusion) -> None:
        super().__init__()
        self.fusion = fusion
        updown = [nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)]
        layers: dict[Fusion, list[nn.Module]] = {
            "mean": [nn.Linear(width, width)],
            "concat": [nn.Linear(2 * width, width)],
            "updown-mean": [*updown],
            "updown-concat": [nn.Linear(2 * width, width), *updown],
        }
        self.dense = nn.Sequential(*layers[fusion])

    def forward(self, main_BND: Tensor, other_BND: Tensor) -> Tensor:
        """The mean of the views, or both side by side, through 1 (mean, concat), 2 or 3 (updown) dense layers."""
        if self.fusion in ("concat", "updown-concat"):
            both = torch.cat([main_BND, other_BND], dim=-1)
        else:
            both = (main_BND + other_BND) / 2
        keys_BND: Tensor = self.dense(both)
        return keys_BND


class AttentionFusion(nn.Module):
    """Two views (B, N, D each) to the first view refined by both (B, N, D): self- and local attention, and a skip."""

    def __init__(self, width: int, *, heads: int, fusion: Fusion) -> None:
        super().__init__()
        self.heads = heads
        self.keys = KeyGenerator(width, fusion)
        self.queries = nn.Linear(width, width)
        self.values = nn.Linear(width, width)
        self.local = nn.Conv2d(width, width, kernel_size=3, padding=1, groups=width)
        self.project = nn.Linear(width, width)

    def forward(self, main_BND: Tensor, other_BND: Tensor) -> Tensor:
        """Eq. 2: attention over all patches (eq. 1), plus attention to the neighbours, plus the first view itself."""
        keys_BND = self.keys(main_BND, other_BND)
        values_BND = self.values(keys_BND)
        queries, keys, values = (self._split(part) for part in (self.queries(main_BND), keys_BND, values_BND))
        attended_BND = F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        refined_BND: Tensor = self.project(attended_BND + self._local_weights(keys_BND) * values_BND)
        return main_BND + refined_BND

    def _local_weights(self, keys_BND: Tensor) -> Tensor:
        """Weight in (0, 1) of each value, from the 3 x 3 keys around it."""
        batch, patches, width = keys_BND.shape
        side = math.isqrt(patches)
        weights_BDSS = self.local(keys_BND.transpose(1, 2).reshape(batch, width, side, side)).sigmoid()
        weights_BND: Tensor = weights_BDSS.flatten(2).transpose(1, 2)
        return weights_BND

    def _split(self, part_BND: Tensor) -> Tensor:
        """To (B, H, N, D / H)."""
        batch, patches, width = part_BND.shape
        return part_BND.reshape(batch, patches, self.heads, width // self.heads).transpose(1, 2)
