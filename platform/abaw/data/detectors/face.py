"""A face that a detector found: its box, five points and key points.

Coordinates are pixels of the picture, x to the right and y down, (0, 0) at the outer corner of the first pixel; they
may lie outside the picture. `Left` and `right` of a face are the person's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Face:
    """One face of a picture."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom."""
    points_52: NDArray[np.float32]
    """x and y of right eye, left eye, nose, right and left corner of the mouth; an eye is its middle."""
    score: float
    """How sure the detector is, 0 to 1; 1 where it does not say."""
    key_points: Mapping[str, NDArray[np.float32]]
    """Key points (N, 2) of each part that the detector finds: eyes, brows, nose, mouth."""

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def area(self) -> float:
        """Square pixels of the box."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)
