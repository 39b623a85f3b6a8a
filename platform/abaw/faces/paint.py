"""Paint on the skin: eyebrows, hair line, beard and freckles of a person, and the creases that action units dig.

The mesh has a vertex every two pixels, too coarse for either. Paint lives on a cylinder around the head: column = arc
around it, row = height. Positions below are (arc, height) in decimetres from the point between the eyes of the neutral
face; features there stay on their vertices when the face moves or has another shape.
"""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fftfreq, irfft2, rfft2, rfftfreq
from scipy.ndimage import gaussian_filter

from abaw.faces.action_units import UNITS
from abaw.faces.asset import load_asset
from abaw.faces.raster import sparse_targets

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

ROWS = COLUMNS = 256
TEXEL = 0.01
"""Decimetres a texel."""
TOP = 1.1
AXIS_Z, RADIUS = 0.55, 0.78
"""The cylinder: depth of its axis, and the radius that turns an angle into an arc."""

DEPTH = 0.62
"""Darkness of the deepest line of a crease of depth 1."""

Curve = tuple[tuple[float, float], ...]
# (unit, depth, width in decimetres, points). Each is drawn on both halves of the face.
_CREASES: tuple[tuple[str, float, float, Curve], ...] = (
    ("AU1", 0.40, 0.022, ((0.0, 0.46), (0.16, 0.45), (0.28, 0.41))),
    ("AU1", 0.35, 0.022, ((0.0, 0.36), (0.14, 0.355), (0.24, 0.33))),
    ("AU1", 0.25, 0.020, ((0.0, 0.56), (0.15, 0.55), (0.27, 0.52))),
    ("AU2", 0.40, 0.022, ((0.30, 0.40), (0.45, 0.42), (0.60, 0.36))),
    ("AU2", 0.35, 0.022, ((0.32, 0.51), (0.46, 0.52), (0.60, 0.46))),
    ("AU4", 0.60, 0.024, ((0.055, 0.10), (0.065, 0.20), (0.05, 0.30))),
    ("AU4", 0.30, 0.030, ((0.0, 0.10), (0.08, 0.08), (0.16, 0.085))),
    ("AU5", 0.25, 0.020, ((0.16, 0.105), (0.30, 0.13), (0.44, 0.09))),
    ("AU6", 0.50, 0.018, ((0.50, 0.01), (0.58, 0.04), (0.66, 0.09))),
    ("AU6", 0.50, 0.018, ((0.51, -0.02), (0.60, -0.02), (0.69, -0.02))),
    ("AU6", 0.45, 0.018, ((0.50, -0.05), (0.58, -0.09), (0.65, -0.14))),
    ("AU6", 0.45, 0.026, ((0.14, -0.13), (0.28, -0.19), (0.44, -0.17), (0.54, -0.11))),
    ("AU7", 0.40, 0.020, ((0.15, -0.08), (0.28, -0.115), (0.42, -0.085))),
    ("AU9", 0.55, 0.018, ((0.0, 0.03), (0.06, 0.02), (0.12, -0.03))),
    ("AU9", 0.55, 0.018, ((0.0, -0.03), (0.06, -0.04), (0.12, -0.09))),
    ("AU9", 0.45, 0.022, ((0.08, 0.05), (0.13, -0.10), (0.18, -0.26))),
    ("AU10", 0.55, 0.026, ((0.17, -0.27), (0.22, -0.36), (0.27, -0.46))),
    ("AU12", 0.55, 0.028, ((0.20, -0.34), (0.29, -0.46), (0.36, -0.60), (0.37, -0.70))),
    ("AU14", 0.70, 0.030, ((0.36, -0.61), (0.375, -0.66), (0.36, -0.71))),
    ("AU15", 0.55, 0.026, ((0.30, -0.70), (0.34, -0.80), (0.35, -0.90))),
    ("AU17", 0.45, 0.026, ((0.0, -0.865), (0.08, -0.87), (0.15, -0.895))),
    ("AU17", 0.30, 0.020, ((0.05, -0.96), (0.09, -1.00), (0.05, -1.04))),
    ("AU18", 0.40, 0.018, ((0.07, -0.52), (0.065, -0.57), (0.06, -0.60))),
    ("AU20", 0.45, 0.022, ((0.36, -0.64), (0.44, -0.70), (0.48, -0.80))),
    ("AU23", 0.55, 0.016, ((0.045, -0.53), (0.045, -0.57), (0.04, -0.61))),
    ("AU23", 0.50, 0.016, ((0.125, -0.54), (0.12, -0.58), (0.11, -0.62))),
    ("AU23", 0.45, 0.016, ((0.09, -0.73), (0.09, -0.77), (0.10, -0.80))),
    ("AU24", 0.60, 0.024, ((0.0, -0.80), (0.12, -0.80), (0.24, -0.77))),
    ("AU24", 0.50, 0.028, ((0.29, -0.60), (0.335, -0.67), (0.30, -0.75))),
    ("AU26", 0.30, 0.030, ((0.30, -0.45), (0.38, -0.60), (0.40, -0.78))),
)


