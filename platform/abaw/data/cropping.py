"""From a picture to its face crop, or to the reason why it has none: detect, choose, align, check."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abaw.data.align import choose_face, cut_crop, eye_similarity
from abaw.data.clean import Reason, lacking_parts
from abaw.data.detectors.detector import Detector, open_detector
from abaw.data.detectors.face import Face
from abaw.data.detectors.weights import Weights
from abaw.data.manifest import Preprocessing

CROPS = "crops"
"""Folder of crops: <video>/00001.jpg, as in the official layout."""


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """How faces are cut out."""

    weights: Weights
    """Those of the detector."""
    size: int = 112
    """Side of a crop in pixels."""
    min_side: int = 32
    """A crop that covers fewer pixels of the picture on a side is too small."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What the manifest says about the crops."""
        alignment = f"similarity transform on the eyes, by {self.weights}"
        return Preprocessing(crop="eyes at .34 and .66 of the width, .46 of the height", alignment=alignment)


@dataclass(frozen=True, kw_only=True)
class Cropped:
    """What became of a picture: its crop, or why it has none."""

    crop_SSC: NDArray[np.uint8] | None
    reason: str
    """Empty where there is a crop."""
    faces: tuple[Face, ...]
    """All that were found."""
    chosen: Face | None


@contextmanager
def open_cropper(alignment: Alignment | None) -> Iterator["Cropper | None"]:
    """A cropper with its detector open for the time of a `with`; None where nothing is to be cut."""
    if alignment is None:
        yield None
        return
    with open_detector(alignment.weights) as detector:
        yield Cropper(alignment, detector)


class Cropper:
    """Cuts faces out, picture after picture; it remembers the face chosen last, for `nearest`."""

    def __init__(self, alignment: Alignment, detector: Detector) -> None:
        """Start with no face chosen."""
        self._alignment, self._detector = alignment, detector
        self._last: Face | None = None

    def crop(self, pixels_HWC: NDArray[np.uint8], choice: str) -> Cropped:
        """The face that `choice` takes, see `abaw.data.align.CHOICES`."""
        faces = tuple(self._detector.detect(pixels_HWC))
        chosen = choose_face(faces, choice, self._last)
        if chosen is None:
            why_not = Reason.NOT_CHOSEN if choice == "none" else Reason.NO_FACE
            return Cropped(crop_SSC=None, reason=str(why_not), faces=faces, chosen=None)
        self._last = chosen
        crop_SSC, reason = self._cut(pixels_HWC, chosen)
        return Cropped(crop_SSC=crop_SSC, reason=reason, faces=faces, chosen=chosen)

    def _cut(self, pixels_HWC: NDArray[np.uint8], face: Face) -> tuple[NDArray[np.uint8] | None, str]:
        size, least = self._alignment.size, self._alignment.min_side
        transform = eye_similarity(face, size)
        side = 0.0 if transform is None else abs(transform.scale_turn) * size
        if transform is None or side < least:
            return None, Reason.TOO_SMALL.because(f"the crop covers {side:.0f} pixels on a side; expected {least}")
        lacking = lacking_parts(face, transform, crop=size, picture=pixels_HWC.shape[:2])
        if lacking:
            return None, Reason.FEW_POINTS.because(", ".join(lacking))
        return cut_crop(pixels_HWC, transform, size), ""
