"""RandAugment (Cubuk et al.) with the operations and ranges that masked autoencoders are fine-tuned with.

MAE-Face, section 4.1: RandAug(9, 0.5), a magnitude that is normal around 9 of 10 with a deviation of 0.5. Two
operations are drawn for an image, and each is done with a chance of one half; all grow stronger with the magnitude.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import torch
import torchvision.transforms.v2.functional as transforms
from numpy.typing import NDArray
from torch import Tensor

from abaw.data.views import MEAN_COLOUR

DRAWS = 8
"""Random numbers that an image needs: four for each of two operations."""
FILL = list(MEAN_COLOUR)

Operation = Callable[[Tensor, float, float], Tensor]
"""Image uint8 (3, H, W), strength in [0, 1], and a sign, 1 or -1, for operations that have two directions."""


def rand_augment(image: Tensor, chance_D: NDArray[np.float64], *, magnitude: float, spread: float) -> Tensor:
    """The image uint8 (3, H, W) after up to two operations.

    Args:
        image: uint8 (3, H, W).
        chance_D: `DRAWS` numbers in [0, 1), which decide everything.
        magnitude: mean strength, from 0 to 10.
        spread: standard deviation of the strength.
    """
    for which, whether, level, sign in chance_D.reshape(2, 4):
        if whether < 0.5:
            normal = NormalDist().inv_cdf(min(max(level, 1e-6), 1 - 1e-6))
            strength = min(max((magnitude + spread * normal) / 10, 0.0), 1.0)
            operation = OPERATIONS[int(which * len(OPERATIONS))]
            image = operation(image, strength, 1.0 if sign < 0.5 else -1.0)
    return image


def _factor(strength: float, sign: float) -> float:
    """Share of colour, contrast, brightness or sharpness that an operation leaves or gives: 1 changes nothing."""
    return max(0.1, 1 + 0.9 * strength * sign)


def _solarise_add(image: Tensor, strength: float, sign: float) -> Tensor:
    """Dark pixels become lighter."""
    return torch.where(image < 128, image + int(110 * strength), image)


def _affine(image: Tensor, *, shear: tuple[float, float] = (0, 0), shift: tuple[float, float] = (0, 0)) -> Tensor:
    """Shear (tangents) and shift (shares of the side), from left to right and from top to bottom."""
    side = image.shape[-1]
    result: Tensor = transforms.affine(
        image,
        angle=0.0,
        translate=[round(part * side) for part in shift],
        scale=1.0,
        shear=[math.degrees(math.atan(part)) for part in shear],
        interpolation=transforms.InterpolationMode.BILINEAR,
        fill=FILL,
    )
    return result


OPERATIONS: tuple[Operation, ...] = (
    lambda image, strength, sign: transforms.autocontrast(image),
    lambda image, strength, sign: transforms.equalize(image),
    lambda image, strength, sign: transforms.invert(image),
    lambda image, strength, sign: transforms.rotate(
        image, 30 * strength * sign, interpolation=transforms.InterpolationMode.BILINEAR, fill=FILL
    ),
    lambda image, strength, sign: transforms.posterize(image, bits=max(1, 4 - int(4 * strength))),
    lambda image, strength, sign: transforms.solarize(image, threshold=min(255, 256 - int(256 * strength))),
    _solarise_add,
    lambda image, strength, sign: transforms.adjust_saturation(image, _factor(strength, sign)),
    lambda image, strength, sign: transforms.adjust_contrast(image, _factor(strength, sign)),
    lambda image, strength, sign: transforms.adjust_brightness(image, _factor(strength, sign)),
    lambda image, strength, sign: transforms.adjust_sharpness(image, _factor(strength, sign)),
    lambda image, strength, sign: _affine(image, shear=(0.3 * strength * sign, 0)),
    lambda image, strength, sign: _affine(image, shear=(0, 0.3 * strength * sign)),
    lambda image, strength, sign: _affine(image, shift=(0.45 * strength * sign, 0)),
    lambda image, strength, sign: _affine(image, shift=(0, 0.45 * strength * sign)),
)
