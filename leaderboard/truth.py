"""The labels to score against: an annotation folder, a multi-task list, or a file in submission form.

Legend: N rows (frames), D label columns of a task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.annotations import find_annotation_folder, read_annotations, read_mtl_list
from abaw.problems import refuse
from abaw.tracks import TRACKS, Track
from leaderboard.images import image_names
from leaderboard.submissions import read_submission

MTL = TRACKS["mtl"]
LIST_ENDING = "_set_annotations.txt"
"""How the names of the organisers' multi-task lists end."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Labels by frame; the keys of the mappings are the names of the track's tasks."""

    path: Path
    image: pl.Series
    """Names (N,), each once."""
    true: Mapping[str, NDArray[np.float64]]
    """Labels (N, D) of each task, NaN where not annotated."""
    mask: Mapping[str, NDArray[np.bool_]]
    """Rows (N,) that have every label of the task."""


def read_truth(path: Path, track: Track) -> Truth:
    """Read whichever form `path` has. BadInput holds every bad line, or says which forms were expected."""
    if path.is_dir():
        return _from_folder(path, track)
    if not path.is_file():
        expected = "an annotation folder, a multi-task list or a file in submission form"
        raise refuse(path, f"no such file or folder; expected the truth of track {track.name}: {expected}")
    if _is_mtl_list(path):
        return _from_list(path, track)
    rows, reasons = read_submission(path, track, truth=True)
    reasons.raise_any()
    assert rows is not None
    return _from_labels(rows["image"], rows, track, path)


def _is_mtl_list(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(1000).decode("utf-8-sig", errors="replace")
    return tuple(name.strip() for name in first.split(",")) == MTL.submission_header


def _from_folder(path: Path, track: Track) -> Truth:
    if track == MTL:
        lists = sorted(path.glob(f"*{LIST_ENDING}"))
        if len(lists) == 1:
            return _from_list(lists[0], track)
        found = f"several; name one: {', '.join(map(str, lists))}" if lists else "none"
        raise refuse(path, f"track mtl is scored against a list *{LIST_ENDING}; this folder holds {found}")
    table = read_annotations(find_annotation_folder(path, track), track.tasks[0])
    return _from_annotations(table, track, path)


def _from_list(path: Path, track: Track) -> Truth:
    if not set(track.tasks) <= set(MTL.tasks):
        raise refuse(path, f"a multi-task list; it holds no labels of track {track.name} ({track.title})")
    return _from_annotations(read_mtl_list(path), track, path)


def _from_annotations(table: pl.DataFrame, track: Track, path: Path) -> Truth:
    labels = table.select(pl.col(track.label_columns).cast(pl.Float64))
    return _from_labels(image_names(table["video"], table["frame"], track), labels, track, path)


def _from_labels(image: pl.Series, labels: pl.DataFrame, track: Track, path: Path) -> Truth:
    columns = labels.select(pl.col(track.label_columns).fill_null(np.nan))
    true = {task.name: columns.select(task.label_columns).to_numpy() for task in track.tasks}
    mask = {name: ~np.isnan(true_ND).any(axis=1) for name, true_ND in true.items()}
    return Truth(path=path, image=image, true=true, mask=mask)
