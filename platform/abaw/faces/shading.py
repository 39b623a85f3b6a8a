"""What a covered pixel looks like: painted skin, creases, eyes with iris and highlight, soft light.

Deferred: `raster.visible` says which triangle a pixel shows, `raster.interpolate` gives its `VALUES`, and `shade` turns
them into colour once a pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abaw.faces.asset import EYE, SKIN
from abaw.faces.raster import compiled, inlined

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

VALUES = 12
"""Interpolated per pixel: normal (3), colour (3), cavity, texture u and v, direction in the eyeball (3)."""
PUPIL, IRIS = np.float32(0.972), np.float32(0.86)
"""Cosines of the angles that the pupil and the iris span, seen from the middle of the eyeball."""
GLOSS = np.float32(0.10)
"""Strength of the highlight on skin."""
HOLLOW = np.float32(1.1)
"""How much darker a hollow of the surface is."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Light:
    """One soft lamp and the light of the room."""

    direction_3: Floats
    """Unit vector towards the lamp: x to the image's right, y up, z to the camera."""
    colour_3: Floats
    """Colour of the lamp, about 1."""
    ambient_3: Floats
    """Light from everywhere, about 0.2 to 0.6; the lamp gives the rest."""

    @property
    def rows_43(self) -> Floats:
        """Direction, colour, ambient, and the direction half way to the camera, for `shade`."""
        half_3 = self.direction_3 + np.array([0, 0, 1], np.float32)
        half_3 /= np.sqrt((half_3**2).sum())
        return np.stack([self.direction_3, self.colour_3, self.ambient_3, half_3]).astype(np.float32)


@inlined
def _clip(value: np.float32, low: np.float32, high: np.float32) -> np.float32:
    return min(max(value, low), high)


@inlined
def _gather(
    t: int, w0: np.float32, w1: np.float32, part: int, triangle_T3: Ints, value_VD: Floats, value_D: Floats
) -> None:
    """The vertex values at one sample of triangle t; the directions in the eyeball in an eye alone."""
    a, b, c = triangle_T3[t, 0], triangle_T3[t, 1], triangle_T3[t, 2]
    w2 = np.float32(1) - w0 - w1
    for d in range(VALUES if part == EYE else VALUES - 3):
        value_D[d] = w0 * value_VD[a, d] + w1 * value_VD[b, d] + w2 * value_VD[c, d]


@inlined
def _paint_skin(value_D: Floats, paint_HW4: Floats) -> None:
    """Multiply the colour with paint and creases, sampled between four texels, and darken hollows."""
    one = np.float32(1)
    u = _clip(value_D[7], np.float32(0), np.float32(paint_HW4.shape[1] - 1.001))
    v = _clip(value_D[8], np.float32(0), np.float32(paint_HW4.shape[0] - 1.001))
    i, j = int(u), int(v)
    fu, fv = u - np.float32(i), v - np.float32(j)
    w00, w01, w10, w11 = (one - fv) * (one - fu), (one - fv) * fu, fv * (one - fu), fv * fu
    crease = w00 * paint_HW4[j, i, 3] + w01 * paint_HW4[j, i + 1, 3]
    crease += w10 * paint_HW4[j + 1, i, 3] + w11 * paint_HW4[j + 1, i + 1, 3]
    crease *= _clip(one - HOLLOW * value_D[6], np.float32(0.55), np.float32(1.15))
    for d in range(3):
        painted = w00 * paint_HW4[j, i, d] + w01 * paint_HW4[j, i + 1, d]
        painted += w10 * paint_HW4[j + 1, i, d] + w11 * paint_HW4[j + 1, i + 1, d]
        value_D[3 + d] *= painted * crease


@inlined
def _paint_eye(value_D: Floats, iris_3: Floats) -> None:
    """White, iris with a dark rim, and pupil, by the direction in the eyeball."""
    zero, one = np.float32(0), np.float32(1)
    ex, ey, ez = value_D[9], value_D[10], value_D[11]
    ahead = ez / (np.sqrt(ex * ex + ey * ey + ez * ez) + np.float32(1e-6))
    inside = _clip((ahead - IRIS) * np.float32(25) + np.float32(0.5), zero, one)
    rim = np.float32(0.55) + np.float32(0.45) * min((ahead - IRIS) * np.float32(20), one)
    pupil = _clip((ahead - PUPIL) * np.float32(60) + np.float32(0.5), zero, one)
    # The upper lid keeps the light off the upper part of the eyeball.
    shadow = min(one, np.float32(0.95) - np.float32(1.1) * max(ey, zero))
    for d in range(3):
        value_D[3 + d] += inside * (iris_3[d] * rim - value_D[3 + d])
        value_D[3 + d] += pupil * (np.float32(0.02) - value_D[3 + d])
        value_D[3 + d] *= shadow


