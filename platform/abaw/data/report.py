"""The data report: what shards hold, as Markdown and HTML with pictures. Only a sample of the images is read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl
import simplejpeg

from abaw.data import pictures
from abaw.data.frames import KEY, annotated, residues
from abaw.data.manifest import DROPS, Manifest, class_names, few_sizes, read_manifest
from abaw.data.shards import open_frames
from abaw.data.storage import as_path
from abaw.data.videos import TASKS, list_videos
from abaw.problems import refuse
from abaw.tracks import AU

MOST_ROWS, SAMPLE, CAPTION_LINES = 1000, 40, 5
"""Rows of a table in the report, images on the contact sheet, and lines above each."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the report: a sentence, then a picture, then a table, where there are any."""

    title: str
    text: str
    picture: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[object]] = ()


def write_report(shards: Path, out: Path) -> list[Path]:
    """Write `report.md`, `report.html` and their pictures into the folder `out`; the paths of the two.

    BadInput when `shards` is none, or when `out` is a file.
    """
    if out.is_file():
        raise refuse(out, "is a file; give a folder for the report")
    shards, manifest = as_path(shards), read_manifest(shards)
    out.mkdir(parents=True, exist_ok=True)
    labels = [*KEY, "valence", "arousal", "expression", "au", "split"]
    frames = pl.DataFrame(open_frames(shards, columns=labels, manifest=manifest))
    sections = [*_tables(shards, manifest, frames), *_pictures(shards, manifest, frames, out)]
    loader = jinja2.PackageLoader("abaw.data")
    templates = jinja2.Environment(
        loader=loader, autoescape=jinja2.select_autoescape(["html.j2"]), undefined=jinja2.StrictUndefined
    )
    templates.filters["cell"] = _cell
    written = []
    for name in ("report.md", "report.html"):
        text = templates.get_template(f"{name}.j2").render(facts=_facts(shards, manifest), sections=sections)
        (out / name).write_text(text, encoding="utf-8")
        written.append(out / name)
    return written


def missing_runs(frames: pl.DataFrame) -> pl.DataFrame:
    """Stretches of neighbouring frames without a crop or without any label: the longest first.

    Columns `video`, `what` (no crop, no label), `first`, `last`, `frames`. Frames before the first and after the last
    crop of a video are not known here.
    """
    labelled = pl.any_horizontal(annotated(task) for task in TASKS).alias("labelled")
    rows = frames.sort(KEY).select(*KEY, labelled, before=pl.col("frame").shift().over("video"))
    gaps = rows.filter(pl.col("frame") - pl.col("before") > 1)
    crops = gaps.select("video", what=pl.lit("no crop"), first=pl.col("before") + 1, last=pl.col("frame") - 1)
    # A run goes on while the rows do: the number of labelled rows before it is the same for all of its rows.
    run = pl.col("labelled").cum_sum().over("video").alias("run")
    labels = rows.with_columns(run).filter(~pl.col("labelled")).group_by("video", "run")
    unlabelled = labels.agg(first=pl.col("frame").min(), last=pl.col("frame").max())
    found = pl.concat([crops, unlabelled.select("video", pl.lit("no label").alias("what"), "first", "last")])
    length = pl.col("last") - pl.col("first") + 1
    return found.with_columns(frames=length).sort(-pl.col("frames"), "video", "what", "first")


def _facts(shards: Path, manifest: Manifest) -> dict[str, str]:
    preprocessing = ", ".join(f"{name} {value}" for name, value in asdict(manifest.preprocessing).items())
    return {
        "source": manifest.source,
        "shards": str(shards),
        "frames": f"{manifest.frames:,} of {manifest.videos:,} videos",
        "bytes": f"{sum(file.bytes for file in manifest.files):,} in {len(manifest.files):,} files",
        "slots": str(manifest.slots),
        "expressions": f"classes of the track {manifest.track}",
        "images": preprocessing,
        "image sizes": ", ".join(f"{size}: {count:,}" for size, count in few_sizes(manifest.image_sizes).items()),
        "labelled frames without an image": f"{manifest.without_image:,}",
        "left out": f"{manifest.dropped:,}",
    }


