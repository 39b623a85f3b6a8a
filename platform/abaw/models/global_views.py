"""Global views of a face, which keep its expression: a random resized crop, mirroring and colour jitter.

What self-supervised systems compare (SimCLR section 3 and appendix A; BYOL appendix B; SimSiam section 3), on whole
batches on the device that holds them. Not here: their turns of the hue and their blur, which say little about 64 to 224
pixels of skin. All chance comes from the generator. Legend: B images, H and W pixels; places (x, y) from -1 to 1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from abaw.models.warping import Warps, displacement

JITTERED = 0.8
"""Chance that the colours of a view are changed at all."""
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class GlobalViews:
    """How much two views of a face may differ."""

    crop_scale: float = 0.5
    """Smallest share of the image's area that a crop keeps. SimSiam takes 0.2, and SimCLR and BYOL 0.08, of pictures
    in which things are anywhere; here a crop is to hold most of the face."""
    flip: bool = True
    """Mirror half of the views."""
    colour: float = 0.4
    """How far brightness, contrast and saturation change, as a share; 0 keeps the colours."""
    grey: float = 0.2
    """Chance that a view has no colours."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What chance chose for one view of each image of a batch."""

    centre_B2: Tensor
    half_B2: Tensor
    """Half of the crop's width and height; a negative width mirrors."""
    colour_B3: Tensor
    """Factors of brightness, contrast and saturation."""


def draw_view(config: GlobalViews, batch: int, generator: torch.Generator) -> View:
    """A crop of between `crop_scale` and all of the area, with sides of 3:4 to 4:3, and changes of colour."""
    area_B, ratio_B, x_B, y_B, flip_B, whether_B, grey_B = torch.rand(7, batch, generator=generator)
    area_B = config.crop_scale + (1 - config.crop_scale) * area_B
    ratio_B = torch.exp(math.log(4 / 3) * (2 * ratio_B - 1))
    half_B2 = torch.stack([area_B * ratio_B, area_B / ratio_B], dim=1).sqrt().clamp(max=1)
    centre_B2 = (1 - half_B2) * (2 * torch.stack([x_B, y_B], dim=1) - 1)
    if config.flip:
        half_B2[:, 0] *= torch.where(flip_B < 0.5, -1.0, 1.0)
    colour_B3 = 1 + config.colour * (2 * torch.rand(batch, 3, generator=generator) - 1)
    colour_B3 = torch.where(whether_B[:, None] < JITTERED, colour_B3, 1.0)
    colour_B3[:, 2] = torch.where(grey_B < config.grey, 0.0, colour_B3[:, 2])
    return View(centre_B2=centre_B2, half_B2=half_B2, colour_B3=colour_B3)


def see(images: Tensor, view: View, *, size: int, warps: Warps | None = None) -> Tensor:
    """The view of images (B, 3, h, w) in 0..255, as float32 (B, 3, size, size) in 0..255.

    With `warps`, of the same faces with their muscles moved; everything else stays exactly as it is without.
    """
    device = images.device
    line = (2 * torch.arange(size, device=device) + 1) / size - 1
    steps_HW2 = torch.stack([line.expand(size, size), line[:, None].expand(size, size)], dim=-1)
    half, centre = (value.to(device)[:, None, None] for value in (view.half_B2, view.centre_B2))
    places_BHW2 = centre + half * steps_HW2
    if warps is not None:
        places_BHW2 = places_BHW2 + displacement(places_BHW2, warps)
    seen = torch.nn.functional.grid_sample(
        images.float(), places_BHW2, mode="bilinear", padding_mode="border", align_corners=False
    )
    return jitter(seen, view.colour_B3.to(device))


def jitter(images: Tensor, colour_B3: Tensor) -> Tensor:
    """Images (B, 3, H, W) in 0..255 with brightness, contrast and saturation times the factors, in this order."""
    brightness, contrast, saturation = colour_B3.T[:, :, None, None, None]
    luma = torch.tensor(LUMA, device=images.device).view(1, 3, 1, 1)
    images = (images * brightness).clamp(0, 255)
    level = (images * luma).sum(dim=1, keepdim=True).mean(dim=(2, 3), keepdim=True)
    images = torch.lerp(level, images, contrast).clamp(0, 255)
    grey = (images * luma).sum(dim=1, keepdim=True)
    return torch.lerp(grey, images, saturation).clamp(0, 255)
