"""Smoothing over time that keeps sharp changes (MAE-Face, section 3.4, equations 6 to 9).

    g_s[n] = sum_k x[k] h_s[n - k] / sum_k h_s[n - k],   h_s[d] = exp(-d^2 / 2 s^2)          (6, 7)
    MD(a, b) = a where |a| <= |b|, otherwise b                                              (8)
    y[n] = g_s1[n] + MD(x[n] - g_s2[n], x[n] - g_s3[n])                                     (9)

The paper's equation 6 prints 1 / sqrt(2 pi s), which does not sum to one; here the weights are normalised. Both sums
run over the frames k of the same video that have a prediction, so n - k is the true distance in frames where frames
are sparse or missing, and values at the ends of a video are not pulled towards zero. A gap of more frames than
`gap_limit` ends a video: what lies beyond it has no weight.

Legend: N rows (frames), C columns, T frame numbers of one video from its first to its last.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

from abaw.postprocess.rows import Rows, predicted_rows

Floats = NDArray[np.float64]
AnyFloats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """Gaussian smoothing that keeps sharp changes (MAE-Face, eq. 6-9). ValueError where widths do not fit."""

    sigma1: float = 12.0
    """Width of the base filter, in frames. At least as large as the other two; 0 leaves predictions as they are."""
    sigma2: float = 4.0
    """Width of a detail filter, in frames: what it removes is detail. 0: no detail is put back, a plain Gaussian."""
    sigma3: float = 2.0
    """Width of the other detail filter, in frames. Of the two details the smaller one is put back."""
    truncate: float = 4.0
    """Frames further away than this many widths have no weight."""
    gap_limit: int = 0
    """Frames without a prediction between two with one across which smoothing reaches at most; 0 sets no limit."""

    def __post_init__(self) -> None:
        sigmas = (self.sigma1, self.sigma2, self.sigma3)
        if not all(np.isfinite(sigma) and sigma >= 0 for sigma in sigmas):
            raise ValueError(f"smoothing widths must be 0 or more frames, not {sigmas}")
        if self.sigma1 < max(sigmas):
            raise ValueError(f"sigma1 must be at least sigma2 and sigma3 (MAE-Face, eq. 9), not {sigmas}")
        if not self.truncate > 0:
            raise ValueError(f"truncate must be more than 0 widths, not {self.truncate}")
        if self.gap_limit < 0:
            raise ValueError(f"gap_limit must be 0, which sets none, or more frames, not {self.gap_limit}")


NO_SMOOTHING = Smoothing(sigma1=0.0, sigma2=0.0, sigma3=0.0)
"""Leaves every prediction as it is."""


def smooth(
    values_NC: ArrayLike, video_N: ArrayLike | pl.Series, frame_N: ArrayLike, smoothing: Smoothing
) -> NDArray[np.float64]:
    """Smoothed values (N, C), each video on its own, rows in the order given, which may be any.

    Smoothed class probabilities need not sum to one and may leave [0, 1] by the detail that is put back.

    Raises:
        ValueError: lengths differ, a value is not finite, or a frame of a video comes twice.
    """
    values, frames = np.asarray(values_NC, dtype=np.float64), np.asarray(frame_N)
    return smooth_rows(values, predicted_rows(values, video_N, frames).values(), frames, smoothing)


def smooth_rows(
    values_NC: Floats, videos: Iterable[Rows], frame_N: NDArray[np.integer], smoothing: Smoothing
) -> Floats:
    """`smooth` for rows that are sorted out by video already; rows of no video stay as they are."""
    if smoothing.sigma1 == 0:
        return values_NC.copy()
    pieces = cut_at_gaps(videos, frame_N, smoothing.gap_limit)
    widths = (smoothing.sigma1, smoothing.sigma2, smoothing.sigma3)
    filtered = (filter_rows(values_NC, pieces, frame_N, sigma, smoothing.truncate) for sigma in widths)
    return put_together(values_NC, *filtered).astype(np.float64, copy=False)


def cut_at_gaps(videos: Iterable[Rows], frame_N: NDArray[np.integer], gap_limit: int) -> list[Rows]:
    """The rows of each video, sorted by frame, in pieces without a gap of more than `gap_limit` frames."""
    if gap_limit == 0:
        return list(videos)
    pieces: list[Rows] = []
    for rows in videos:
        # Neighbouring frames differ by one, and nothing is missing between them.
        pieces += np.split(rows, np.flatnonzero(np.diff(frame_N[rows].astype(np.int64)) - 1 > gap_limit) + 1)
    return pieces


def filter_rows(
    values_NC: Floats, pieces: Iterable[Rows], frame_N: NDArray[np.integer], sigma: float, truncate: float
) -> Floats:
    """Equation 7 on each piece of a video; rows of no piece, and all where `sigma` is 0, stay as they are."""
    filtered_NC = values_NC.copy()
    if sigma > 0:
        for rows in pieces:
            at_N = frame_N[rows].astype(np.int64) - int(frame_N[rows[0]])
            filtered_NC[rows] = _gaussian(values_NC[rows], at_N, sigma, truncate)
    return filtered_NC


def put_together(x_NC: AnyFloats, base_NC: AnyFloats, filtered2_NC: AnyFloats, filtered3_NC: AnyFloats) -> AnyFloats:
    """Equation 9 from the values and what the three filters made of them."""
    detail2, detail3 = x_NC - filtered2_NC, x_NC - filtered3_NC
    return np.asarray(base_NC + np.where(np.abs(detail2) <= np.abs(detail3), detail2, detail3))


def _gaussian(x_NC: Floats, at_N: NDArray[np.int64], sigma: float, truncate: float) -> Floats:
    """Equation 7 over the frames that exist: the filtered values over the filtered presence of a value."""
    grid_TC = np.zeros((int(at_N[-1]) + 1, x_NC.shape[1] + 1))
    grid_TC[at_N, :-1] = x_NC
    grid_TC[at_N, -1] = 1.0
    summed_TC = gaussian_filter1d(grid_TC, sigma, axis=0, mode="constant", cval=0.0, truncate=truncate)
    return np.asarray(summed_TC[at_N, :-1] / summed_TC[at_N, -1:])