@inlined
def _add_light(
    part: int, share: np.float32, value_D: Floats, paint_HW4: Floats, iris_3: Floats, lamp_43: Floats, out_3: Floats
) -> None:
    """Add `share` of the lit colour of one surface point, whose vertex values are in `value_D`."""
    zero, one = np.float32(0), np.float32(1)
    nx, ny, nz = value_D[0], value_D[1], value_D[2]
    scale = one / (np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-6))
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    mirror = max(nx * lamp_43[3, 0] + ny * lamp_43[3, 1] + nz * lamp_43[3, 2], zero)
    mirror *= mirror
    mirror *= mirror
    mirror *= mirror
    glint = GLOSS * mirror
    if part == SKIN:
        _paint_skin(value_D, paint_HW4)
    elif part == EYE:
        _paint_eye(value_D, iris_3)
        mirror *= mirror * mirror  # a tighter highlight than that of skin
        glint = np.float32(0.9) * mirror * mirror
    lamp = nx * lamp_43[0, 0] + ny * lamp_43[0, 1] + nz * lamp_43[0, 2]
    lamp = max((lamp + np.float32(0.25)) * np.float32(0.8), zero)
    room = np.float32(0.8) + np.float32(0.2) * ny
    for d in range(3):
        lit = lamp_43[2, d] * room + (one - lamp_43[2, d]) * lamp * lamp_43[1, d]
        out_3[d] += share * (value_D[3 + d] * lit + glint * lamp * lamp_43[1, d])


@compiled
def shade(
    owner_HW: Ints,
    weight_HW2: Floats,
    triangle_T3: Ints,
    part_T: NDArray[np.int8],
    value_VD: Floats,
    paint_HW4: Floats,
    iris_3: Floats,
    lamp_43: Floats,
    out_HW3: Floats,
) -> None:
    """Pixels of `out_HW3`, which holds the background, from 2 x 2 samples each.

    A pixel whose samples all lie on one part is lit once, at its first; along an edge each sample is lit by itself.
    `paint_HW4` is the paint of the skin and, last, the factor of its creases; `lamp_43` is `Light.rows_43`.
    """
    height, width, _ = out_HW3.shape
    value_D, lit_3 = np.zeros(VALUES, np.float32), np.zeros(3, np.float32)
    for y in range(height):
        for x in range(width):
            t00, t01 = owner_HW[2 * y, 2 * x], owner_HW[2 * y, 2 * x + 1]
            t10, t11 = owner_HW[2 * y + 1, 2 * x], owner_HW[2 * y + 1, 2 * x + 1]
            if t00 < 0 and t01 < 0 and t10 < 0 and t11 < 0:
                continue
            for d in range(3):
                lit_3[d] = 0
            whole = t00 >= 0 and t01 >= 0 and t10 >= 0 and t11 >= 0
            whole = whole and part_T[t00] == part_T[t01] == part_T[t10] == part_T[t11]
            share = np.float32(1) if whole else np.float32(0.25)
            for k in range(1 if whole else 4):
                row, column = 2 * y + k // 2, 2 * x + k % 2
                t = owner_HW[row, column]
                if t < 0:
                    for d in range(3):
                        lit_3[d] += share * out_HW3[y, x, d]
                    continue
                w0, w1 = weight_HW2[row, column, 0], weight_HW2[row, column, 1]
                _gather(t, w0, w1, part_T[t], triangle_T3, value_VD, value_D)
                _add_light(part_T[t], share, value_D, paint_HW4, iris_3, lamp_43, lit_3)
            for d in range(3):
                out_HW3[y, x, d] = lit_3[d]


@compiled
def paint_ellipse(image_HW3: Floats, colour_3: Floats, x: float, y: float, rx: float, ry: float, edge: float) -> None:
    """A soft ellipse over the image, in place: centre and radii in pixels, `edge` as a share of the radius."""
    height, width, _ = image_HW3.shape
    for row in range(max(0, int(y - ry)), min(height, int(y + ry) + 2)):
        for column in range(max(0, int(x - rx)), min(width, int(x + rx) + 2)):
            squared = ((column - x) / rx) ** 2 + ((row - y) / ry) ** 2
            if squared < 1:
                cover = np.float32(min((1 - squared) / edge, 1.0))
                for d in range(3):
                    image_HW3[row, column, d] += cover * (colour_3[d] - image_HW3[row, column, d])
