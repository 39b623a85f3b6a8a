"""Prediction tables seen as what the scorer takes: image names, decisions and the labels that a table carries."""

from pathlib import Path

import polars as pl
import pyarrow as pa

from abaw.predictions import KEY, LABEL_PREFIX, labels_of, scores_of
from abaw.problems import refuse
from abaw.tracks import Track
from leaderboard.images import image_names
from leaderboard.predicted import Predicted
from leaderboard.truth import Truth


def predicted_of_table(table: pa.Table, track: Track, path: Path) -> Predicted:
    """The decisions that follow from the probabilities of a prediction table."""
    scores = {task.name: scores_of(table, task) for task in track.tasks}
    decided = {task.name: task.decide(scores[task.name]) for task in track.tasks}
    fold = pl.Series("fold", table["fold"].to_pylist(), dtype=pl.Int64) if "fold" in table.column_names else None
    return Predicted(path=path, image=table_images(table, track), decided=decided, scores=scores, fold=fold)


def truth_of_table(table: pa.Table, track: Track, path: Path) -> Truth:
    """The labels that a prediction table of the track carries itself. BadInput when it has none."""
    missing = [LABEL_PREFIX + c for c in track.label_columns if LABEL_PREFIX + c not in table.column_names]
    if missing:
        raise refuse(path, f"holds no labels to score against (no column {', '.join(missing)}); give --truth")
    labels = {task.name: labels_of(table, task) for task in track.tasks}
    for task in track.tasks:
        true_ND, mask_N = labels[task.name]
        if not task.valid(true_ND[mask_N]).all():
            raise refuse(path, f"its labels are not {task.range_text}: not those of track {track.name}; give --truth")
    return Truth(
        path=path,
        image=table_images(table, track),
        true={name: true for name, (true, _) in labels.items()},
        mask={name: mask for name, (_, mask) in labels.items()},
    )


def table_images(table: pa.Table, track: Track) -> pl.Series:
    """The image names (N,) of a prediction table."""
    place = table_places(table)
    return image_names(place["video"], place["frame"], track)


def table_places(table: pa.Table) -> pl.DataFrame:
    """`video` and `frame` of each row of a prediction table."""
    return pl.DataFrame([pl.Series(name, table[name].combine_chunks()) for name in KEY])
