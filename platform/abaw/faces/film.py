"""The renderer: a person, an acted moment and a camera setting become the pixels of one aligned face crop."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from abaw.faces import raster
from abaw.faces.action_units import facial_basis, gaze_units
from abaw.faces.asset import EYE, LASHES, SKIN, load_asset
from abaw.faces.paint import COLUMNS, ROWS, crease_targets, texture_coordinates
from abaw.faces.people import Person
from abaw.faces.shading import VALUES, Light, light, paint_ellipse, shade

Floats = NDArray[np.float32]

SUPERSAMPLING = 2
"""Samples of a pixel in each direction; `shading.shade` is written for two."""
CAMERA_DISTANCE = 11.0
"""Decimetres from the face to the camera."""
CROP_WIDTH = 1.86
"""Decimetres that the crop shows at the depth of the eyes: those lie about a third of the width apart."""
EYES_AT = 0.44
"""Height of the eyes in the crop, as a share from the top."""
PIVOT_BELOW_EYES, PIVOT_Z = 0.75, 0.35


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What a face does in one frame."""

    left_U: Floats
    """Action-unit intensities of the person's left half, 0 to 1; `right_U` of the right half."""
    right_U: Floats
    gaze: tuple[float, float] = (0.0, 0.0)
    """Yaw and pitch of the eyes, -1 to 1."""
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Yaw, pitch and roll of the head, radians."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Error of the alignment, as a share of the crop, to the right and down."""
    zoom: float = 1.0


