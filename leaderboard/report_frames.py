"""What only frames can show, from the submission files that the store names and the truth: densities and timelines.

Frames of videos that the track's rules hide are dropped before anything is drawn (`leaderboard.split.is_visible`).
Legend: N rows (frames), D label columns of a task, B bins of a timeline, L lanes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.problems import refuse
from abaw.tracks import Task, Track
from leaderboard import report_paths as paths
from leaderboard.board import Row
from leaderboard.images import of_stills, places
from leaderboard.predicted import Predicted, predicted_of_rows
from leaderboard.schema import Rules
from leaderboard.scoring import TABLE_SUFFIX
from leaderboard.split import is_visible
from leaderboard.submissions import read_submission
from leaderboard.truth import Truth, read_truth

Floats = NDArray[np.float64]
BELOW = 8
"""Where in its lane the raw prediction is drawn: below the submitted one, so that both are seen."""


@dataclass(frozen=True, kw_only=True)
class Density:
    """Frames as squares in a grid; `x` and `y` name the axes, which go from -1 to 1."""

    x: str
    y: str
    squares: tuple[tuple[float, str], ...]
    """Sides and SVG paths, 20 by 20."""
    outline: str = ""
    """Squares of the truth in the same plane, as one path."""
    mean: str = ""
    """The mean y along x."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One picture of a timeline: a line (valence, arousal), or lanes (classes, action units), as SVG paths."""

    name: str
    lanes: tuple[str, ...]
    """Names of the lanes, from the top; empty for a line."""
    truth: str
    raw: str
    """Empty where there is none."""
    predicted: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A video from its first row to its last."""

    video: str
    bins: int
    rows: int
    first: int
    """Frame of the first row."""
    last: int
    curves: tuple[Curve, ...]


def read_shown_truth(path: Path, track: Track, rules: Rules) -> Truth:
    """The labels of the videos that the board shows. BadInput as `read_truth`."""
    truth = read_truth(path, track)
    video = places(truth.image)["video"]
    shown = [one for one in video.unique() if is_visible(one, rules)]
    kept = video.is_in(shown).to_numpy()
    return replace(
        truth,
        image=truth.image.filter(pl.Series(kept)),
        true={name: true_ND[kept] for name, true_ND in truth.true.items()},
        mask={name: mask_N[kept] for name, mask_N in truth.mask.items()},
    )


def read_entry(row: Row, track: Track) -> Predicted | str:
    """The predictions of an entry from its file, or why they cannot be had."""
    path = Path(row.file)
    try:
        data = path.read_bytes()
    except OSError as error:
        return f"its file {path.name} cannot be read ({error.strerror})"
    if hashlib.sha256(data).hexdigest() != row.sha256:
        return f"its file {path.name} has changed since it was submitted"
    return _read_file(path, track)


def read_raw(path: Path | None, tables: Sequence[str], track: Track) -> Predicted | None:
    """Predictions before they were smoothed, from a prediction table or a submission file.

    Without a `path`, what the entry's own prediction tables were before (`leaderboard.raw`), None where they were not
    smoothed. BadInput holds every reason.
    """
    if path is not None and path.suffix != TABLE_SUFFIX:
        return _read_file(path, track)
    from abaw.predictions import read_predictions
    from leaderboard.raw import raw_table
    from leaderboard.tables import predicted_of_table

    table = raw_table([Path(one) for one in tables], track) if path is None else read_predictions(path, track)
    return None if table is None else predicted_of_table(table, track, path or Path(tables[0]))


def _read_file(path: Path, track: Track) -> Predicted:
    rows, reasons = read_submission(path, track)
    reasons.raise_any()
    assert rows is not None
    return predicted_of_rows(rows, track, path)


def labelled_rows(predicted: Predicted, truth: Truth) -> int:
    """Predicted frames that have a label of at least one task."""
    labelled = truth.image.filter(pl.Series(np.logical_or.reduce(list(truth.mask.values()))))
    return int(predicted.image.is_in(labelled.implode()).sum())


def densities(predicted: Predicted, truth: Truth, task: Task) -> list[Density]:
    """Predictions against truth for valence and arousal, and both in their plane; empty for another kind of task."""
    if task.kind != "regression":
        return []
    true_ND, mask_N = _aligned(predicted.image, truth, task)
    true_ND, own_ND = true_ND[mask_N], predicted.decided[task.name][mask_N]
    found = []
    for d, column in enumerate(task.columns):
        count_GG = paths.density(true_ND[:, d], own_ND[:, d])
        found.append(
            Density(
                x=f"true {column}",
                y=f"predicted {column}",
                squares=paths.squares(count_GG),
                mean=paths.mean_line(count_GG),
            )
        )
    own_GG, true_GG = (paths.density(values[:, 0], values[:, 1]) for values in (own_ND, true_ND))
    x, y = task.columns
    return [*found, Density(x=x, y=y, squares=paths.squares(own_GG), outline=paths.outlines(true_GG))]


def choose_videos(truth: Truth, track: Track, wanted: Sequence[str]) -> list[str]:
    """The videos to draw: those wanted, or the one with the most labelled frames (by name on a tie).

    BadInput for a wanted one that is not among the videos that the board shows. Still images have no timeline.
    """
    if of_stills(track):
        return []
    labelled = truth.image.filter(pl.Series(np.logical_or.reduce(list(truth.mask.values()))))
    counts = places(labelled)["video"].value_counts(name="frames").sort(["frames", "video"], descending=[True, False])
    shown = counts["video"].to_list()
    unknown = [video for video in wanted if video not in shown]
    if unknown:
        message = f"no labelled video that the board of track {track.name} shows is called {', '.join(unknown)}"
        raise refuse(truth.path, f"{message}; there are {', '.join(sorted(shown)[:20])}")
    return list(wanted) or shown[:1]


def timeline(predicted: Predicted, truth: Truth, raw: Predicted | None, track: Track, video: str) -> Timeline | None:
    """A video of an entry; None when its file has no row of the video."""
    place = places(predicted.image).with_row_index("row").filter(pl.col("video") == video).sort("frame")
    if not place.height:
        return None
    rows_N = place["row"].to_numpy()
    images, bin_N = predicted.image[rows_N], paths.bins_of(place.height)
    curves: list[Curve] = []
    for task in track.tasks:
        true_ND, mask_N = _aligned(images, truth, task)
        true_ND = np.where(mask_N[:, None], true_ND, np.nan)
        raw_ND = np.full_like(true_ND, np.nan) if raw is None else _at(images, raw.image, raw.decided[task.name])
        curves += _curves(task, bin_N, true_ND, raw_ND, predicted.decided[task.name][rows_N])
    return Timeline(
        video=video,
        bins=int(bin_N[-1]) + 1,
        rows=place.height,
        first=place["frame"][0],
        last=place["frame"][-1],
        curves=tuple(curves),
    )


def _curves(task: Task, bin_N: NDArray[np.int64], true_ND: Floats, raw_ND: Floats, own_ND: Floats) -> list[Curve]:
    if task.kind == "regression":
        return [
            Curve(
                name=column,
                lanes=(),
                truth=paths.line(paths.bin_means(bin_N, true_ND[:, d])),
                raw=paths.line(paths.bin_means(bin_N, raw_ND[:, d])),
                predicted=paths.line(paths.bin_means(bin_N, own_ND[:, d])),
            )
            for d, column in enumerate(task.columns)
        ]
    active = [_lanes(task, bin_N, values_ND) for values_ND in (true_ND, raw_ND, own_ND)]
    truth_LB, raw_LB, own_LB = active
    return [
        Curve(
            name=task.name,
            lanes=task.columns,
            truth=paths.lanes(truth_LB),
            raw=paths.lanes(raw_LB, at=BELOW),
            predicted=paths.lanes(own_LB),
        )
    ]


def _lanes(task: Task, bin_N: NDArray[np.int64], values_ND: Floats) -> NDArray[np.bool_]:
    if task.kind == "classes":
        return paths.bin_classes(bin_N, values_ND[:, 0], len(task.columns))
    return np.stack([paths.bin_means(bin_N, values_N) >= 0.5 for values_N in values_ND.T])


def _aligned(images: pl.Series, truth: Truth, task: Task) -> tuple[Floats, NDArray[np.bool_]]:
    """The labels (N, D) of these images and which rows (N,) have all of the task; NaN where there is none."""
    true_ND = _at(images, truth.image, truth.true[task.name])
    return true_ND, np.asarray(~np.isnan(true_ND).any(axis=1))


def _at(images: pl.Series, of: pl.Series, values_ND: Floats) -> Floats:
    """The values of these images from those of others, NaN for an image that is not among them."""
    numbered = pl.DataFrame({"image": of}).with_row_index("row")
    joined = pl.DataFrame({"image": images}).join(numbered, on="image", how="left", maintain_order="left")
    found_N = joined["row"].is_not_null().to_numpy()
    found_ND = np.full((len(images), values_ND.shape[1]), np.nan)
    found_ND[found_N] = values_ND[joined["row"].drop_nulls().to_numpy()]
    return found_ND
