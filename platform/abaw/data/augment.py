"""Random mirroring, cropping and colours of face images, a function of (seed, epoch, row) alone.

So a frame is augmented alike whatever worker it falls to and wherever a run is resumed. Mirroring keeps the labels:
expressions, valence, arousal and the twelve action units do not tell left from right.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from abaw.data.jpegs import resize

GOLDEN = 0x9E3779B97F4A7C15


def augment(
    image: Tensor,
    index_B: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    flip: bool,
    crop_scale: float,
    colour: float = 0.0,
) -> Tensor:
    """Mirror half of the images, cut a square out of each and enlarge it to the full size, and shift its colours.

    Args:
        image: uint8 (B, 3, S, S).
        index_B: row number of each image.
        seed: of the run; together with epoch and row it decides everything.
        epoch: from 0.
        flip: whether to mirror.
        crop_scale: smallest share of the side that is kept, in (0, 1]; the share is uniform between it and 1.
        colour: contrast changes by up to this share, and each channel by up to this share of half its range; 0 to 1.

    Returns:
        uint8 (B, 3, S, S), channels last in memory.
    """
    if not 0 < crop_scale <= 1:
        raise ValueError(f"crop_scale is {crop_scale}; expected a share of the side in (0, 1], where 1 does not crop")
    size = image.shape[-1]
    if not 0 <= colour <= 1:
        raise ValueError(f"colour is {colour}; expected a share from 0, which keeps the colours, to 1")
    chance_B8 = uniform(index_B, draws=8, seed=seed, epoch=epoch)
    side_B = np.rint(size * (crop_scale + (1 - crop_scale) * chance_B8[:, 1])).astype(int).clip(1, size)
    top_B, left_B = ((chance_B8[:, k] * (size - side_B + 1)).astype(int) for k in (2, 3))
    pixels_BHWC = image.permute(0, 2, 3, 1).numpy()
    augmented_BHWC = np.empty_like(pixels_BHWC, order="C")
    for row, (side, top, left) in enumerate(zip(side_B, top_B, left_B, strict=True)):
        crop_HWC = resize(pixels_BHWC[row, top : top + side, left : left + side], size)
        augmented_BHWC[row] = crop_HWC[:, ::-1] if flip and chance_B8[row, 0] < 0.5 else crop_HWC
        if colour:
            augmented_BHWC[row] = _shift_colours(augmented_BHWC[row], (2 * chance_B8[row, 4:] - 1) * colour)
    return torch.from_numpy(augmented_BHWC).permute(0, 3, 1, 2)


def _shift_colours(pixels_HWC: NDArray[np.uint8], change_4: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Contrast times 1 + the first change, then each channel plus its own change of 128: one table look-up a pixel."""
    levels = (np.arange(256.0) - 128) * (1 + change_4[0]) + 128
    table_3L = (levels + 128 * change_4[1:, None]).round().clip(0, 255).astype(np.uint8)
    return np.stack([table_3L[channel][pixels_HWC[..., channel]] for channel in range(3)], axis=-1)


def uniform(index_B: NDArray[np.int64], *, draws: int, seed: int, epoch: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), (B, draws), that depend on nothing but seed, epoch and row: SplitMix64 as a counter."""
    key = int.from_bytes(hashlib.blake2b(f"{seed} {epoch}".encode(), digest_size=8).digest())
    counter_BD = index_B.astype(np.uint64)[:, None] * np.uint64(draws) + np.arange(draws, dtype=np.uint64)
    mixed_BD = np.add(counter_BD * np.uint64(GOLDEN), np.uint64(key), dtype=np.uint64)
    mixed_BD = (mixed_BD ^ (mixed_BD >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed_BD = (mixed_BD ^ (mixed_BD >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed_BD ^= mixed_BD >> np.uint64(31)
    chance_BD: NDArray[np.float64] = (mixed_BD >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return chance_BD