@lru_cache(maxsize=1)
def _fixed() -> tuple[NDArray[np.int32], NDArray[np.int8], Floats, Floats]:
    """What no person changes: triangles and their part (ears and lower lashes taken out of both), spacing, eye axes."""
    asset = load_asset()
    triangle_T3 = asset.triangles_T3
    lower_lash_T = (asset.part_V[triangle_T3[:, 0]] == LASHES) & (
        asset.neutral_V3[triangle_T3, 1].mean(1) < asset.eyes_y
    )
    triangle_T3 = np.ascontiguousarray(triangle_T3[~lower_lash_T])
    part_T = asset.part_V[triangle_T3[:, 0]].copy()
    part_T[(asset.ears_V[triangle_T3] > 0.5).all(axis=1) & (part_T == SKIN)] = LASHES  # unpainted
    edge_T = np.linalg.norm(asset.neutral_V3[triangle_T3[:, 0]] - asset.neutral_V3[triangle_T3[:, 1]], axis=1)
    total_V, count_V = np.zeros(len(asset.part_V)), np.full(len(asset.part_V), 1e-9)
    for corner_T in triangle_T3.T:
        np.add.at(total_V, corner_T, edge_T)
        np.add.at(count_V, corner_T, 1)
    axis_V3 = np.zeros((len(asset.part_V), 3), np.float32)
    for side in (1, -1):
        eye_V = (asset.part_V == EYE) & (asset.neutral_V3[:, 0] * side > 0)
        axis_V3[eye_V] = asset.neutral_V3[eye_V] - asset.neutral_V3[eye_V].mean(axis=0)
    return triangle_T3, part_T, (total_V / count_V + 1e-6).astype(np.float32), axis_V3


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """Matrix of a head turn: yaw to the person's left, pitch down, roll towards the image's right, in radians."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn_33 = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod_33 = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt_33 = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(tilt_33 @ nod_33 @ turn_33, np.float32)


class Renderer:
    """Draws one person under one light into crops of `size` pixels; holds the buffers that frames share."""

    def __init__(self, person: Person, light: Light, background_HW3: Floats, size: int) -> None:
        asset = load_asset()
        self.person, self.light, self.size = person, light, size
        self.lamp_43 = light.rows_43
        self.triangle_T3, self.part_T, self.spacing_V, axis_V3 = _fixed()
        side = size * SUPERSAMPLING
        assert background_HW3.shape == (size, size, 3), "the background has the size of the crop"
        self.background_HW3 = background_HW3
        self.value_V8 = np.zeros((len(asset.part_V), VALUES), np.float32)
        self.value_V8[:, 5:7] = texture_coordinates()
        self.value_V8[asset.part_V == EYE, :3] = axis_V3[asset.part_V == EYE]
        self.point_V3, self.screen_V3, self.normal_V3 = (np.empty_like(person.point_V3) for _ in range(3))
        self.cavity_V = np.empty(len(person.point_V3), np.float32)
        self.uncreased_P1 = np.ones((ROWS * COLUMNS, 1), np.float32)
        self.crease_P1 = np.empty_like(self.uncreased_P1)
        self.depth_HW = np.empty((side, side), np.float32)
        self.owner_HW = np.empty((side, side), np.int32)
        self.eyes_3 = person.point_V3[asset.part_V == EYE].mean(axis=0)
        self.pivot_3 = np.array([0, self.eyes_3[1] - PIVOT_BELOW_EYES, PIVOT_Z], np.float32)

    def draw(self, moment: Moment) -> Floats:
        """The crop (size, size, 3) as the lens sees it, about 0 to 1, before the camera spoils it."""
        asset = load_asset()
        basis_2UK = facial_basis()
        weight_K = (moment.left_U[:, None] * basis_2UK[0] + moment.right_U[:, None] * basis_2UK[1]).sum(axis=0)
        for row, weight in gaze_units(*moment.gaze).items():
            weight_K[row] += weight
        raster.displace(self.person.point_V3, weight_K, *asset.unit_moves, self.point_V3)
        back = self._project(moment)
        raster.surface(self.point_V3, self.triangle_T3, self.spacing_V, self.normal_V3, self.cavity_V)
        light(self.normal_V3, self.cavity_V, self.person.colour_V3, asset.part_V, self.lamp_43, self.value_V8)
        depth_K = np.concatenate([moment.left_U, moment.right_U]) * np.float32(self.person.wrinkles)
        raster.displace(self.uncreased_P1, depth_K, *crease_targets(), self.crease_P1)
        crop_HW3 = self.background_HW3.copy()
        if self.person.long_hair:
            paint_ellipse(crop_HW3, self.person.hair_3 * self.light.ambient_3, *back, 0.16)
        raster.visible(self.screen_V3, self.triangle_T3, self.depth_HW, self.owner_HW)
        shade(
            self.owner_HW,
            self.screen_V3,
            self.triangle_T3,
            self.part_T,
            self.value_V8,
            self.person.paint_HW3,
            self.crease_P1.reshape(ROWS, COLUMNS),
            self.person.iris_3,
            self.lamp_43,
            crop_HW3,
        )
        return crop_HW3

    def _project(self, moment: Moment) -> tuple[float, float, float, float]:
        """Set `screen_V3`, and return the ellipse (x, y, rx, ry) of the hair behind the head.

        As an aligned crop does, it keeps the point between the eyes where it belongs. Turns `point_V3` in place.
        """
        turn_33 = rotation(*moment.turn)
        eyes_3 = turn_33 @ (self.eyes_3 - self.pivot_3)
        side = self.size * SUPERSAMPLING
        eye_scale = float(side / CROP_WIDTH * moment.zoom)
        scale = eye_scale * (CAMERA_DISTANCE - float(eyes_3[2]))
        left = side * (0.5 + moment.shift[0]) - float(eyes_3[0]) * eye_scale
        top = side * (EYES_AT + moment.shift[1]) + float(eyes_3[1]) * eye_scale
        corner_2 = np.array([left, top], np.float32)
        raster.project(self.point_V3, self.pivot_3, turn_33, CAMERA_DISTANCE, scale, corner_2, self.screen_V3)
        behind_3 = turn_33 @ np.array([0, 0.55, -0.1], np.float32)
        x, y = left + float(behind_3[0]) * eye_scale, top - float(behind_3[1]) * eye_scale
        radius = self.person.long_hair * eye_scale / SUPERSAMPLING
        return x / SUPERSAMPLING, y / SUPERSAMPLING, radius, 1.5 * radius
