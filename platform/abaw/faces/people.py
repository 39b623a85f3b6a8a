"""People: the shape of a head, its skin, eyes, brows, hair and age, all drawn from one seed.

A person is what the renderer needs and nothing that labels depend on: how somebody acts is `abaw.faces.acting.Style`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from abaw.faces import paint
from abaw.faces.asset import EYE, LASHES, SKIN, TEETH, TONGUE, load_asset, mix_macros
from abaw.faces.raster import displace, surface

Floats = NDArray[np.float32]

_SKINS_33 = np.array([[0.44, 0.29, 0.21], [0.86, 0.67, 0.53], [0.91, 0.72, 0.62]])  # african, asian, caucasian
_IRISES_43 = np.array([[0.24, 0.14, 0.07], [0.34, 0.22, 0.10], [0.28, 0.42, 0.55], [0.30, 0.38, 0.24]])
_HAIRS_43 = np.array([[0.06, 0.05, 0.04], [0.22, 0.14, 0.09], [0.58, 0.44, 0.25], [0.38, 0.18, 0.09]])
_GREY_3 = np.array([0.60, 0.59, 0.57])
_OPPOSITES = (
    ("incr", "decr"),
    ("in", "out"),
    ("up", "down"),
    ("forward", "backward"),
    ("compress", "uncompress"),
    ("convex", "concave"),
)
_HEAD_FORMS = ("oval", "round", "square", "rectangular", "diamond", "triangular", "invertedtriangular")
_SHAPE_SPREAD = 0.2


@dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """Somebody at rest."""

    point_V3: Floats
    """Mesh of the neutral face, hair included."""
    colour_V3: Floats
    """Colour of each vertex before paint, light and creases."""
    paint_HW3: Floats
    """Factors on the colour of the skin, on the cylinder of `abaw.faces.paint`."""
    iris_3: Floats
    hair_3: Floats
    long_hair: float
    """Half width, in decimetres, of the hair behind the head; 0 for short hair."""
    wrinkles: float
    """How deep the creases of this skin are, about 1."""


def make_person(seed: np.random.SeedSequence) -> Person:
    """Somebody new; the same seed gives the same arrays."""
    rng = np.random.default_rng(seed)
    male = float(np.clip(rng.beta(0.35, 0.35), 0.03, 0.97))
    old = float(rng.beta(1.0, 2.5))
    origin_3 = rng.dirichlet([0.5] * 3)
    point_V3 = _shape(rng, male, old, origin_3)
    skin_3 = np.clip(origin_3 @ _SKINS_33 * rng.uniform(0.86, 1.06) * (1 + rng.normal(0, 0.015, 3)), 0.1, 0.97)
    hair_3 = _hair_colour(rng, old, origin_3)
    masculine = male > 0.5
    long_hair = 0.0 if masculine and rng.random() < 0.9 else float(rng.uniform(0.86, 1.06))
    cover_HW, thickness = _scalp(rng, masculine, old, long_hair > 0)
    point_V3 = _with_hair(point_V3, cover_HW, thickness)
    return Person(
        point_V3=point_V3,
        colour_V3=_colours(rng, skin_3, hair_3 if long_hair else skin_3, masculine),
        paint_HW3=_painted(rng, skin_3, hair_3, cover_HW, masculine, old),
        iris_3=_IRISES_43[rng.choice(4, p=_eye_shares(origin_3))].astype(np.float32),
        hair_3=hair_3.astype(np.float32),
        long_hair=long_hair,
        wrinkles=float(0.85 + 0.45 * old + rng.uniform(-0.1, 0.15)),
    )


def _eye_shares(origin_3: NDArray[np.float64]) -> NDArray[np.float64]:
    light = 0.55 * origin_3[2]
    return np.array([0.6 * (1 - light), 0.4 * (1 - light), 0.6 * light, 0.4 * light])


@lru_cache(maxsize=1)
def _traits() -> tuple[tuple[list[int], list[int]], ...]:
    """Every trait of the asset as (rows that raise it, rows that lower it); both sides of the face share a trait."""
    rows: dict[tuple[str, str], tuple[list[int], list[int]]] = {}
    for name, row in load_asset().shapes.items():
        stem, _, direction = name.rpartition("-")
        for more, less in _OPPOSITES:
            if direction in (more, less):
                pair = rows.setdefault((re.sub(r"^[lr]-", "", stem), more), ([], []))
                pair[direction == less].append(row)
    return tuple(rows.values())


def _shape(rng: np.random.Generator, male: float, old: float, origin_3: NDArray[np.float64]) -> Floats:
    asset = load_asset()
    mixed_V3 = asset.base_V3 + mix_macros(asset.macros, male=male, old=old, origin_3=origin_3)
    weight_K = np.zeros(len(asset.shapes), np.float32)
    for more, less in _traits():
        value = rng.normal(0, _SHAPE_SPREAD)
        for row in more if value > 0 else less:
            weight_K[row] = min(abs(value) * rng.uniform(0.85, 1.15), 0.7)
    weight_K[asset.shapes[f"head-{rng.choice(_HEAD_FORMS)}"]] = rng.uniform(0, 0.6)
    out_V3 = np.empty_like(mixed_V3)
    displace(mixed_V3, weight_K, *asset.shape_moves, out_V3)
    out_V3[(asset.part_V == TEETH) | (asset.part_V == TONGUE), 2] -= np.float32(0.05)  # clear of lips that shapes moved
    return out_V3


def _hair_colour(rng: np.random.Generator, old: float, origin_3: NDArray[np.float64]) -> NDArray[np.float64]:
    light = 0.6 * origin_3[2]
    colour_3 = _HAIRS_43[rng.choice(4, p=[0.6 * (1 - light), 0.4 * (1 - light), 0.75 * light, 0.25 * light])]
    grey = np.clip((old - 0.35) * 2.2, 0, 0.9) * rng.uniform(0.3, 1)
    return np.asarray((colour_3 + grey * (_GREY_3 - colour_3)) * rng.uniform(0.85, 1.15))


def _scalp(rng: np.random.Generator, masculine: bool, old: float, long: bool) -> tuple[Floats, float]:
    """Where hair grows (ROWS, COLUMNS), and how far it stands off, in decimetres."""
    front = rng.uniform(0.50, 0.66)
    if masculine and rng.random() < 0.15 + 0.3 * old:
        return paint.hair_cover(rng, front=front + 0.25, temples=0.35, sides=-0.10, fringe=0.0), 0.02
    fringe = rng.uniform(0.12, 0.26) if rng.random() < (0.35 if long else 0.15) else 0.0
    sides = -1.4 if long else rng.uniform(-0.22, 0.05)
    return (
        paint.hair_cover(rng, front=front, temples=0.0, sides=sides, fringe=fringe),
        rng.uniform(0.05, 0.11) if long else rng.uniform(0.03, 0.12),
    )


def _with_hair(point_V3: Floats, cover_HW: Floats, thickness: float) -> Floats:
    """Push the scalp outwards under its hair."""
    asset = load_asset()
    normal_V3, cavity_V = np.empty_like(point_V3), np.empty(len(point_V3), np.float32)
    surface(point_V3, asset.triangles_T3, np.ones(len(point_V3), np.float32), normal_V3, cavity_V)
    place_V2 = np.clip(np.rint(paint.texture_coordinates()), 0, paint.COLUMNS - 1).astype(int)
    high_V = np.clip((point_V3[:, 1] - asset.eyes_y) / 0.3, 0, 1)
    grown_V = cover_HW[place_V2[:, 1], place_V2[:, 0]] * high_V * (asset.part_V == SKIN) * (asset.ears_V < 0.3)
    return np.asarray(point_V3 + thickness * grown_V[:, None] * normal_V3, np.float32)


def _colours(
    rng: np.random.Generator, skin_3: NDArray[np.float64], ears_3: NDArray[np.float64], masculine: bool
) -> Floats:
    asset = load_asset()
    colour_V3 = np.tile(skin_3, (len(asset.part_V), 1))
    # Lips are redder than the skin, in a dark face as in a light one; some wear lipstick.
    lip_3 = skin_3 * np.array([0.98, 0.66, 0.66]) * rng.uniform(0.88, 1.02)
    if not masculine and rng.random() < 0.5:
        lip_3 = 0.5 * lip_3 + 0.5 * np.array([0.72, 0.12, 0.18]) * rng.uniform(0.7, 1.1)
    colour_V3 += 0.9 * asset.lips_V[:, None] * (lip_3 - colour_V3)
    inside_V = (asset.inside_mouth_V > 0.5) & (asset.lips_V < 0.3)
    colour_V3[inside_V] = [0.20, 0.06, 0.06]
    neck_V = np.clip((asset.eyes_y - 1.0 - asset.neutral_V3[:, 1]) / 0.2, 0, 1) * (asset.neutral_V3[:, 2] < 1.0)
    colour_V3 *= 1 - 0.25 * neck_V[:, None]
    colour_V3[asset.ears_V > 0.5] = ears_3  # long hair falls over the ears
    colour_V3[asset.part_V == EYE] = 0.86
    colour_V3[asset.part_V == LASHES] = skin_3 * (0.30 if masculine else 0.12)
    colour_V3[asset.part_V == TEETH] = [0.90, 0.88, 0.82]
    colour_V3[asset.part_V == TONGUE] = [0.62, 0.28, 0.28]
    return colour_V3.astype(np.float32)


def _painted(
    rng: np.random.Generator,
    skin_3: NDArray[np.float64],
    hair_3: NDArray[np.float64],
    cover_HW: Floats,
    masculine: bool,
    old: float,
) -> Floats:
    """All paint of the skin as one factor a channel."""
    paint_HW3: NDArray[np.floating] = paint.complexion(
        rng, freckles=rng.uniform(0, 0.25), blush=rng.uniform(0.02, 0.12)
    )
    brow_HW = paint.eyebrows(
        rng,
        thickness=rng.uniform(0.042, 0.062) if masculine else rng.uniform(0.028, 0.045),
        arch=rng.uniform(0.01, 0.045),
        strength=rng.uniform(0.75, 1.15),
    )
    layers = [(brow_HW, np.minimum(hair_3, skin_3 * 0.62))]
    if masculine and rng.random() < 0.6:
        full = rng.random() < 0.4
        density = rng.uniform(0.6, 0.85) if full else rng.uniform(0.12, 0.35)
        layers.append((paint.beard(rng, full=full, density=density), hair_3 * 0.9))
    layers.append((cover_HW, hair_3))
    strands_HW = paint.scalp_hair(rng)
    for layer_HW, colour_3 in layers:
        target_HW3 = (colour_3 / skin_3).astype(np.float32) * (strands_HW[..., None] if layer_HW is cover_HW else 1.0)
        paint_HW3 = paint_HW3 + layer_HW[..., None] * (target_HW3 - paint_HW3)
    if rng.random() < 0.10 + 0.1 * old:
        frame_HW = paint.glasses(width=rng.uniform(0.19, 0.23), height=rng.uniform(0.14, 0.18), thickness=0.014)
        paint_HW3 = paint_HW3 + frame_HW[..., None] * (rng.uniform(0.03, 0.3) / skin_3 - paint_HW3)
    return paint_HW3.astype(np.float32)
