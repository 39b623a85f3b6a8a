"""Local warps of a face that look as if muscles moved (ContraWarping, as told in ContraWarping + SRP, Figure 3).

Each warp is a few control points inside the face, each with a direction and a radius. Around a point the face is
dragged along, less and less with distance; nothing moves at the face's edge or beyond it. The paper gives the idea and
no formula: the Gaussian fall-off and the numbers are ours. Warps act on sampling grids, so that a warp and a crop cost
one interpolation, and a warped picture is no softer than an unwarped one.
Legend: B images, K control points, H and W rows and columns; places are (x, y), from -1 to 1 over the image.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FACE_AXES = (0.75, 0.9)
"""Half width and half height of the ellipse, around the middle of the image, that holds an aligned face."""


@dataclass(frozen=True, kw_only=True)
class Warping:
    """How strongly the muscles move."""

    points: int = 3
    """Control points of each face."""
    shift: float = 0.12
    """Largest way that one control point moves its surroundings, as a share of half of the image's side; the smallest
    is half of it, so that every warp shows."""
    radius: tuple[float, float] = (0.2, 0.35)
    """Smallest and largest reach of a control point (standard deviation), as a share of half of the image's side."""


@dataclass(frozen=True, kw_only=True)
class Warps:
    """The warps that chance chose for a batch."""

    centre_BK2: Tensor
    move_BK2: Tensor
    radius_BK: Tensor


def draw_warps(config: Warping, batch: int, generator: torch.Generator) -> Warps:
    """Control points spread evenly over the inner nine tenths of the face, moved in any direction."""
    radius_BK, turn_BK, shift_BK, reach_BK, way_BK = torch.rand(5, batch, config.points, generator=generator)
    radius_BK = 0.9 * radius_BK.sqrt()
    centre_BK2 = _on_circle(turn_BK) * radius_BK.unsqueeze(-1) * torch.tensor(FACE_AXES)
    move_BK2 = _on_circle(way_BK) * (config.shift * (0.5 + 0.5 * shift_BK)).unsqueeze(-1)
    low, high = config.radius
    return Warps(centre_BK2=centre_BK2, move_BK2=move_BK2, radius_BK=low + (high - low) * reach_BK)


def displacement(places_BHW2: Tensor, warps: Warps) -> Tensor:
    """How far from each place the warped image takes its colour, (B, H, W, 2).

    At most `points` times `shift` long, smooth, and exactly 0 outside the face. Computed on the device of the places.
    """
    device = places_BHW2.device
    centre_BK112 = warps.centre_BK2.to(device)[:, :, None, None]
    distance_BKHW = (places_BHW2[:, None] - centre_BK112).square().sum(dim=-1)
    near_BKHW = torch.exp(-distance_BKHW / (2 * warps.radius_BK.to(device).square()[:, :, None, None]))
    moved_BHW2 = (near_BKHW.unsqueeze(-1) * warps.move_BK2.to(device)[:, :, None, None]).sum(dim=1)
    outwards_BHW = (places_BHW2 / torch.tensor(FACE_AXES, device=device)).square().sum(dim=-1)
    return moved_BHW2 * (1 - outwards_BHW).clamp(min=0).square().unsqueeze(-1)


def _on_circle(turn_BK: Tensor) -> Tensor:
    angle_BK = 2 * math.pi * turn_BK
    return torch.stack([angle_BK.cos(), angle_BK.sin()], dim=-1)
