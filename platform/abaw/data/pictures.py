"""The pictures of the data report, drawn by matplotlib from the label columns of a frame table.

Each function returns a figure; labels are null where a frame is not annotated and count for nothing.
"""

from collections.abc import Sequence

import matplotlib
import numpy as np
import polars as pl
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from abaw.data.frames import annotated
from abaw.tracks import AU, TRACKS

MOST_VIDEOS, COLUMNS = 60, 600
"""The timeline shows at most this many videos, each as this many pieces of time."""
STATES = ("no crop", "no label", "some labels", "all labels")
COLOURS = ("#ffffff", "#c9ccd1", "#7fb3d5", "#1f5f8b")
MOST_CLASSES = 20
IN_A_ROW = 8
"""Images of a contact sheet."""


def timeline(frames: pl.DataFrame) -> Figure:
    """Coverage: a row a video, time to the right; white where the crop is missing, darker the more is labelled."""
    videos = frames["video"].unique().sort()
    shown = videos.gather(np.unique(np.linspace(0, len(videos) - 1, min(len(videos), MOST_VIDEOS)).astype(int)))
    tasks = [annotated(task).cast(pl.Int8) for task in TRACKS["mtl"].tasks]
    labelled = pl.sum_horizontal(tasks)
    state = pl.when(labelled == 0).then(1).when(labelled == len(tasks)).then(3).otherwise(2)
    rows = frames.filter(pl.col("video").is_in(shown.implode())).select("video", "frame", state.alias("state"))
    longest = int(rows["frame"].cast(pl.Int64).max() or 1)  # type: ignore[arg-type]
    picture = np.zeros((len(shown), min(longest, COLUMNS)))
    place_N = shown.search_sorted(rows["video"]).to_numpy()
    column_N = (rows["frame"].cast(pl.Int64) - 1).to_numpy() * picture.shape[1] // longest
    np.maximum.at(picture, (place_N, column_N), rows["state"].to_numpy())
    figure = Figure(figsize=(10, 1.4 + 0.16 * len(shown)), layout="constrained")
    axes = figure.subplots()
    extent = (0.5, longest + 0.5, len(shown) - 0.5, -0.5)
    image = axes.imshow(
        picture, aspect="auto", interpolation="nearest", cmap=ListedColormap(COLOURS), vmin=0, vmax=4, extent=extent
    )
    bar = figure.colorbar(image, ticks=[0.5, 1.5, 2.5, 3.5], location="top", aspect=60, shrink=0.7)
    bar.ax.set_xticklabels(STATES)
    axes.set_yticks(range(len(shown)), [name[:28] for name in shown], fontsize=7)
    axes.set_xlabel("frame")
    return figure


def histograms(frames: pl.DataFrame, classes: Sequence[str]) -> Figure:
    """Valence, arousal, the most frequent expressions, and for each action unit how often it is active."""
    figure = Figure(figsize=(10, 6.5), layout="constrained")
    (valence, arousal), (expression, units) = figure.subplots(2, 2)
    for axes, name in ((valence, "valence"), (arousal, "arousal")):
        axes.hist(frames[name].drop_nulls().to_numpy(), bins=40, range=(-1, 1), color=COLOURS[3])
        _title(axes, name, "frames", int(frames[name].count()))
    counts = frames["expression"].drop_nulls().value_counts(sort=True).head(MOST_CLASSES).sort("expression")
    names = [_class_name(number, classes) for number in counts["expression"]]
    expression.barh(names, counts["count"].to_numpy(), color=COLOURS[3])
    expression.invert_yaxis()
    several = f"the {MOST_CLASSES} most frequent of {len(classes)} expressions" if len(classes) > MOST_CLASSES else ""
    _title(expression, several or "expression", "", int(frames["expression"].count()))
    active_NU = _units(frames)
    if len(active_NU):
        units.bar(AU.columns, np.nanmean(active_NU, axis=0), color=COLOURS[3])
    units.tick_params(axis="x", rotation=60)
    units.set_ylim(0, 1)
    _title(units, "action units", "share of active frames", len(active_NU))
    return figure


def co_occurrence(frames: pl.DataFrame) -> Figure:
    """Of the frames in which the unit of the row is active, the share in which the unit of the column is, too."""
    active_NU = _units(frames)
    known_NU, on_NU = ~np.isnan(active_NU), np.nan_to_num(active_NU)
    both_UU, base_UU = on_NU.T @ on_NU, on_NU.T @ known_NU
    share_UU = np.divide(both_UU, base_UU, out=np.full_like(both_UU, np.nan), where=base_UU > 0)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share_UU, vmin=0, vmax=1, cmap="Blues")
    for row, column in np.argwhere(~np.isnan(share_UU)):
        share = share_UU[row, column]
        colour = "white" if share > 0.6 else "black"
        axes.text(column, row, f"{share:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(AU.columns)), AU.columns, rotation=60)
    axes.set_yticks(range(len(AU.columns)), AU.columns)
    figure.colorbar(image, shrink=0.8)
    _title(axes, "also active (column), given active (row)", "", len(active_NU))
    return figure


def va_density(frames: pl.DataFrame) -> Figure:
    """Number of frames in each part of the valence-arousal plane, on a logarithmic scale."""
    pairs_N2 = frames.select("valence", "arousal").drop_nulls().to_numpy()
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="gray", linewidth=0.5)
    axes.axvline(0, color="gray", linewidth=0.5)
    if len(pairs_N2):
        image = axes.hist2d(
            pairs_N2[:, 0], pairs_N2[:, 1], bins=50, range=[[-1, 1], [-1, 1]], norm=LogNorm(), cmap="Blues"
        )[3]
        figure.colorbar(image, label="frames")
    axes.set(xlabel="valence", ylabel="arousal", xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
    _title(axes, "valence and arousal", "arousal", len(pairs_N2))
    return figure


def contact_sheet(pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str]) -> Figure:
    """Images (H, W, 3) in rows of `IN_A_ROW`, each with its caption."""
    rows = -(-len(pictures) // IN_A_ROW)
    figure = Figure(figsize=(IN_A_ROW * 1.35, rows * 2.1), layout="constrained")
    grid = figure.subplots(rows, IN_A_ROW, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, pixels, caption in zip(grid, pictures, captions, strict=False):
        axes.imshow(pixels)
        axes.set_title(caption, fontsize=5.5, loc="left")
    return figure


def save(figure: Figure, path: object) -> None:
    """Write a figure as a PNG file: the same bytes for the same figure."""
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        figure.savefig(str(path), dpi=110, metadata={"Software": None})


def _units(frames: pl.DataFrame) -> NDArray[np.float64]:
    """The action units (N, 12) of the frames that have one, NaN where missing."""
    units = [pl.col("au").arr.get(place).cast(pl.Float64).alias(name) for place, name in enumerate(AU.columns)]
    active_NU = frames.select(units).fill_null(np.nan).to_numpy()
    return np.asarray(active_NU[~np.isnan(active_NU).all(axis=1)])


def _class_name(number: int, classes: Sequence[str]) -> str:
    return f"{number} {classes[number]}" if number < len(classes) else str(number)


def _title(axes: "matplotlib.axes.Axes", title: str, unit: str, frames: int) -> None:
    axes.set_title(f"{title}: {frames:,} labelled frames", fontsize=9)
    axes.set_ylabel(unit)
