"""Rows of a table of frames, sorted out by video: what gap filling and smoothing walk over.

Legend: N rows (frames).
"""

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.intp]


def rows_by_video(video_N: ArrayLike | pl.Series, frame_N: ArrayLike) -> dict[str, Rows]:
    """Row numbers of each video in the order of its frames; videos sorted by name, rows given in any order.

    Raises:
        ValueError: the two have different lengths, or frames are not integers.
    """
    video = video_N if isinstance(video_N, pl.Series) else pl.Series(np.asarray(video_N, dtype=object), dtype=pl.String)
    frame = np.asarray(frame_N)
    if len(video) != len(frame):
        raise ValueError(f"{len(video)} videos but {len(frame)} frames; expected one of each a row")
    if len(frame) == 0:
        return {}
    if not np.issubdtype(frame.dtype, np.integer):
        raise ValueError(f"frame numbers must be integers, not {frame.dtype}")
    names = video.unique().sort()
    code_N = video.cast(pl.Enum(names)).to_physical().to_numpy()
    order_N = np.lexsort((frame, code_N))
    starts = np.flatnonzero(np.diff(code_N[order_N].astype(np.int64))) + 1
    return dict(zip(names.to_list(), np.split(order_N, starts), strict=True))


def predicted_rows(
    values_NC: NDArray[np.float64], video_N: ArrayLike | pl.Series, frame_N: NDArray[np.integer]
) -> dict[str, Rows]:
    """`rows_by_video` of predictions: values must be finite, (N, C), and each frame of a video there once.

    Raises:
        ValueError: what of this does not hold, with the first video and frame concerned.
    """
    if values_NC.ndim != 2 or len(values_NC) != len(frame_N):
        raise ValueError(f"predictions have shape {values_NC.shape}, expected ({len(frame_N)} frames, columns)")
    if not np.isfinite(values_NC).all():
        row = int(np.argwhere(~np.isfinite(values_NC))[0, 0])
        raise ValueError(f"the prediction in row {row} is not finite; leave out the frames that have no prediction")
    by_video = rows_by_video(video_N, frame_N)
    for video, rows in by_video.items():
        repeated = np.flatnonzero(np.diff(frame_N[rows]) == 0)
        if len(repeated):
            frame = frame_N[rows[repeated[0]]]
            raise ValueError(f"video {video} has frame {frame} more than once; expected one prediction a frame")
    return by_video
