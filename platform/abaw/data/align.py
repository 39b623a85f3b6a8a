"""Face crops: one face a picture by a stated rule, and a similarity transform that puts its eyes on fixed places.

The eyes of a crop lie at .34 and .66 of its width and .46 of its height, which puts the mouth near .8: inside the views
of eyes and mouth that dual-view fusion cuts out (eyes at .35-.55 of the height, mouth at .7-.9).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from abaw.data.detectors.face import Face

RIGHT_EYE, LEFT_EYE = (0.34, 0.46), (0.66, 0.46)
"""Where the eyes go, in sides of the crop. The person's right eye is on the left."""
Choice = Literal["largest", "left", "right", "nearest", "none"]
CHOICES: tuple[str, ...] = get_args(Choice)
"""largest: largest box. left, right: its middle lies most to the left or right of the picture. nearest: its middle is
nearest to that of the face chosen last, the largest as long as there was none. none: the frames are dropped."""


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Crop to picture: x + iy of the picture = scale_turn * (x + iy of the crop) + shift."""

    scale_turn: complex
    """Its size is the number of picture pixels in the side of a pixel of the crop."""
    shift: complex

    def to_crop(self, points_N2: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points of the picture in pixels of the crop."""
        points_N = (points_N2[:, 0] + 1j * points_N2[:, 1] - self.shift) / self.scale_turn
        return np.stack([points_N.real, points_N.imag], axis=1).astype(np.float32)


def eye_similarity(face: Face, size: int) -> Similarity | None:
    """The transform of a crop of `size` pixels that puts the eyes in their places; None where the eyes coincide."""
    right, left = (complex(*face.points_52[eye].tolist()) for eye in (0, 1))
    to_right, to_left = complex(*RIGHT_EYE) * size, complex(*LEFT_EYE) * size
    scale_turn = (left - right) / (to_left - to_right)
    if scale_turn == 0:
        return None
    return Similarity(scale_turn=scale_turn, shift=right - scale_turn * to_right)


def cut_crop(pixels_HWC: NDArray[np.uint8], transform: Similarity, size: int) -> NDArray[np.uint8]:
    """The crop (size, size, 3); bilinear, averaged first where it is smaller than in the picture, black outside."""
    image = Image.fromarray(pixels_HWC)
    factor = max(1, int(abs(transform.scale_turn)))
    if factor > 1:
        image = image.reduce(factor)
    turn, shift = transform.scale_turn / factor, transform.shift / factor
    rows = (turn.real, -turn.imag, shift.real, turn.imag, turn.real, shift.imag)
    crop = image.transform((size, size), Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)
    return np.asarray(crop)


def choose_face(faces: Sequence[Face], choice: str, last: Face | None) -> Face | None:
    """One of the faces by a rule of `CHOICES`, given the face chosen last; None where there is none.

    Of equal faces the first is taken. ValueError for an unknown rule.
    """
    if not faces or choice == "none":
        return None
    if choice == "left":
        return min(faces, key=lambda face: face.centre[0])
    if choice == "right":
        return max(faces, key=lambda face: face.centre[0])
    if choice == "nearest" and last is not None:
        x, y = last.centre
        return min(faces, key=lambda face: (face.centre[0] - x) ** 2 + (face.centre[1] - y) ** 2)
    if choice in ("largest", "nearest"):
        return max(faces, key=lambda face: face.area)
    raise ValueError(f"unknown rule {choice!r}; expected {', '.join(CHOICES)}")
