"""Views of a face: its eyes, mouth and nose, and the crops and mirror images that a prediction averages over.

Fractions of the regions: dual-view fusion, section 4.4. Everything here works on uint8, on any device.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torchvision.transforms.v2.functional as transforms
from torch import Tensor

Region = Literal["eyes", "mouth", "nose"]
Views = Literal["one", "flip", "five", "ten"]

REGIONS: dict[Region, tuple[float, float, float, float]] = {
    "eyes": (0.35, 0.55, 0.2, 0.8),
    "mouth": (0.7, 0.9, 0.2, 0.8),
    "nose": (0.2, 0.8, 0.4, 0.6),
}
"""Top, bottom, left and right of each region, as shares of the image's side."""

MEAN_COLOUR = (124, 116, 104)
"""What replaces pixels that are taken away: about 0 once a model normalises its input."""


def face_regions(image: Tensor, regions: Sequence[Region]) -> Tensor:
    """The union of some regions of aligned faces, enlarged to the size of the image.

    `image` is uint8 (..., 3, S, S). What lies outside the regions, but in the smallest rectangle around them all, is
    `MEAN_COLOUR`. Without regions, the image itself.
    """
    if not regions:
        return image
    size = image.shape[-1]
    boxes = torch.tensor([REGIONS[name] for name in regions], dtype=torch.float64).mul(size).round().long()
    kept_HW = torch.zeros(size, size, dtype=torch.bool, device=image.device)
    for top, bottom, left, right in boxes.tolist():
        kept_HW[top:bottom, left:right] = True
    top, left = boxes[:, 0].min(), boxes[:, 2].min()
    bottom, right = boxes[:, 1].max(), boxes[:, 3].max()
    colour = torch.tensor(MEAN_COLOUR, dtype=torch.uint8, device=image.device)[:, None, None]
    union = torch.where(kept_HW, image, colour)[..., top:bottom, left:right]
    return resized(union, size)


def crops(image: Tensor, views: Views, *, crop: int) -> list[Tensor]:
    """Squares of side `crop`: the middle one; with `five` and `ten` the corners before it; mirrored with `flip`, `ten`.

    `image` is uint8 (..., 3, S, S); `crop=0` takes the whole image and has no corners.
    """
    last = int(image.shape[-1]) - crop  # a number also where the calls are being recorded, see experiments/export.py
    corners, middle = [(top, left) for top in (0, last) for left in (0, last)], (round(last / 2), round(last / 2))
    places = [*corners, middle] if views in ("five", "ten") else [middle]
    parts = [image[..., top : top + crop, left : left + crop] for top, left in places] if crop else [image]
    if views in ("flip", "ten"):
        parts += [part.flip(-1) for part in parts]
    return parts


def resized(image: Tensor, size: int) -> Tensor:
    """uint8 images (..., 3, h, w) as size x size, bilinear and antialiased."""
    result: Tensor = transforms.resize(image, [size, size], antialias=True)
    return result
