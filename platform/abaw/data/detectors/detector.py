"""What a face detector is: pixels in, faces (`abaw.data.detectors.face`) out; and which there are."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from abaw.data.detectors.face import Face
from abaw.data.detectors.face_landmarker import FaceLandmarker, find_task
from abaw.data.detectors.retinaface import RetinaFace, find_onnx
from abaw.data.detectors.weights import Weights


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
        return find_task(config.weights, config.weights_sha256)
    return find_onnx(config.weights, config.weights_sha256)


@contextmanager
def open_detector(weights: Weights) -> Iterator[Detector]:
    """The detector with these weights, for the time of a `with`; seconds the first time in a process."""
    if weights.backend == "mediapipe":
        with closing(FaceLandmarker(weights.path)) as landmarker:
            yield landmarker
        return
    yield RetinaFace(weights)