@lru_cache(maxsize=1)
def texture_coordinates() -> Floats:
    """Column and row (V, 2) of every vertex, in texels."""
    asset = load_asset()
    point_V3 = asset.neutral_V3
    arc_V = np.arctan2(point_V3[:, 0], point_V3[:, 2] - AXIS_Z) * RADIUS
    column_V = arc_V / TEXEL + COLUMNS / 2
    row_V = (TOP - (point_V3[:, 1] - asset.eyes_y)) / TEXEL
    return np.asarray(np.stack([column_V, row_V], axis=1), np.float32)


@lru_cache(maxsize=1)
def _grid() -> tuple[Floats, Floats]:
    """Arc and height (ROWS, COLUMNS) of every texel."""
    arc_W = (np.arange(COLUMNS, dtype=np.float32) - COLUMNS / 2) * np.float32(TEXEL)
    height_H = np.float32(TOP) - np.arange(ROWS, dtype=np.float32) * np.float32(TEXEL)
    arc_HW, height_HW = np.meshgrid(arc_W, height_H)
    return arc_HW, height_HW


@lru_cache(maxsize=1)
def crease_targets() -> tuple[Ints, Ints, Floats]:
    """How each unit darkens and lightens the texels at full intensity, as `raster.sparse_targets` packs them.

    First the units of the person's left half, the right one of the paint, then those of the other half. A crease is a
    dark line with a lighter ridge on either side.
    """
    arc_HW, height_HW = _grid()
    map_UHW = np.zeros((len(UNITS), ROWS, COLUMNS), np.float32)
    for unit, depth, width, curve in _CREASES:
        distance_HW = _distance(np.abs(arc_HW), height_HW, curve)
        line_HW = np.exp(-((distance_HW / width) ** 2)) - 0.35 * np.exp(-(((distance_HW - 2 * width) / width) ** 2))
        map_UHW[UNITS.index(unit)] -= (DEPTH * depth * line_HW).astype(np.float32)
    map_UHW[np.abs(map_UHW) < 0.004] = 0
    map_KHW = np.concatenate([map_UHW * (arc_HW >= 0), map_UHW * (arc_HW < 0)])
    return sparse_targets(map_KHW.reshape(len(map_KHW), ROWS * COLUMNS, 1))


