"""What shards hold, video by video: frames, gaps, labels, sizes. No image is read."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from abaw.data.frames import annotated
from abaw.data.manifest import add_up, few_sizes, load_manifest
from abaw.data.shard_file import REPORTS
from abaw.data.shards import open_frames
from abaw.data.storage import as_path
from abaw.tracks import TRACKS

TASKS = TRACKS["mtl"].tasks


def list_videos(shards: Path) -> pl.DataFrame:
    """One row a video, sorted by name.

    `split` (several are joined by +), `frames`, `first` and `last` (frame numbers), `missing` (frames between them
    without a crop), `va`, `expr`, `au` (frames with every label of the task), `bytes` of the images and `sizes`
    (`<height>x<width>`, the five most frequent); the last two are null in a copy of shards without `.reports`.
    """
    labels = pl.DataFrame(
        open_frames(shards, columns=["video", "frame", "valence", "arousal", "expression", "au", "split"])
    )
    frames, first, last = pl.len(), pl.col("frame").min(), pl.col("frame").max()
    rows = labels.group_by("video").agg(
        pl.col("split").unique().sort().str.join("+").first().alias("split"),
        frames.alias("frames"),
        first.alias("first"),
        last.alias("last"),
        (last - first + 1 - frames).cast(pl.Int64).alias("missing"),
        *(annotated(task).sum().alias(task.name) for task in TASKS),
    )
    return rows.join(_image_sizes(as_path(shards)), on="video", how="left").sort("video")


def _image_sizes(shards: Path) -> pl.DataFrame:
    """`video`, `bytes` and `sizes`, from what was noted when the files were written."""
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        for entry in load_manifest(shards).files:
            for video, counts in json.loads((shards / REPORTS / f"{entry.path}.json").read_text())["videos"].items():
                found.setdefault(video, []).append(counts)
    except FileNotFoundError:
        found = {}  # a sum over some of the files would be wrong
    rows = []
    for video, parts in found.items():
        sizes = few_sizes(add_up(part["sizes"] for part in parts))
        rows.append({"video": video, "bytes": sum(part["bytes"] for part in parts), "sizes": ", ".join(sizes)})
    return pl.DataFrame(rows, schema={"video": pl.String, "bytes": pl.Int64, "sizes": pl.String})
