"""Cleaning: why a picture is left out. Each reason is spelled here and nowhere else; a detail may follow a colon.

As for dual-view fusion of the full face with its eyes and mouth, pictures without enough eye, brow, nose and mouth key
points are left out. Near duplicates are looked for in image sets only: neighbours in a video are alike by nature.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from abaw.data.align import Similarity
from abaw.data.detectors.face import Face

ENOUGH = 0.75
"""Share of the key points of each part (eyes, brows, nose, mouth) that must lie in the picture and in the crop."""
HASH_BITS = 64


class Reason(StrEnum):
    """Reasons of the drop table."""

    CORRUPT = "corrupt"
    CUT = "video cut"
    NO_VIDEO = "not a video"
    TOO_SMALL = "too small"
    NO_FACE = "no face"
    FEW_POINTS = "not enough key points"
    NOT_CHOSEN = "no face chosen"
    DUPLICATE = "exact duplicate"
    NEAR_DUPLICATE = "near duplicate"

    def because(self, detail: str) -> str:
        """The reason with a detail."""
        return f"{self}: {detail}"


def lacking_parts(face: Face, transform: Similarity, *, crop: int, picture: tuple[int, int]) -> list[str]:
    """Parts of the face that have fewer than `ENOUGH` of their key points inside the picture and inside the crop.

    Args:
        face: the face, in the picture.
        transform: from its crop to the picture.
        crop: side of the crop in pixels.
        picture: height and width of the picture in pixels.
    """
    height, width = picture
    return [
        part
        for part, points_N2 in face.key_points.items()
        if (_inside(points_N2, width, height) & _inside(transform.to_crop(points_N2), crop, crop)).mean() < ENOUGH
    ]


def difference_hash(pixels_HWC: NDArray[np.uint8]) -> int:
    """64 bits: whether each of 8 x 8 grey areas is darker than its right neighbour. Resizing changes few of them.

    A picture of one grey has no bit set, so that all such pictures are alike.
    """
    grey_89 = np.asarray(Image.fromarray(pixels_HWC).convert("L").resize((9, 8), Image.Resampling.BOX), np.int16)
    return int.from_bytes(np.packbits(grey_89[:, :-1] < grey_89[:, 1:]).tobytes())


def exact_duplicates(digests: Mapping[str, str]) -> dict[str, str]:
    """For each path whose digest an earlier path has, that path."""
    first: dict[str, str] = {}
    return {path: first[digest] for path, digest in digests.items() if first.setdefault(digest, path) != path}


def near_duplicates(hashes: Mapping[str, int], *, distance: int) -> dict[str, str]:
    """For each path whose hash differs in at most `distance` bits from that of an earlier path that is kept, that path.

    Two hashes that differ in at most d bits agree in one of d + 1 bands of bits, so only those are compared.
    """
    bands = list(_bands(distance + 1))
    kept: dict[tuple[int, int], list[tuple[int, str]]] = {}
    twins: dict[str, str] = {}
    for path, value in hashes.items():
        keys = [(band, value >> shift & mask) for band, (shift, mask) in enumerate(bands)]
        near = (twin for key in keys for other, twin in kept.get(key, ()) if (value ^ other).bit_count() <= distance)
        twin = next(near, None)
        if twin is not None:
            twins[path] = twin
            continue
        for key in keys:
            kept.setdefault(key, []).append((value, path))
    return twins


def duplicate_drops(rows: Iterable[tuple[str, str, int]], *, distance: int) -> list[tuple[str, str]]:
    """Drops (path, reason) of duplicates among (path, digest, hash), in order; the first of its kind is kept."""
    rows = list(rows)
    exact = exact_duplicates({path: digest for path, digest, _ in rows})
    drops = [(path, Reason.DUPLICATE.because(f"of {twin}")) for path, twin in exact.items()]
    near = near_duplicates({path: value for path, _, value in rows if path not in exact}, distance=distance)
    return drops + [(path, Reason.NEAR_DUPLICATE.because(f"of {twin}")) for path, twin in near.items()]


def _inside(points_N2: NDArray[np.float32], width: int, height: int) -> NDArray[np.bool_]:
    inside_N2 = (points_N2 >= 0) & (points_N2 <= np.array([width, height]))
    return np.asarray(inside_N2.all(axis=1))


def _bands(count: int) -> Iterator[tuple[int, int]]:
    """Shift and mask of `count` bands that hold all bits of a hash."""
    edges = [HASH_BITS * band // count for band in range(count + 1)]
    for start, end in pairwise(edges):
        yield start, (1 << (end - start)) - 1
