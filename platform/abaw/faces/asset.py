"""The parametric head that ships with the package: its mesh, its facial units and its shape targets.

`build_asset` makes the file; NOTICE.md says whose work it is (CC0). Lengths are decimetres; x points to the
person's left, y up, z out of the face.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abaw.faces.raster import sparse_targets

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

ASSET_FILE = Path(__file__).with_name("face_cc0.npz")
SKIN, EYE, LASHES, TEETH, TONGUE = range(5)
"""Values of `part_V`, in the order of `build_asset.PARTS`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FaceAsset:
    """Arrays of the head: V vertices, T triangles, K targets of a kind."""

    base_V3: Floats
    """The base mesh, before any macro or shape target."""
    neutral_V3: Floats
    """The mean adult face: what texture coordinates and painted features are measured on."""
    triangles_T3: NDArray[np.int32]
    """Corners, counter-clockwise from outside."""
    part_V: NDArray[np.int8]
    """SKIN, EYE, LASHES, TEETH or TONGUE."""
    units: dict[str, int]
    """Facial unit (ARKit name) to its number in `unit_moves`."""
    unit_moves: tuple[Ints, Ints, Floats]
    """Displacements of the 52 facial units at full intensity, as `raster.sparse_targets` packs them."""
    macros: dict[str, Floats]
    """Sex, age and origin, such as `asian-female-old`: displacements (V, 3)."""
    shapes: dict[str, int]
    """Local shape target, such as `nose-hump-incr`, to its number in `shape_moves`."""
    shape_moves: tuple[Ints, Ints, Floats]
    lips_V: Floats
    """Share of lip in each vertex, 0 to 1; `ears_V` and `inside_mouth_V` likewise."""
    ears_V: Floats
    inside_mouth_V: Floats
    eyes_y: float
    """Height of the eyes in the neutral face; painted features are placed relative to it."""


@lru_cache(maxsize=1)
def load_asset() -> FaceAsset:
    """The embedded asset, read once a process."""
    with np.load(ASSET_FILE) as file:
        arrays = {name: file[name] for name in file.files}
    macros = {str(n): m.astype(np.float32) for n, m in zip(arrays["macro_names"], arrays["macro_KV3"], strict=True)}
    neutral_V3 = arrays["base_V3"] + mix_macros(macros, male=0.5, old=0.0, origin_3=np.full(3, 1 / 3))
    return FaceAsset(
        base_V3=arrays["base_V3"],
        neutral_V3=neutral_V3,
        triangles_T3=arrays["triangles_T3"].astype(np.int32),
        part_V=arrays["part_V"],
        units={str(name): k for k, name in enumerate(arrays["unit_names"])},
        unit_moves=sparse_targets(arrays["unit_KV3"].astype(np.float32)),
        macros=macros,
        shapes={str(name): k for k, name in enumerate(arrays["shape_names"])},
        shape_moves=sparse_targets(arrays["shape_KV3"].astype(np.float32)),
        lips_V=arrays["lips_V"] / np.float32(255),
        ears_V=arrays["ears_V"] / np.float32(255),
        inside_mouth_V=arrays["inside_mouth_V"] / np.float32(255),
        eyes_y=float(neutral_V3[arrays["part_V"] == EYE, 1].mean()),
    )


def mix_macros(macros: dict[str, Floats], *, male: float, old: float, origin_3: NDArray[np.floating]) -> Floats:
    """Displacement (V, 3) of a mixture of sexes, ages and origins (african, asian, caucasian), each a share."""
    total_V3 = np.zeros_like(next(iter(macros.values())))
    for sex, sex_share in (("female", 1 - male), ("male", male)):
        for age, age_share in (("young", 1 - old), ("old", old)):
            share = sex_share * age_share
            total_V3 += np.float32(share) * macros[f"universal-{sex}-{age}"]
            for origin, weight in zip(("african", "asian", "caucasian"), origin_3, strict=True):
                total_V3 += np.float32(share * weight) * macros[f"{origin}-{sex}-{age}"]
    return total_V3
