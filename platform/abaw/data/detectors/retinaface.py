"""RetinaFace (Deng et al., 2020) through uniface: box, score and five points from an ONNX file of the user's.

uniface fetches weights that it does not find. Here the file is checked first and entered in uniface's own list of
models under its path and sha256, so uniface finds it and never fetches.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abaw.data.detectors.face import Face
from abaw.data.detectors.weights import Weights, check_weights, need_extra

DEFAULT = "retinaface_mnet_v2"
SOURCE = "https://github.com/yakhyo/uniface/releases/tag/weights"


@dataclass(frozen=True)
class _LocalModel:
    """Stands for a member of uniface's `RetinaFaceWeights`: uniface looks for `<value>.onnx`."""

    value: str


class RetinaFace:
    """A `Detector`; pictures are seen at 640 x 640."""

    def __init__(self, weights: Weights) -> None:
        """Open the ONNX file."""
        constants = need_extra("uniface.constants", "detect")
        local = _LocalModel(str(weights.path.with_suffix("")))
        constants.MODEL_REGISTRY[local] = constants.ModelInfo(url=weights.path.name, sha256=weights.sha256)
        self._model = need_extra("uniface", "detect").RetinaFace(model_name=local)

    def detect(self, pixels_HWC: NDArray[np.uint8]) -> list[Face]:
        """The faces of an RGB picture."""
        found = self._model.detect(np.ascontiguousarray(pixels_HWC[:, :, ::-1]))  # it takes BGR
        return [_face(face.bbox, np.asarray(face.landmarks, np.float32), face.confidence) for face in found]


def find_onnx(path: Path | None, accepted: str | None) -> Weights:
    """The ONNX file, checked: the given one, or that of uniface's cache. BadInput when there is none or another."""
    constants = need_extra("uniface.constants", "detect")
    known = {constants.MODEL_REGISTRY[name].sha256: name.value for name in constants.RetinaFaceWeights}
    if path is None:
        path = Path(os.environ.get("UNIFACE_CACHE_DIR", "~/.uniface/models")).expanduser() / f"{DEFAULT}.onnx"
    return check_weights("retinaface", path, known=known, accepted=accepted, source=SOURCE)


def _face(box: NDArray[np.float32], points_52: NDArray[np.float32], score: float) -> Face:
    left, top, right, bottom = (float(side) for side in box)
    right_eye, left_eye, nose = points_52[:3]
    parts = {"right eye": right_eye[None], "left eye": left_eye[None], "nose": nose[None], "mouth": points_52[3:]}
    return Face(box=(left, top, right, bottom), points_52=points_52, score=float(score), key_points=parts)