def _tables(shards: Path, manifest: Manifest, frames: pl.DataFrame) -> list[Section]:
    splits = [[name, *counts.values()] for name, counts in manifest.splits.items()]
    with (shards / DROPS).open("rb") as file:
        reasons = pl.read_parquet(file).group_by("reason").len().sort("len", "reason", descending=[True, False])
    videos, runs = list_videos(shards), missing_runs(frames)
    columns = ["split", "frames", "videos", *(f"labelled {task.name}" for task in TASKS)]
    return [
        Section(title="Splits", text="A frame counts as labelled with every label.", columns=columns, rows=splits),
        Section(
            title="Left out",
            text=f"{manifest.dropped:,} images, files or labels were left out; {DROPS} names each.",
            columns=["reason", "number"],
            rows=reasons.head(MOST_ROWS).rows(),
        ),
        _table("Videos", "missing: frames between the first and the last that have no crop.", videos),
        _table("Missing runs", "Neighbouring frames without a crop, or without any label; the longest first.", runs),
    ]


def _table(title: str, text: str, rows: pl.DataFrame) -> Section:
    shown = f" The first {MOST_ROWS:,} of {rows.height:,}." if rows.height > MOST_ROWS else ""
    return Section(title=title, text=text + shown, columns=rows.columns, rows=rows.head(MOST_ROWS).rows())


def _pictures(shards: Path, manifest: Manifest, frames: pl.DataFrame, out: Path) -> list[Section]:
    classes = class_names(manifest.track)
    drawn = {
        "coverage": (
            "Coverage",
            "Each row is a video; white where there is no crop, and after its end.",
            pictures.timeline(frames),
        ),
        "labels": ("Labels", "Frames without the label are left out.", pictures.histograms(frames, classes)),
        "au": ("Action units together", "Frames in which both units are known.", pictures.co_occurrence(frames)),
        "va": ("Valence and arousal", "Frames with both.", pictures.va_density(frames)),
        "sample": ("Sample", "Frames at even steps through the videos.", _sample(shards, manifest, frames, classes)),
    }
    for name, (_, _, figure) in drawn.items():
        pictures.save(figure, out / f"{name}.png")
    return [Section(title=title, text=text, picture=f"{name}.png") for name, (title, text, _) in drawn.items()]


def _sample(shards: Path, manifest: Manifest, frames: pl.DataFrame, classes: Sequence[str]) -> Any:
    places = np.unique(np.linspace(0, frames.height - 1, min(frames.height, SAMPLE)).astype(int))
    chosen, images = frames[places], []
    for (video, frame), slot in zip(chosen.select(KEY).rows(), residues(chosen, manifest.slots), strict=True):
        rows = open_frames(shards, columns=["frame", "image"], videos=[video], slot=slot, manifest=manifest)
        image = rows["image"][rows["frame"].to_pylist().index(frame)].as_py()
        images.append(simplejpeg.decode_jpeg(image, colorspace="RGB"))
    return pictures.contact_sheet(images, [_caption(row, classes) for row in chosen.to_dicts()])


def _caption(row: dict[str, Any], classes: Sequence[str]) -> str:
    """Video and frame, then the labels that are there."""
    lines = [row["video"][:22], f"frame {row['frame']}"]
    if row["valence"] is not None and row["arousal"] is not None:
        lines.append(f"V {row['valence']:+.2f}  A {row['arousal']:+.2f}")
    if row["expression"] is not None:
        lines.append(classes[row["expression"]] if row["expression"] < len(classes) else str(row["expression"]))
    active = [name.removeprefix("AU") for name, on in zip(AU.columns, row["au"], strict=True) if on]
    lines += ["AU " + " ".join(active)] if active else []
    return "\n".join([*lines, *[""] * (CAPTION_LINES - len(lines))])


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value).replace("|", "/")
