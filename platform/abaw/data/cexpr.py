"""C-EXPR-DB, compound expressions (ABAW6 and later): folders of crops, usually without labels.

Layout: `<root>/**/<video>/%05d.jpg`. Where a team has labels, `<video>.txt` anywhere below the root has the seven names
as its header and one line a video frame, -1 where there is no compound expression. Videos without labels are what the
challenge scores: their split is test, that of the others train.
"""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from abaw.annotations import read_annotation
from abaw.data.files import Drops
from abaw.data.frames import KEY, Collection, drop_table, frame_table
from abaw.data.images import find_images
from abaw.data.labels import misfit_drops
from abaw.data.storage import as_path
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import CEXPR


def read_cexpr(root: Path) -> Collection:
    """The folders below `root`. BadInput for label files that would shift labels; single bad values are drops."""
    crops, drops = find_images([root])
    if crops.is_empty():
        raise refuse(root, f"holds no crops; expected <video>/00001.jpg, ...; {len(drops)} other files are there")
    videos = set(crops["video"])
    files = dict.fromkeys(path for path, _ in drops if path.endswith(".txt") and as_path(path).stem in videos)
    labels, misfits = _read_labels(files)
    rows = crops.join(labels, on=KEY, how="full", coalesce=True)
    labelled = pl.col("video").is_in(labels["video"].unique().implode())
    rows = rows.with_columns(split=pl.when(labelled).then(pl.lit("train")).otherwise(pl.lit("test")))
    rows = rows.filter(pl.col("path").is_not_null() | pl.col("expression").is_not_null())
    left_out: Drops = [(path, _why(path, reason)) for path, reason in drops if path not in files]
    return Collection(frames=frame_table(rows), drops=drop_table([*left_out, *misfit_drops(misfits)]), track="cexpr")


def _why(path: str, reason: str) -> str:
    """The reason of a drop; a text file would be the labels of the video of its name."""
    return f"no video {as_path(path).stem} has crops; expected <video>.txt" if path.endswith(".txt") else reason


def _read_labels(files: Iterable[str]) -> tuple[pl.DataFrame, list[Problem]]:
    """`video`, `frame`, `expression` of all label files; and the values that are no labels."""
    schema = {"video": pl.String, "frame": pl.Int32, "expression": pl.Int8}
    tables, problems, misfits = [pl.DataFrame(schema=schema)], [], list[Problem]()
    of_video: dict[str, str] = {}
    for file in files:
        video = as_path(file).stem
        if (first := of_video.setdefault(video, file)) != file:
            problems.append(Problem(path=file, message=f"video {video} has labels in {first} too; remove one of them"))
            continue
        try:
            table = read_annotation(as_path(file), CEXPR, misfits=misfits)
        except BadInput as error:
            problems += error.problems
            continue
        tables.append(table.select(pl.lit(video).alias("video"), "frame", "expression"))
    if problems:
        raise BadInput(problems)
    return pl.concat(tables), misfits
