"""From probabilities to the organisers' file: decide, fill the frames without a crop, write in template order.

A template asks for frames in which no face was found (up to 26 % of a video). They are filled from their neighbours in
time, never from another video, and their share is reported.
Legend: N rows of the prediction table, M rows of the template, C prediction columns, D label columns.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from abaw.postprocess.gaps import fill
from abaw.predictions import scores_of
from abaw.tracks import Track
from leaderboard.images import as_asked, of_stills, places, plain_names
from leaderboard.reasons import Reasons
from leaderboard.tables import table_images, table_places


def official_file(
    table: pa.Table, template: pl.DataFrame, track: Track, path: Path, *, end: str = "\n"
) -> tuple[bytes, int]:
    """The submission file of a prediction table, with line ends `end`, and how many of its rows were filled.

    BadInput names `path` and every still image, or every video, that has no prediction at all.
    """
    labels_MD, filled = decided_rows(table, template, track, path)
    return official_bytes(template, labels_MD, track, end=end), filled


def decided_rows(table: pa.Table, template: pl.DataFrame, track: Track, path: Path) -> tuple[NDArray[np.float64], int]:
    """What is stated (M, D) for the rows of the template, and how many of them were filled. BadInput as above."""
    scores_MC, filled = _scores_in_order(table, template, track, path)
    decided, start = [], 0
    for task in track.tasks:
        stop = start + len(task.columns)
        decided.append(task.decide(scores_MC[:, start:stop]))
        start = stop
    return np.concatenate(decided, axis=1), filled


def official_bytes(template: pl.DataFrame, labels_MD: NDArray[np.float64], track: Track, *, end: str = "\n") -> bytes:
    """The submission file that states `labels_MD` for the rows of the template, in its order."""
    rows = [track.format_row(image, labels_D) for image, labels_D in zip(template["image"], labels_MD, strict=True)]
    return (end.join([",".join(track.submission_header), *rows]) + end).encode()


def _scores_in_order(
    table: pa.Table, template: pl.DataFrame, track: Track, path: Path
) -> tuple[NDArray[np.float64], int]:
    """Predictions (M, C) for the rows of the template, and how many of them were filled."""
    scores_NC = np.concatenate([scores_of(table, task) for task in track.tasks], axis=1)
    plain = template.with_columns(plain_names(template["image"], track).alias("image"))
    images = as_asked(table_images(table, track), plain["image"], track)
    numbered = pl.DataFrame({"image": images}).with_row_index("row")
    joined = plain.join(numbered, on="image", how="left", maintain_order="left")
    missing_M = joined["row"].is_null().to_numpy()
    scores_MC = np.empty((len(template), scores_NC.shape[1]))
    scores_MC[~missing_M] = scores_NC[joined["row"].drop_nulls().to_numpy()]
    if missing_M.any():
        wanted = joined.filter(pl.Series(missing_M))
        known, place = table_places(table), places(wanted["image"])
        check_fillable(wanted, known["video"], track, path, "rows of the template")
        scores_MC[missing_M] = fill(scores_NC, known["video"], known["frame"], place["video"], place["frame"])
    return scores_MC, int(missing_M.sum())


def check_fillable(wanted: pl.DataFrame, video_N: pl.Series, track: Track, path: Path, asking: str) -> None:
    """Refuse what has no neighbour to be filled from: each wanted still image, and each video that is not in `video_N`.

    `asking` says what the wanted images are: "rows of the template".
    """
    reasons = Reasons()
    if of_stills(track):
        for image in wanted["image"]:
            reasons.add("missing row", path, f"no prediction for {image}; a still image cannot be filled from others")
        reasons.raise_any()
    video = places(wanted["image"])["video"]
    for name, rows in video.filter(~video.is_in(video_N.unique().to_list())).value_counts().sort("video").iter_rows():
        message = f"no prediction for any frame of video {name} ({rows:,} {asking} ask for it)"
        reasons.add("missing row", path, f"{message}; run predict on it too")
    reasons.raise_any()