def _distance(x_HW: Floats, y_HW: Floats, curve: Curve) -> Floats:
    """Distance of every texel to a chain of line segments."""
    nearest_HW = np.full(x_HW.shape, np.inf, np.float32)
    for (x0, y0), (x1, y1) in pairwise(curve):
        dx, dy = x1 - x0, y1 - y0
        along_HW = np.clip(((x_HW - x0) * dx + (y_HW - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        nearest_HW = np.minimum(nearest_HW, np.hypot(x_HW - x0 - along_HW * dx, y_HW - y0 - along_HW * dy))
    return nearest_HW


@lru_cache(maxsize=16)
def _response(sigma: float | tuple[float, float]) -> Floats:
    """What a Gaussian blur of `sigma` texels (rows and columns) leaves of each frequency of `scipy.fft.rfft2`."""
    down, across = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    exponent_HW = (down * fftfreq(ROWS)[:, None]) ** 2 + (across * rfftfreq(COLUMNS)) ** 2
    return np.asarray(np.exp(-2 * np.pi**2 * exponent_HW), np.float32)


def _noise(rng: np.random.Generator, sigma: float | tuple[float, float]) -> Floats:
    """Smooth noise (ROWS, COLUMNS) with unit deviation; it goes on beyond each border at the opposite one."""
    white_HW = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
    noise_HW = irfft2(rfft2(white_HW) * _response(sigma), s=(ROWS, COLUMNS))  # wide blurs cost no more than narrow ones
    return np.asarray(noise_HW / noise_HW.std(), np.float32)


def eyebrows(rng: np.random.Generator, *, thickness: float, arch: float, strength: float) -> Floats:
    """Cover (ROWS, COLUMNS), 0 to 1, of two brows made of slanted hairs; `thickness` in decimetres."""
    arc_HW, height_HW = _grid()
    along_HW = (np.abs(arc_HW) - 0.10) / 0.50
    middle_HW = 0.19 - 0.01 * along_HW + arch * np.sin(np.clip(along_HW, 0, 1) * np.pi * 0.8)
    half_HW = thickness * np.clip(1.15 - 0.75 * along_HW, 0.2, 1)
    across_HW = (height_HW - middle_HW) / half_HW
    body_HW = np.clip(1.6 * (1 - np.abs(across_HW)), 0, 1) * np.clip((along_HW + 0.06) * 9, 0, 1)
    body_HW = body_HW * np.clip((1.04 - along_HW) * 7, 0, 1)
    # Hairs: noise drawn out along a slant that lies flatter towards the temple.
    hairs_HW = _noise(rng, (1.6, 0.9))
    return np.asarray(body_HW * np.clip(strength * (0.88 + 0.14 * hairs_HW), 0, 1), np.float32)


def beard(rng: np.random.Generator, *, full: bool, density: float) -> Floats:
    """Cover (ROWS, COLUMNS) of stubble, or of a full beard, on jaw, chin and upper lip."""
    arc_HW, height_HW = _grid()
    side_HW = np.abs(arc_HW)
    cheek_HW = np.interp(side_HW, [0, 0.28, 0.45, 0.75, 1.0], [-0.46, -0.50, -0.62, -0.45, -0.1])
    area_HW = np.clip((cheek_HW - height_HW) / 0.10, 0, 1)
    mouth_HW = ((side_HW / 0.33) ** 2 + ((height_HW + 0.665) / 0.115) ** 2) < 1
    area_HW = gaussian_filter((area_HW * ~mouth_HW).astype(np.float32), 1.5)
    grain_HW = np.clip(0.8 + 0.25 * _noise(rng, (1.4, 0.7) if full else 0.7), 0, 1.2)
    return np.asarray(np.clip(area_HW * density * grain_HW, 0, 0.95), np.float32)


def complexion(rng: np.random.Generator, *, freckles: float, blush: float) -> Floats:
    """Factors (ROWS, COLUMNS, 3) on the skin colour: blotches, grain, freckles, rosy cheeks and nose."""
    arc_HW, height_HW = _grid()
    tone_HW = 1 + 0.035 * _noise(rng, 9.0) + 0.02 * _noise(rng, 0.8)
    spots_HW = np.clip(_noise(rng, 1.0) - 1.7, 0, 1) * np.exp(-(((height_HW + 0.25) / 0.22) ** 2))
    tone_HW = tone_HW * (1 - freckles * spots_HW)
    rosy_HW = np.exp(-(((np.abs(arc_HW) - 0.42) / 0.16) ** 2) - ((height_HW + 0.38) / 0.14) ** 2)
    rosy_HW = rosy_HW + 0.6 * np.exp(-((arc_HW / 0.10) ** 2) - ((height_HW + 0.38) / 0.09) ** 2)
    red_HW3 = 1 - blush * rosy_HW[..., None] * np.array([-0.05, 1.0, 0.9], np.float32)
    return np.asarray(tone_HW[..., None] * red_HW3, np.float32)


def glasses(*, width: float, height: float, thickness: float) -> Floats:
    """Cover (ROWS, COLUMNS) of a frame around both eyes, its bridge and its temples."""
    arc_HW, height_HW = _grid()
    side_HW = np.abs(arc_HW)
    power_HW = (np.abs(side_HW - 0.31) / width) ** 3 + (np.abs(height_HW + 0.03) / height) ** 3
    ring_HW = np.clip(1.5 - np.abs(np.cbrt(power_HW) - 1) * width / thickness, 0, 1)
    bar_HW = np.clip(1.5 - np.abs(height_HW - 0.02) / thickness, 0, 1) * ((side_HW < 0.10) | (side_HW > 0.29 + width))
    return np.asarray(np.maximum(ring_HW, bar_HW), np.float32)


def hair_cover(rng: np.random.Generator, *, front: float, temples: float, sides: float, fringe: float) -> Floats:
    """Cover (ROWS, COLUMNS) of the hair on the head.

    `front` is the height of the hair line, `temples` how far it recedes there, `sides` where the hair beside the face
    ends, `fringe` how far hair falls over the forehead.
    """
    arc_HW, height_HW = _grid()
    ragged_W = gaussian_filter(rng.standard_normal(COLUMNS), 2.0)
    arc_W = np.abs(arc_HW[0])
    knots = [0, 0.40, 0.60, 0.74, 0.86, 1.0, 1.28]
    line_W = np.interp(
        arc_W, knots, [front, front - 0.03 + temples, 0.36 + temples, 0.16, sides, min(sides, 0.0), min(sides, -0.5)]
    )
    line_W = line_W - fringe * np.clip((0.62 - arc_W) / 0.1, 0, 1) + 0.05 * ragged_W
    return np.asarray(np.clip((height_HW - line_W) / 0.04 + 0.5, 0, 1), np.float32)


def scalp_hair(rng: np.random.Generator) -> Floats:
    """Factors (ROWS, COLUMNS) on the hair colour: strands that run down the head."""
    return np.asarray(np.clip(1 + 0.16 * _noise(rng, (7.0, 0.8)) + 0.08 * _noise(rng, 6.0), 0.5, 1.5), np.float32)
