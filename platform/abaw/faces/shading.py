"""What a covered pixel looks like: painted skin, creases, eyes with iris and highlight, soft light.

`light` lights the vertices, which lie two pixels apart. Deferred: `raster.visible` says which triangle a sample shows,
and `shade` turns the vertex values there into colour, once a pixel wherever that is enough.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abaw.faces.asset import EYE, SKIN
from abaw.faces.raster import compiled, inlined

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

VALUES = 8
"""Interpolated per sample. Skin, lashes, mouth: lit colour (3), highlight, factor of the hollows, texture u and v.

An eye: direction in the eyeball (3), normal (3); its iris and highlight are smaller than the mesh.
"""
EYE_WHITE = np.float32(0.86)
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
def _lamp(nx: np.float32, ny: np.float32, nz: np.float32, lamp_43: Floats) -> tuple[np.float32, np.float32]:
    """How much of the lamp a surface with this unit normal gets, and how much of it mirrors into the camera."""
    zero = np.float32(0)
    lamp = nx * lamp_43[0, 0] + ny * lamp_43[0, 1] + nz * lamp_43[0, 2]
    mirror = max(nx * lamp_43[3, 0] + ny * lamp_43[3, 1] + nz * lamp_43[3, 2], zero)
    mirror *= mirror
    mirror *= mirror
    return max((lamp + np.float32(0.25)) * np.float32(0.8), zero), mirror * mirror


@inlined
def _lit(colour: np.float32, ny: np.float32, lamp: np.float32, lamp_43: Floats, d: int) -> np.float32:
    """Channel d of a colour under the lamp and the light of the room, which comes from above."""
    room = np.float32(0.8) + np.float32(0.2) * ny
    return np.float32(colour * (lamp_43[2, d] * room + (np.float32(1) - lamp_43[2, d]) * lamp * lamp_43[1, d]))


@compiled
def light(
    normal_V3: Floats,
    cavity_V: Floats,
    colour_V3: Floats,
    part_V: NDArray[np.int8],
    lamp_43: Floats,
    value_V8: Floats,
) -> None:
    """Set what moves in `value_V8`: normals of the eyes, and light, highlight and hollows of everything else."""
    for v in range(len(part_V)):
        nx, ny, nz = normal_V3[v, 0], normal_V3[v, 1], normal_V3[v, 2]
        if part_V[v] == EYE:
            value_V8[v, 3], value_V8[v, 4], value_V8[v, 5] = nx, ny, nz
            continue
        lamp, mirror = _lamp(nx, ny, nz, lamp_43)
        for d in range(3):
            value_V8[v, d] = _lit(colour_V3[v, d], ny, lamp, lamp_43, d)
        value_V8[v, 3] = GLOSS * mirror * lamp
        value_V8[v, 4] = _clip(np.float32(1) - HOLLOW * cavity_V[v], np.float32(0.55), np.float32(1.15))


@inlined
def _gather(t: int, x: int, y: int, screen_V3: Floats, triangle_T3: Ints, value_V8: Floats, value_8: Floats) -> None:
    """The vertex values at the sample in column x and row y of triangle t."""
    a, b, c = triangle_T3[t, 0], triangle_T3[t, 1], triangle_T3[t, 2]
    ax, ay = screen_V3[a, 0] - np.float32(x), screen_V3[a, 1] - np.float32(y)
    bx, by = screen_V3[b, 0] - np.float32(x), screen_V3[b, 1] - np.float32(y)
    cx, cy = screen_V3[c, 0] - np.float32(x), screen_V3[c, 1] - np.float32(y)
    wa, wb, wc = bx * cy - by * cx, cx * ay - cy * ax, ax * by - ay * bx
    share = np.float32(1) / (wa + wb + wc)
    for d in range(VALUES):
        value_8[d] = (wa * value_V8[a, d] + wb * value_V8[b, d] + wc * value_V8[c, d]) * share


@inlined
def _add_skin(share: np.float32, value_8: Floats, paint_HW3: Floats, crease_HW: Floats, out_3: Floats) -> None:
    """Add `share` of the lit colour times paint, creases and hollows; the paint is sampled between four texels."""
    one = np.float32(1)
    u = _clip(value_8[5], np.float32(0), np.float32(paint_HW3.shape[1] - 1.001))
    v = _clip(value_8[6], np.float32(0), np.float32(paint_HW3.shape[0] - 1.001))
    i, j = np.int32(u), np.int32(v)
    fu, fv = u - np.float32(i), v - np.float32(j)
    w00, w01, w10, w11 = (one - fv) * (one - fu), (one - fv) * fu, fv * (one - fu), fv * fu
    crease = w00 * crease_HW[j, i] + w01 * crease_HW[j, i + 1]
    crease += w10 * crease_HW[j + 1, i] + w11 * crease_HW[j + 1, i + 1]
    crease *= value_8[4]
    for d in range(3):
        painted = w00 * paint_HW3[j, i, d] + w01 * paint_HW3[j, i + 1, d]
        painted += w10 * paint_HW3[j + 1, i, d] + w11 * paint_HW3[j + 1, i + 1, d]
        out_3[d] += share * value_8[d] * painted * crease


@inlined
def _add_eye(share: np.float32, value_8: Floats, iris_3: Floats, lamp_43: Floats, out_3: Floats) -> None:
    """Add `share` of the white, of the iris with its dark rim, or of the pupil, and of the highlight on them."""
    zero, one = np.float32(0), np.float32(1)
    ex, ey, ez = value_8[0], value_8[1], value_8[2]
    ahead = ez / (np.sqrt(ex * ex + ey * ey + ez * ez) + np.float32(1e-6))
    inside = _clip((ahead - IRIS) * np.float32(25) + np.float32(0.5), zero, one)
    rim = np.float32(0.55) + np.float32(0.45) * min((ahead - IRIS) * np.float32(20), one)
    pupil = _clip((ahead - PUPIL) * np.float32(60) + np.float32(0.5), zero, one)
    # The upper lid keeps the light off the upper part of the eyeball.
    shadow = min(one, np.float32(0.95) - np.float32(1.1) * max(ey, zero))
    nx, ny, nz = value_8[3], value_8[4], value_8[5]
    scale = one / (np.sqrt(nx * nx + ny * ny + nz * nz) + np.float32(1e-6))
    lamp, mirror = _lamp(nx * scale, ny * scale, nz * scale, lamp_43)
    mirror *= mirror * mirror  # a tighter highlight than that of skin
    glint = np.float32(0.9) * mirror * mirror * lamp
    for d in range(3):
        colour = EYE_WHITE + inside * (iris_3[d] * rim - EYE_WHITE)
        colour += pupil * (np.float32(0.02) - colour)
        out_3[d] += share * (_lit(colour * shadow, ny * scale, lamp, lamp_43, d) + glint * lamp_43[1, d])


@compiled
def shade(
    owner_HW: Ints,
    screen_V3: Floats,
    triangle_T3: Ints,
    part_T: NDArray[np.int8],
    value_V8: Floats,
    paint_HW3: Floats,
    crease_HW: Floats,
    iris_3: Floats,
    lamp_43: Floats,
    out_HW3: Floats,
) -> None:
    """Pixels of `out_HW3`, which holds the background, from 2 x 2 samples each.

    A pixel whose samples all lie on one part is shaded once, at its first; along an edge each sample is shaded by
    itself. `paint_HW3` and `crease_HW` are factors on the colour of the skin; `lamp_43` is `Light.rows_43`.
    """
    height, width, _ = out_HW3.shape
    value_8, sum_3 = np.zeros(VALUES, np.float32), np.zeros(3, np.float32)
    for y in range(height):
        for x in range(width):
            t00, t01 = owner_HW[2 * y, 2 * x], owner_HW[2 * y, 2 * x + 1]
            t10, t11 = owner_HW[2 * y + 1, 2 * x], owner_HW[2 * y + 1, 2 * x + 1]
            if t00 < 0 and t01 < 0 and t10 < 0 and t11 < 0:
                continue
            whole = t00 >= 0 and t01 >= 0 and t10 >= 0 and t11 >= 0
            whole = whole and part_T[t00] == part_T[t01] == part_T[t10] == part_T[t11]
            share = np.float32(1) if whole else np.float32(0.25)
            sum_3[:] = 0
            for k in range(1 if whole else 4):
                row, column = 2 * y + k // 2, 2 * x + k % 2
                t = owner_HW[row, column]
                if t < 0:
                    for d in range(3):
                        sum_3[d] += share * out_HW3[y, x, d]
                    continue
                _gather(t, column, row, screen_V3, triangle_T3, value_V8, value_8)
                if part_T[t] == EYE:
                    _add_eye(share, value_8, iris_3, lamp_43, sum_3)
                    continue
                for d in range(3):
                    sum_3[d] += share * value_8[3] * lamp_43[1, d]
                if part_T[t] == SKIN:
                    _add_skin(share, value_8, paint_HW3, crease_HW, sum_3)
                else:
                    for d in range(3):
                        sum_3[d] += share * value_8[d]
            for d in range(3):
                out_HW3[y, x, d] = sum_3[d]


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
