"""The labels to score against: an annotation folder, a multi-task list, a file in submission form, or class folders.

Legend: N rows (frames), D label columns of a task.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.annotations import annotation_sets, find_annotation_folder, read_annotations, read_mtl_list
from abaw.problems import refuse
from abaw.tracks import TRACKS, Track
from leaderboard.class_folders import read_class_folders
from leaderboard.images import image_names, last_frames, places, plain_names
from leaderboard.submissions import read_submission

LSD, MTL = TRACKS["lsd"], TRACKS["mtl"]
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
    by_line: bool = False
    """The labels are lines of annotation files, which may go on after the last frame of a video."""

    @property
    def labelled_N(self) -> NDArray[np.bool_]:
        """Rows (N,) that have a label of at least one task."""
        return np.asarray(np.logical_or.reduce(list(self.mask.values())))

    @property
    def labelled(self) -> pl.Series:
        """Names of the frames that have a label of at least one task."""
        return self.image.filter(pl.Series(self.labelled_N))


def within(truth: Truth, image: pl.Series) -> tuple[Truth, int]:
    """The truth without the labelled lines after the last predicted frame of a video, and how many labels these are.

    Annotation files have such lines: decoded videos end a frame or more before their labels. `image` are the predicted
    names (M,). A video without any prediction is kept whole.
    """
    if not truth.by_line or truth.image.equals(image):
        return truth, 0
    place = places(truth.image).join(last_frames(image), on="video", how="left", maintain_order="left")
    kept = (place["last"].is_null() | (place["frame"] <= place["last"])).to_numpy()
    if kept.all():
        return truth, 0
    true = {name: true_ND[kept] for name, true_ND in truth.true.items()}
    mask = {name: mask_N[kept] for name, mask_N in truth.mask.items()}
    shorter = Truth(path=truth.path, image=truth.image.filter(pl.Series(kept)), true=true, mask=mask, by_line=True)
    return shorter, int((truth.labelled_N & ~kept).sum())


def read_truth(path: Path, track: Track) -> Truth:
    """Read whichever form `path` has. BadInput holds every bad line, or says which forms were expected."""
    if path.is_dir() or (track == MTL and _challenge_sets(path)):
        return _from_folder(path, track)
    if not path.is_file():
        expected = "an annotation folder, a multi-task list or a file in submission form"
        expected = "class folders of images, or a file in submission form" if track == LSD else expected
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
        if sets := _challenge_sets(path):
            return _from_challenges(sets, path)
        lists = sorted(path.glob(f"*{LIST_ENDING}"))
        if len(lists) == 1:
            return _from_list(lists[0], track)
        found = f"several; name one: {', '.join(map(str, lists))}" if lists else "none"
        expected = f"a list *{LIST_ENDING} or the folders of all three challenges"
        raise refuse(path, f"track mtl is scored against {expected}; this folder holds {found}")
    if track == LSD:
        table = read_class_folders(path)
        return _from_labels(table["image"], table.select(pl.col("expression").cast(pl.Float64)), track, path)
    if track.folders and not annotation_sets(path, track) and (lists := sorted(path.glob(f"*{LIST_ENDING}"))):
        names = ", ".join(map(str, lists))
        message = f"holds multi-task lists and no annotations of track {track.name}; name one ({names}), or the folder"
        raise refuse(path, f"{message} of {' or '.join(track.folders)}")
    table = read_annotations(find_annotation_folder(path, track), track.tasks[0])
    return replace(_from_annotations(table, track, path), by_line=True)


def _challenge_sets(path: Path) -> dict[str, Path]:
    """The annotation folder of each task below `path`, or below its parent in the sets named as `path`; none or three.

    So `annotations` may hold one set of each challenge, and `annotations/Validation_Set` names one of several, though
    there is no such folder: `annotations/VA_Estimation_Challenge/Validation_Set` and the others are read.
    """
    found = {}
    for task in MTL.tasks:
        track = TRACKS[task.name]
        for sets in (annotation_sets(path, track), annotation_sets(path.parent, track)):
            own = sets if sets and sets[0].parent.parent == path else [one for one in sets if one.name == path.name]
            if own and task.name not in found:
                if len(own) > 1:
                    names = ", ".join(str(path / one.name) for one in own)
                    raise refuse(path, f"holds several sets of track {track.name}; name one: {names}")
                found[task.name] = own[0]
    return found if len(found) == len(MTL.tasks) else {}


def _from_challenges(sets: Mapping[str, Path], path: Path) -> Truth:
    """The labels of all three challenges, frame by frame; a frame that one of them lacks has no label of it."""
    tables = [read_annotations(sets[task.name], task) for task in MTL.tasks]
    joined = tables[0]
    for table in tables[1:]:
        joined = joined.join(table, on=["video", "frame"], how="full", coalesce=True)
    return replace(_from_annotations(joined.sort("video", "frame"), MTL, path), by_line=True)


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
    return Truth(path=path, image=plain_names(image, track), true=true, mask=mask)
