"""What a face detector is: pixels in, faces with a box, five points and key points out.

Coordinates are pixels of the picture, x to the right and y down, (0, 0) at the outer corner of the first pixel; they
may lie outside the picture. `Left` and `right` of a face are the person's own.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from abaw.data.detectors.weights import Weights


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


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, pixels_HWC: NDArray[np.uint8]) -> list[Face]:
        """The faces of an RGB picture; an empty list where there is none."""
        ...


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """Which detector finds faces, and where its weights lie."""

    backend: Literal["retinaface", "mediapipe"] = "retinaface"
    """retinaface: RetinaFace through uniface. mediapipe: MediaPipe's face landmarker, with key points of brows too."""
    weights: Path | None = None
    """File of weights; for retinaface the default is uniface's cache. Nothing is ever downloaded."""
    weights_sha256: str | None = None
    """Take weights with this sha256, instead of the published ones only."""


def find_weights(config: DetectorConfig) -> Weights:
    """The weights of the detector, checked; BadInput says what is missing (extra, file, sha256) and where to get it."""
    if config.backend == "mediapipe":
        from abaw.data.detectors.face_landmarker import find_task

        return find_task(config.weights, config.weights_sha256)
    from abaw.data.detectors.retinaface import find_onnx

    return find_onnx(config.weights, config.weights_sha256)


@contextmanager
def open_detector(weights: Weights) -> Iterator[Detector]:
    """The detector with these weights, for the time of a `with`; seconds the first time in a process."""
    if weights.backend == "mediapipe":
        from abaw.data.detectors.face_landmarker import FaceLandmarker

        with closing(FaceLandmarker(weights.path)) as landmarker:
            yield landmarker
        return
    from abaw.data.detectors.retinaface import RetinaFace

    yield RetinaFace(weights)
