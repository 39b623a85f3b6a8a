"""MediaPipe's face landmarker: 478 key points a face, from a `face_landmarker.task` file given by path.

Its first stage sees the picture at 128 x 128, so a face that is small in the picture is not found.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abaw.data.detectors.face import Face
from abaw.data.detectors.weights import Weights, check_weights, need_extra
from abaw.problems import refuse

PUBLISHED = {"64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff": "face_landmarker float16/1"}
SOURCE = "https://ai.google.dev/edge/mediapipe/solutions/vision/face_landmarker#models"
MOST_FACES = 10
PARTS = {
    "right eye": "FACE_LANDMARKS_RIGHT_EYE",
    "left eye": "FACE_LANDMARKS_LEFT_EYE",
    "right brow": "FACE_LANDMARKS_RIGHT_EYEBROW",
    "left brow": "FACE_LANDMARKS_LEFT_EYEBROW",
    "nose": "FACE_LANDMARKS_NOSE",
    "mouth": "FACE_LANDMARKS_LIPS",
}
EYE_CORNERS, NOSE_TIP, MOUTH_CORNERS = ((33, 133), (362, 263)), 1, (61, 291)
"""Places among the key points. An eye is the middle of its corners: an iris moves with the gaze."""


class FaceLandmarker:
    """A `Detector`; it says no score, so that of every face is 1."""

    def __init__(self, task: Path) -> None:
        """Open a `.task` file."""
        self._mediapipe: Any = need_extra("mediapipe", "detect")
        tasks = need_extra("mediapipe.tasks.python", "detect")
        options = tasks.vision.FaceLandmarkerOptions(
            base_options=tasks.BaseOptions(model_asset_path=str(task)), num_faces=MOST_FACES
        )
        self._landmarker = tasks.vision.FaceLandmarker.create_from_options(options)
        self._parts = {
            part: sorted({end for edge in getattr(tasks.vision.FaceLandmarksConnections, name) for end in _ends(edge)})
            for part, name in PARTS.items()
        }

    def detect(self, pixels_HWC: NDArray[np.uint8]) -> list[Face]:
        """The faces of an RGB picture, ten at most."""
        height, width = pixels_HWC.shape[:2]
        picture = self._mediapipe.Image(
            image_format=self._mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(pixels_HWC)
        )
        found = self._landmarker.detect(picture).face_landmarks
        return [self._face(np.array([[p.x * width, p.y * height] for p in marks], np.float32)) for marks in found]

    def close(self) -> None:
        """Let go of the model. One that is left to the garbage collector can wait for ever for its own thread."""
        self._landmarker.close()

    def _face(self, points_N2: NDArray[np.float32]) -> Face:
        eyes = [points_N2[list(corners)].mean(axis=0) for corners in EYE_CORNERS]
        left, top = points_N2.min(axis=0)
        right, bottom = points_N2.max(axis=0)
        return Face(
            box=(float(left), float(top), float(right), float(bottom)),
            points_52=np.stack([*eyes, points_N2[NOSE_TIP], *points_N2[list(MOUTH_CORNERS)]]),
            score=1.0,
            key_points={part: points_N2[places] for part, places in self._parts.items()},
        )


def find_task(path: Path | None, accepted: str | None) -> Weights:
    """The model file, checked; BadInput when MediaPipe or the file is not there or the file is another."""
    need_extra("mediapipe", "detect")
    if path is None:
        raise refuse("--weights", f"mediapipe needs its face_landmarker.task; get it from {SOURCE} and give its path")
    return check_weights("mediapipe", path, known=PUBLISHED, accepted=accepted, source=SOURCE)


def _ends(edge: Any) -> tuple[int, int]:
    return edge.start, edge.end
