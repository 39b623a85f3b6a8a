"""The frame table: one row a face image, its labels null where not annotated. Every source ends in it.

Columns: `video`, `frame`, `valence`, `arousal` (Float32), `expression` (Int16: a class of the source's track), `au` (an
array of twelve Int8, never null itself, its elements may be), `split` (train, validation, test, unlabelled), `fold`
(Int8 or null). Beside them `path` of the image while it lies in files, `image` (the JPEG as delivered) once it lies in
shards.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from abaw.tracks import AU, TRACKS, Task

KEY = ("video", "frame")
LABELS = TRACKS["mtl"].label_columns
"""valence, arousal, expression, AU1, ..., AU26: labels one column each, as the organisers' lists have them."""
SPLITS = ("train", "validation", "test", "unlabelled")

SCHEMA = pa.schema(
    [
        pa.field("video", pa.string()),
        pa.field("frame", pa.int32()),
        pa.field("image", pa.binary()),
        pa.field("valence", pa.float32()),
        pa.field("arousal", pa.float32()),
        pa.field("expression", pa.int16()),
        pa.field("au", pa.list_(pa.int8(), len(AU.columns))),
        pa.field("split", pa.string()),
        pa.field("fold", pa.int8()),
    ]
)
"""The frame table in shards."""
ORIGINAL = "original"
"""Column of a frame table whose `path` is a crop: the picture that it was cut out of."""
DROP_SCHEMA = pl.Schema({"path": pl.String, "reason": pl.String})
"""The drop table: what was left out, and why. `path` is a file, a folder, or a line of a file as `<file>:<line>`."""


@dataclass(frozen=True, kw_only=True)
class Collection:
    """What a source holds: the frames that it gives, and what it leaves out itself. No image has been opened yet."""

    frames: pl.DataFrame
    """Frame table with `path`, a local path or a URL such as s3://bucket/key; null where a labelled frame has none."""
    drops: pl.DataFrame
    """Drop table, sorted by path."""
    track: str
    """Name in `abaw.tracks` of the track that says what the classes of `expression` are."""


def drop_table(drops: Iterable[tuple[str, str]]) -> pl.DataFrame:
    """The drop table of (path, reason) pairs, sorted."""
    return pl.DataFrame(list(drops), schema=DROP_SCHEMA, orient="row").sort("path", "reason")


def frame_table(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with `video`, `frame`, `path`, `split` and any of `LABELS`, as a frame table sorted by video and frame."""
    absent = [pl.lit(None, dtype=pl.Int8).alias(name) for name in LABELS if name not in rows.columns]
    full = rows.with_columns(absent, fold=pl.lit(None, dtype=pl.Int8))
    return full.select(
        *KEY,
        "path",
        pl.col("valence", "arousal").cast(pl.Float32),
        pl.col("expression").cast(pl.Int16),
        pl.concat_arr(pl.col(AU.columns).cast(pl.Int8)).alias("au"),
        "split",
        "fold",
    ).sort(KEY)


def annotated(task: Task) -> pl.Expr:
    """Whether a row of a frame table has every label of the task: a frame counts as labelled only then."""
    if task.name == "au":
        return ~pl.col("au").arr.contains(None)
    return pl.all_horizontal(pl.col(task.label_columns).is_not_null())


def unpack_labels(table: pa.Table) -> pa.Table:
    """The table with `au` replaced by twelve columns AU1, ..., AU26."""
    flat = table["au"].combine_chunks().flatten()
    units = len(AU.columns)
    for unit, name in enumerate(AU.columns):
        rows = pa.array(np.arange(unit, len(flat), units))
        table = table.append_column(name, flat.take(rows))
    return table.drop_columns("au")


def video_offsets(videos: Sequence[str], modulus: int) -> list[int]:
    """A number from 0 to modulus - 1 for each name: the same on every machine, unrelated for neighbouring names."""
    return [int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) % modulus for name in videos]


def residues(table: pl.DataFrame, modulus: int) -> pl.Series:
    """`(frame + offset of the video) % modulus` of each row: `modulus` neighbouring frames have one value each."""
    videos = table["video"].unique().sort()
    offsets = pl.Series(video_offsets(videos.to_list(), modulus), dtype=pl.Int64)
    offset_N = table["video"].replace_strict(videos, offsets).cast(pl.Int64)  # of no rows Polars makes text
    return (table["frame"].cast(pl.Int64) + offset_N) % modulus
