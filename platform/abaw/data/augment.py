"""How images are changed before a network sees them: at random in training, always alike in evaluation and inference.

What chance changes in a frame is a function of (seed, epoch, row) alone: whatever worker it falls to, wherever a run is
resumed. Mirroring keeps the labels: expressions, valence, arousal and the twelve action units do not tell left from
right. Sources: resize 232 and crop 224 with colour jitter and mirroring, EMMA section 4; RandAugment(9, 0.5), MAE-Face
section 4.1; parts of the face, dual-view fusion section 4.4.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
import torchvision.transforms.v2.functional as transforms
from numpy.typing import NDArray
from torch import Tensor

from abaw.data import randaugment
from abaw.data.jpegs import resize
from abaw.data.views import MEAN_COLOUR, Region, Views, crops, face_regions, resized

GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How images are changed before a network sees them, in this order; `views` is for evaluation and inference."""

    regions: tuple[Region, ...] = ()
    """Parts of the face that are kept, such as eyes and mouth; empty keeps all. Always done."""
    crop_scale: float = 0.8
    """Smallest share of the image's side that a random crop keeps; 1 does not crop. What it keeps is enlarged again."""
    resize: int = 0
    """Side to which images are resized, such as 232; 0 leaves it. Always done."""
    crop: int = 0
    """Side of the square that is cut out after that, such as 224: anywhere in training, else as `views` says; 0 cuts
    nothing."""
    flip: bool = True
    """Mirror half of the images."""
    rand_augment: float = 0.0
    """Magnitude of RandAugment, from 0, which does nothing, to 10."""
    rand_augment_spread: float = 0.5
    """Standard deviation of that magnitude."""
    saturation: float = 0.0
    """Colour jitter: how far the saturation changes, as a share; 0 keeps it."""
    hue: float = 0.0
    """Colour jitter: how far the hue turns, as a share of the whole circle, up to 0.5."""
    colour: float = 0.0
    """Colour jitter: how far contrast and the level of each channel change, as a share; 0 keeps the colours."""
    erase: float = 0.0
    """Chance that a rectangle of 2 to 33 % of the image is erased (random erasing)."""
    views: Views = "one"
    """What a prediction averages over: one view, also its mirror image (flip), five crops, or those and their mirror
    images (ten)."""

    def __post_init__(self) -> None:
        if not 0 < self.crop_scale <= 1:
            raise ValueError(f"crop_scale is {self.crop_scale}; expected a share of the side in (0, 1], 1 cuts none")
        limits = {"colour": 1.0, "saturation": 1.0, "hue": 0.5, "erase": 1.0, "rand_augment": 10.0}
        for name, most in limits.items():
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 0, which changes nothing, to {most:g}")
        if self.views in ("five", "ten") and not self.crop:
            raise ValueError(f"views is {self.views}, which needs the side of the crops; give crop, such as 224")
        if self.resize and self.crop > self.resize:
            raise ValueError(f"crop is {self.crop}; expected at most resize, {self.resize}")


def augment(image: Tensor, index_B: NDArray[np.int64], *, seed: int, epoch: int, settings: Augmentation) -> Tensor:
    """Images as training sees them.

    Args:
        image: uint8 (B, 3, S, S).
        index_B: row number of each image; equal numbers are changed alike, as the frames of a window should be.
        seed: of the run; together with epoch and row it decides everything.
        epoch: from 0.
        settings: what is done.

    Returns:
        uint8 (B, 3, S', S'), channels last in memory; S' is `crop`, else `resize`, else S.
    """
    image = face_regions(image, settings.regions)
    size = image.shape[-1]
    target = settings.resize or size
    final = _final_size(settings, size)
    chance_B8 = uniform(index_B, draws=8, seed=seed, epoch=epoch)
    more_BD = uniform(index_B, draws=9 + randaugment.DRAWS, seed=seed, epoch=epoch, purpose="more")
    side_B = np.rint(size * (settings.crop_scale + (1 - settings.crop_scale) * chance_B8[:, 1])).astype(int)
    side_B = side_B.clip(1, size)
    top_B, left_B = ((chance_B8[:, k] * (size - side_B + 1)).astype(int) for k in (2, 3))
    pixels_BHWC = image.permute(0, 2, 3, 1).numpy()
    augmented_BHWC = np.empty((len(image), final, final, 3), np.uint8)
    for row, (side, top, left) in enumerate(zip(side_B, top_B, left_B, strict=True)):
        crop_HWC = resize(pixels_BHWC[row, top : top + side, left : left + side], target)
        down, right = (int(part * (target - final + 1)) for part in more_BD[row, :2])
        crop_HWC = crop_HWC[down : down + final, right : right + final]
        if settings.flip and chance_B8[row, 0] < 0.5:
            crop_HWC = crop_HWC[:, ::-1]
        augmented_BHWC[row] = _change(crop_HWC, more_BD[row, 2:], settings)
        if settings.colour:
            change_4 = (2 * chance_B8[row, 4:] - 1) * settings.colour
            augmented_BHWC[row] = _shift_colours(augmented_BHWC[row], change_4)
        if more_BD[row, 4] < settings.erase:
            _erase(augmented_BHWC[row], more_BD[row, 5:9])
    return torch.from_numpy(augmented_BHWC).permute(0, 3, 1, 2)


