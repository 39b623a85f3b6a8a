"""Coverage of a delivery: which frames are labelled, cropped, both or neither. The two never agree fully."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from abaw.data.frames import SPLITS, annotated
from abaw.tracks import TRACKS

MTL = TRACKS["mtl"]
SHOWN = 10
"""Videos that a list in the report names; the rest are counted."""


def count_coverage(frames: pl.DataFrame, videos: pl.DataFrame) -> pl.DataFrame:
    """One row a video: the columns of `videos`, and numbers of frames.

    `cropped`, `labelled` (for any task), `both`, `neither` (of the frames from 1 to the last known one), `<task>`
    (labelled for va, expr, au), `<task>_both`; `past_labels`: crops after the last line of the longest label file.

    Args:
        frames: frame table with `path`, null where there is no crop.
        videos: as `abaw.data.labels.videos_of` returns it.
    """
    lines = pl.max_horizontal(f"{task.name}_lines" for task in MTL.tasks)
    tasks = [task.name for task in MTL.tasks]
    flags = [annotated(task).alias(task.name) for task in MTL.tasks]
    rows = frames.select("video", "frame", *flags, cropped=pl.col("path").is_not_null())
    rows = rows.join(videos.select("video", lines=lines), on="video", how="left")
    cropped, labelled = pl.col("cropped"), pl.any_horizontal(tasks)
    counts = rows.group_by("video").agg(
        cropped.sum(),
        labelled.sum().alias("labelled"),
        (cropped & labelled).sum().alias("both"),
        (cropped | labelled).sum().alias("either"),
        pl.col(tasks).sum(),
        *((pl.col(name) & cropped).sum().alias(f"{name}_both") for name in tasks),
        (cropped & (pl.col("frame") > pl.col("lines"))).sum().alias("past_labels"),
    )
    table = videos.join(counts, on="video", how="left").with_columns(pl.col(counts.columns[1:]).fill_null(0))
    neither = (pl.col("frames").cast(pl.Int64) - pl.col("either")).alias("neither")
    return table.with_columns(neither).drop("either").sort("video")


def describe_coverage(
    coverage: pl.DataFrame, *, conflicts: Mapping[str, int], unplaced: Mapping[str, int], drops: pl.DataFrame
) -> str:
    """Markdown: totals a split and task, and what is odd, each with the videos concerned.

    Args:
        coverage: as `count_coverage` returns it.
        conflicts: by task, frames with two labels that differ.
        unplaced: number of labels of each action unit that is none of the twelve.
        drops: what the source left out, with reasons.
    """
    lines = [
        "# Coverage",
        "",
        "| split | videos | frames | cropped | labelled | both | neither |",
        "|---|" + "---:|" * 6,
    ]
    for split, rows in _by_split(coverage):
        sums = [int(rows[name].sum()) for name in ("frames", "cropped", "labelled", "both", "neither")]
        lines.append(_row([split, rows.height, *sums]))
    lines += ["", "| task | split | videos | labelled, with a crop | labelled, no crop |", "|---|---|" + "---:|" * 3]
    for task in MTL.tasks:
        for split, rows in _by_split(coverage.filter(pl.col(task.name) > 0)):
            both = int(rows[f"{task.name}_both"].sum())
            lines.append(_row([task.name, split, rows.height, both, int(rows[task.name].sum()) - both]))
    remarks = [*_video_remarks(coverage), *_label_remarks(conflicts, unplaced), *_drop_remarks(drops)]
    return "\n".join([*lines, "", *(remarks or ["Nothing else to remark."]), ""])


def _by_split(coverage: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The splits that have videos, always in the same order."""
    for split in SPLITS:
        rows = coverage.filter(pl.col("split") == split)
        if rows.height:
            yield split, rows


def _video_remarks(coverage: pl.DataFrame) -> list[str]:
    annotated_videos = coverage.filter(pl.col("split").is_in(["train", "validation"]))
    remarks = [
        _remark("annotated videos have no crop at all", annotated_videos.filter(pl.col("cropped") == 0)),
        _remark("videos have crops past their last label line", coverage.filter(pl.col("past_labels") > 0)),
        _remark(
            "videos are in a train set and a validation set (or _left in one, _right in the other); "
            "they count as validation",
            coverage.filter("mixed"),
        ),
    ]
    return [remark for remark in remarks if remark]


def _label_remarks(conflicts: Mapping[str, int], unplaced: Mapping[str, int]) -> list[str]:
    used, none = "the challenge's own is used", "is none of the twelve action units and has no place in the frame table"
    differ = [f"- {n:,} frames have two {task} labels that differ; {used}" for task, n in conflicts.items() if n]
    return differ + [f"- {name} {none}: its {n:,} labels are not used" for name, n in unplaced.items()]


def _drop_remarks(drops: pl.DataFrame) -> list[str]:
    """One line a reason, the most frequent ones first."""
    reasons = (
        drops.group_by("reason")
        .agg(pl.col("path").sort())
        .sort(pl.col("path").list.len(), "reason", descending=[True, False])
    )
    lines = [f"- {len(paths):,} left out: {reason}: {_some(paths)}" for reason, paths in reasons.head(SHOWN).rows()]
    rest = reasons.height - len(lines)
    return [*lines, f"- and {rest:,} more reasons, see the drop table"] if rest else lines


def _remark(what: str, videos: pl.DataFrame) -> str:
    return f"- {videos.height:,} {what}: {_some(videos['video'].to_list())}" if videos.height else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _row(values: Sequence[object]) -> str:
    return "| " + " | ".join(f"{value:,}" if isinstance(value, int) else str(value) for value in values) + " |"
