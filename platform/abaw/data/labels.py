"""Labels of one frame from several files: the challenges' own annotations and the multi-task lists.

Label by label, the challenge's own is used where there is one; elsewhere the multi-task label is. Where both are there
and differ, the frame is counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from abaw.data.frames import KEY, LABELS
from abaw.data.storage import shown
from abaw.folds import fold_group
from abaw.problems import Problem
from abaw.tracks import TRACKS

MTL = TRACKS["mtl"]
ROUNDING = 1e-3
"""Values of one label in two files that differ by no more are one value, rounded."""


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """The labels of one set of one challenge."""

    source: str
    """Task of the challenge (va, expr, au), or mtl."""
    split: str
    """train or validation."""
    path: Path
    rows: pl.DataFrame
    """`video`, `frame` and label columns; null where not annotated."""


def merge_labels(tables: Sequence[LabelTable]) -> tuple[pl.DataFrame, dict[str, int]]:
    """One row a frame that has any label, with `LABELS`; and by task the number of frames where two files differ."""
    parts = {source: _labelled(tables, source) for source in ("va", "expr", "au", "mtl")}
    listed = parts.pop("mtl")
    rows = pl.concat([part.select(KEY) for part in (*parts.values(), listed)]).unique()
    for part in (*parts.values(), listed.rename({name: f"{name}_listed" for name in LABELS})):
        rows = rows.join(part, on=KEY, how="left")
    chosen, conflicts = [], {}
    for task in MTL.tasks:
        gap = [(pl.col(name) - pl.col(f"{name}_listed")).abs() > ROUNDING for name in task.label_columns]
        conflicts[task.name] = int(rows.select(pl.any_horizontal(gap).sum()).item())
        chosen += [pl.coalesce(name, f"{name}_listed").alias(name) for name in task.label_columns]
    return rows.select(*KEY, *chosen), conflicts


def videos_of(tables: Sequence[LabelTable], *, crops: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """One row a video, sorted by name.

    `split`: validation where any challenge validates on it or on the other person of it (`_left`, `_right`): it is then
    trained on for none; else train where any trains on it, else test where a template names it, else unlabelled.
    `mixed`: they disagree about the split.
    `frames`: the last frame that a crop, a label line or a template names. `va_lines`, `expr_lines`, `au_lines`: number
    of label lines, null where the video is not in that challenge.

    Args:
        tables: the labels.
        crops: `video`, `frame` of the images.
        named: `video`, `frame` of the test templates; frame may be null.
    """
    sets = [table.rows.select("video", split=pl.lit(table.split)).unique() for table in tables]
    splits = pl.concat([*sets, pl.DataFrame(schema={"video": pl.String, "split": pl.String})])
    people = pl.Series([fold_group(video) for video in splits["video"]], dtype=pl.String)
    validated = (pl.col("split") == "validation").any().over(people)
    mixed = (pl.col("split").n_unique() > 1).over(people)
    either = pl.when(validated).then(pl.lit("validation")).otherwise(pl.lit("train"))
    annotated = splits.select("video", either.alias("split"), mixed.alias("mixed")).unique()
    places = [crops.select(KEY), named.select(KEY), *(table.rows.select(KEY) for table in tables)]
    videos = pl.concat(places).group_by("video").agg(pl.col("frame").max().fill_null(0).alias("frames"))
    videos = videos.join(annotated, on="video", how="left")
    in_template = pl.col("video").is_in(named["video"].unique().implode())
    rest = pl.when(in_template).then(pl.lit("test")).otherwise(pl.lit("unlabelled"))
    for task in MTL.tasks:
        own = [table.rows.select(KEY) for table in tables if table.source == task.name]
        lines = pl.concat([*own, crops.select(KEY).clear()]).group_by("video").agg(pl.len().alias(f"{task.name}_lines"))
        videos = videos.join(lines, on="video", how="left")
    return videos.with_columns(pl.col("split").fill_null(rest), pl.col("mixed").fill_null(False)).sort("video")


def misfit_drops(misfits: Sequence[Problem]) -> Iterator[tuple[str, str]]:
    """The drop table's rows for values that are no labels, `<file>:<line>`, and for files: what was expected."""
    for problem in misfits:
        yield shown(problem.path) + (f":{problem.line}" if problem.line else ""), problem.message


def _labelled(tables: Sequence[LabelTable], source: str) -> pl.DataFrame:
    """The rows of a source that have any label; an empty table where the source was not delivered."""
    columns = LABELS if source == "mtl" else MTL.task(source).label_columns
    schema = {name: pl.Float32 if name in ("valence", "arousal") else pl.Int8 for name in columns}
    empty = pl.DataFrame(schema={"video": pl.String, "frame": pl.Int32, **schema})
    # A label set of 2020 lacks five of the twelve action units, null then, and has one that is none of them.
    parts = [empty, *(table.rows for table in tables if table.source == source)]
    rows = pl.concat(parts, how="diagonal_relaxed").select(empty.columns)
    return rows.filter(pl.any_horizontal(pl.col(columns).is_not_null()))