def views_of(image: Tensor, settings: Augmentation) -> list[Tensor]:
    """Images as evaluation and inference see them: what `settings.views` asks for, nothing random.

    `image` is uint8 (..., 3, S, S) on any device, each view uint8 (..., 3, S', S') with the side that `augment` gives.
    """
    _final_size(settings, image.shape[-1])
    image = face_regions(image, settings.regions)
    if settings.resize:
        image = resized(image, settings.resize)
    return crops(image, settings.views, crop=settings.crop)


def _final_size(settings: Augmentation, size: int) -> int:
    """Side of what a network sees of images of this side."""
    if settings.crop > (settings.resize or size):
        needed = f"give resize, at least {settings.crop}"
        raise ValueError(f"crop is {settings.crop}, but images are {size} x {size}; {needed}")
    return settings.crop or settings.resize or size


def _change(pixels_HWC: NDArray[np.uint8], chance_D: NDArray[np.float64], settings: Augmentation) -> NDArray[np.uint8]:
    """RandAugment, saturation and hue, by torchvision."""
    if not (settings.rand_augment or settings.saturation or settings.hue):
        return pixels_HWC
    image = torch.from_numpy(np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1)))
    if settings.rand_augment:
        chance_R = chance_D[-randaugment.DRAWS :]
        image = randaugment.rand_augment(
            image, chance_R, magnitude=settings.rand_augment, spread=settings.rand_augment_spread
        )
    if settings.saturation:
        image = transforms.adjust_saturation(image, 1 + (2 * chance_D[0] - 1) * settings.saturation)
    if settings.hue:
        image = transforms.adjust_hue(image, (2 * chance_D[1] - 1) * settings.hue)
    changed: NDArray[np.uint8] = image.permute(1, 2, 0).numpy()
    return changed


def _erase(pixels_HWC: NDArray[np.uint8], chance_4: NDArray[np.float64]) -> None:
    """Fill a rectangle with `MEAN_COLOUR`, in place: 2 to 33 % of the image, sides as 0.3 to 3.3 (Zhong et al.)."""
    size = pixels_HWC.shape[0]
    area = 0.02 + 0.31 * chance_4[0]
    ratio = math.exp(math.log(0.3) + math.log(3.3 / 0.3) * chance_4[1])
    height, width = (max(1, min(size, round(size * math.sqrt(part)))) for part in (area * ratio, area / ratio))
    top, left = int(chance_4[2] * (size - height + 1)), int(chance_4[3] * (size - width + 1))
    pixels_HWC[top : top + height, left : left + width] = MEAN_COLOUR


def _shift_colours(pixels_HWC: NDArray[np.uint8], change_4: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Contrast times 1 + the first change, then each channel plus its own change of 128: one table look-up a pixel."""
    levels = (np.arange(256.0) - 128) * (1 + change_4[0]) + 128
    table_3L = (levels + 128 * change_4[1:, None]).round().clip(0, 255).astype(np.uint8)
    return np.stack([table_3L[channel][pixels_HWC[..., channel]] for channel in range(3)], axis=-1)


def uniform(index_B: NDArray[np.int64], *, draws: int, seed: int, epoch: int, purpose: str = "") -> NDArray[np.float64]:
    """Numbers in [0, 1), (B, draws), that depend on nothing but seed, epoch, row, purpose: SplitMix64 as a counter."""
    key = int.from_bytes(hashlib.blake2b(f"{seed} {epoch}{purpose}".encode(), digest_size=8).digest())
    counter_BD = index_B.astype(np.uint64)[:, None] * np.uint64(draws) + np.arange(draws, dtype=np.uint64)
    mixed_BD = np.add(counter_BD * np.uint64(GOLDEN), np.uint64(key), dtype=np.uint64)
    mixed_BD = (mixed_BD ^ (mixed_BD >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed_BD = (mixed_BD ^ (mixed_BD >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed_BD ^= mixed_BD >> np.uint64(31)
    chance_BD: NDArray[np.float64] = (mixed_BD >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return chance_BD
