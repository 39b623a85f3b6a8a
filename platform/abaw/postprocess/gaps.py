"""Predictions for frames that have none, from the neighbours in time of the same video.

The organisers ask for rows of frames that have no crop (no face was found), up to a quarter of a video. Values and
probabilities are interpolated linearly over true frame distance and held before the first and after the last known
frame. Nothing ever crosses from one video to another.

Legend: N known frames, M wanted frames, C columns.
"""

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from abaw.postprocess.rows import predicted_rows, rows_by_video
from abaw.problems import BadInput, Problem


def fill(
    values_NC: ArrayLike,
    video_N: ArrayLike | pl.Series,
    frame_N: ArrayLike,
    wanted_video_M: ArrayLike | pl.Series,
    wanted_frame_M: ArrayLike,
) -> NDArray[np.float64]:
    """Values (M, C) at the wanted frames; rows come in any order, and known frames keep their value exactly.

    Raises:
        ValueError: lengths differ, a known value is not finite, or a frame is known twice.
        BadInput: a wanted video has no known frame at all; every such video is listed.
    """
    values, frames, wanted_frames = (
        np.asarray(values_NC, dtype=np.float64),
        np.asarray(frame_N),
        np.asarray(wanted_frame_M),
    )
    known = predicted_rows(values, video_N, frames)
    wanted = rows_by_video(wanted_video_M, wanted_frames)
    message = "no frame of this video has a prediction to fill its rows from; predict at least one of its frames"
    if problems := [Problem(path=video, message=message) for video in wanted if video not in known]:
        raise BadInput(problems)
    filled_MC = np.empty((len(wanted_frames), values.shape[1]))
    for video, wanted_rows in wanted.items():
        rows, at = known[video], wanted_frames[wanted_rows]
        for column in range(values.shape[1]):
            filled_MC[wanted_rows, column] = np.interp(at, frames[rows], values[rows, column])
    return filled_MC
