"""Action units of the acted faces, and how each one moves the mesh.

FACS (Ekman and Friesen) describes action units; the asset moves by 52 facial units with ARKit names. The table maps
one to the other by hand. Twelve units are labelled (`abaw.tracks.ACTION_UNITS`); the others complete the expressions.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from abaw.faces.asset import load_asset
from abaw.tracks import ACTION_UNITS

# A name without a side stands for its Left and Right pair. Weights above 1 exaggerate: the targets are timid.
FACIAL_UNITS: dict[str, dict[str, float]] = {
    "AU1": {"browInnerUp": 1.5},
    "AU2": {"browOuterUp": 1.3},
    "AU4": {"browDown": 1.4},
    "AU6": {"cheekSquint": 1.5, "eyeSquint": 0.4},
    "AU7": {"eyeSquint": 1.8},
    "AU10": {"mouthUpperUp": 1.6, "noseSneer": 0.5},
    "AU12": {"mouthSmile": 0.9},
    "AU15": {"mouthFrown": 1.5},
    "AU23": {"mouthRollLower": 1.0, "mouthRollUpper": 0.9},
    "AU24": {"mouthPress": 1.6, "mouthShrugLower": 0.4},
    "AU25": {"mouthLowerDown": 0.8, "mouthUpperUp": 0.4, "jawOpen": 0.2},
    "AU26": {"jawOpen": 0.75},
    "AU5": {"eyeWide": 1.4},
    "AU9": {"noseSneer": 1.6},
    "AU14": {"mouthDimple": 1.7},
    "AU17": {"mouthShrugLower": 1.0, "mouthShrugUpper": 0.4},
    "AU18": {"mouthPucker": 1.1},
    "AU20": {"mouthStretch": 1.3},
    "AU43": {"eyeBlink": 1.0},
}
UNITS = tuple(FACIAL_UNITS)
"""Every modelled unit; the twelve labelled ones come first, in the order of their labels."""
LABELLED = len(ACTION_UNITS)
assert UNITS[:LABELLED] == ACTION_UNITS, "label columns and modelled units must line up"


def vector(**intensities: float) -> NDArray[np.float64]:
    """Intensities (U,) with the named units set: `vector(AU6=0.8, AU12=1.0)`."""
    values_U = np.zeros(len(UNITS))
    for name, value in intensities.items():
        values_U[UNITS.index(name)] = value
    return values_U


@lru_cache(maxsize=1)
def facial_basis() -> NDArray[np.float32]:
    """Weights (2, U, K) that turn action-unit intensities of the left and right half into facial units.

    A facial unit without sides (`jawOpen`) takes half from each.
    """
    names = load_asset().units
    basis_2UK = np.zeros((2, len(UNITS), len(names)), np.float32)
    for u, parts in enumerate(FACIAL_UNITS.values()):
        for part, weight in parts.items():
            if part in names:
                basis_2UK[:, u, names[part]] = weight / 2
            else:
                basis_2UK[0, u, names[part + "Left"]] = weight
                basis_2UK[1, u, names[part + "Right"]] = weight
    return basis_2UK


def gaze_units(yaw: float, pitch: float) -> dict[int, float]:
    """Facial units (row, weight) of a gaze, -1 to 1 each; positive looks to the person's left and up."""
    names = load_asset().units
    sides = ("eyeLookOutLeft", "eyeLookInRight") if yaw > 0 else ("eyeLookInLeft", "eyeLookOutRight")
    heights = ("eyeLookUpLeft", "eyeLookUpRight") if pitch > 0 else ("eyeLookDownLeft", "eyeLookDownRight")
    return {names[n]: abs(yaw) for n in sides} | {names[n]: abs(pitch) for n in heights}
