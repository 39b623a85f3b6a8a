"""Networks over the frames of a video: a Transformer and a TCN that read features of frames, true times and a mask.

What the recent winners of ABAW put behind a frozen network of single frames. Faces are not found in every frame, so the
frames of a window are no even grid: both networks are told the frames' own numbers. Both look forwards and backwards.
Transformer: Vaswani et al. 2017, pre-norm, sinusoids of the frames since the window's first one. TCN: Bai, Kolter,
Koltun 2018, dilated convolutions with residuals, without their causal shift; a convolution counts places, so the
distances to the two neighbouring frames are inputs of their own.

Shape legend: B windows, T frames of a window, F features of a frame, D width.
"""

import math

import torch
from torch import Tensor, nn

KERNEL = 3
"""Frames that one convolution of the TCN sees, `dilation` apart."""


class TemporalTransformer(nn.Module):
    """Attention among the frames of a window."""

    def __init__(self, features: int, *, width: int, depth: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.LayerNorm(features), nn.Linear(features, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, feature_BTF: Tensor, frame_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Features and numbers of frames, where the mask is True, to (B, T, D); 0 where it is False."""
        time_BT = frames_since_first(frame_BT, mask_BT)
        x_BTD = self.embed(feature_BTF.masked_fill(~mask_BT[..., None], 0))
        x_BTD = x_BTD + sinusoids(time_BT, width=x_BTD.shape[-1])
        for block in self.blocks:
            x_BTD = block(x_BTD, src_key_padding_mask=~mask_BT)
        result_BTD: Tensor = self.norm(x_BTD) * mask_BT[..., None]
        return result_BTD


class TemporalConvolutions(nn.Module):
    """A TCN: block k sees frames 2 ** k places apart, all blocks together 2 ** (depth + 1) - 1 places."""

    def __init__(self, features: int, *, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(features)
        self.embed = nn.Linear(features + 2, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, KERNEL, dilation=2**k, padding="same") for k in range(depth)
        )
        self.after = nn.Sequential(nn.GELU(), nn.Dropout(dropout))
        self.norm = nn.LayerNorm(width)

    def forward(self, feature_BTF: Tensor, frame_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Features and numbers of frames, where the mask is True, to (B, T, D); 0 where it is False."""
        mask_BT1 = mask_BT[..., None]
        gaps_BT2 = log_gaps(frames_since_first(frame_BT, mask_BT), mask_BT)
        feature_BTF = self.norm_in(feature_BTF.masked_fill(~mask_BT1, 0))
        x_BTD = self.embed(torch.cat([feature_BTF, gaps_BT2], dim=-1))
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            # Padding is 0 before each convolution, as what lies beyond the window is: it cannot be told from nothing.
            seen_BDT = (norm(x_BTD) * mask_BT1).transpose(1, 2)
            x_BTD = x_BTD + self.after(convolution(seen_BDT)).transpose(1, 2)
        result_BTD: Tensor = self.norm(x_BTD) * mask_BT1
        return result_BTD


def frames_since_first(frame_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Frames between each frame and the first real one of its window (B, T), float32; 0 where the mask is False.

    Where in its video a window lies is left out: the network is to know how far frames are apart, no more.
    """
    first_B1 = frame_BT.masked_fill(~mask_BT, torch.iinfo(frame_BT.dtype).max).amin(dim=1, keepdim=True)
    return (frame_BT - first_B1).masked_fill(~mask_BT, 0).float()


def sinusoids(time_BT: Tensor, *, width: int) -> Tensor:
    """Sines and cosines (B, T, width) of a time in frames, periods from 2 pi to 20,000 pi (Vaswani et al., 3.5)."""
    step = -math.log(10_000.0) / (width // 2)
    rates = torch.exp(torch.arange(width // 2, device=time_BT.device) * step)
    angle_BTR = time_BT[..., None] * rates
    return torch.cat([angle_BTR.sin(), angle_BTR.cos()], dim=-1)


def log_gaps(time_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Logarithms of the frames to the frame before and to the one after (B, T, 2): 0 for the next, and for none."""
    gap_BT = (time_BT[:, 1:] - time_BT[:, :-1]).clamp(min=1).log() * (mask_BT[:, 1:] & mask_BT[:, :-1])
    return torch.stack([nn.functional.pad(gap_BT, (1, 0)), nn.functional.pad(gap_BT, (0, 1))], dim=-1)
