"""AffectNet (Mollahosseini et al.) in its two forms: CSV tables over images, or folders of images and .npy annotations.

Tables: `training.csv` and `validation.csv` with subDirectory_filePath, expression, valence, arousal; the images lie
anywhere below the root, in the subdirectories that the table names. Folders: `<train_set|val_set>/images/<n>.jpg` and
`annotations/<n>_exp.npy`, `<n>_val.npy`, `<n>_aro.npy`. A valence or arousal of -2 means not annotated. Images of the
codes 8 (None), 9 (Uncertain) and 10 (No-Face) are drops, and with seven classes those of 7 (Contempt).
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from abaw.data.files import Drops, keep_jpegs, list_files
from abaw.data.frames import Collection
from abaw.data.stills import collect, leave_out, read_lines, split_named
from abaw.data.storage import absolute, read_files
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import TRACKS

CODES = (*TRACKS["affectnet8"].columns, "None", "Uncertain", "No-Face")
TABLES = {"training.csv": "train", "validation.csv": "validation"}
SETS = ("train_set", "val_set")
LABELS = ("expression", "valence", "arousal")
"""Each begins with the three letters that its .npy files end in."""
NEEDED = ("subDirectory_filePath", *LABELS)
OFFICIAL = ("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height", "facial_landmarks", *LABELS)
"""Columns of a table that was delivered without a header."""
NOT_ANNOTATED = -2.0
NPY_BEGINS = b"\x93NUMPY"
NPY_BYTES = 4096
"""No annotation of one value is larger; a larger file is not opened as one."""


def read_affectnet(root: Path, *, classes: int = 8) -> Collection:
    """The delivery below `root`, with seven or eight classes.

    What a table names and is not there, and what is there and in no table, are drops; so is a value that is no label,
    and the image stays with its others. BadInput when neither form is there, or both are.
    """
    if classes not in (7, 8):
        raise ValueError(f"classes is {classes}; expected 7 or 8")
    if not root.is_dir():
        raise refuse(root, "no such folder; expected training.csv and validation.csv, or train_set and val_set")
    tables = [root / name for name in TABLES if (root / name).is_file()]
    folders = [name for name in SETS if (root / name).is_dir()]
    if bool(tables) == bool(folders):
        there = "both forms are there, name one" if tables else "neither is there"
        raise refuse(root, f"expected {' or '.join(TABLES)}, or folders {' or '.join(SETS)}; {there}")
    files, unreadable = list_files(root)
    images, drops = _from_tables(root, tables, files) if tables else _from_folders(files)
    images, misfits = _labels(images)
    images, not_used = leave_out(
        images,
        pl.col("expression") >= classes,
        pl.format(f"expression {{}} is none of the {classes} classes", pl.col("expression").replace_strict(_names())),
    )
    collected = [*unreadable, *drops, *misfits, *not_used]
    return collect(images, collected, source=root, track=f"affectnet{classes}")


def _names() -> dict[int, str]:
    return {code: f"{code} ({name})" for code, name in enumerate(CODES)}


def _from_tables(root: Path, tables: Sequence[Path], files: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
    """The images that the tables name: rows of `files` with `split`, `place` and the label texts."""
    read = [_read_table(path) for path in tables]
    rows, drops = pl.concat([table for table, _ in read]), [drop for _, found in read for drop in found]
    rows = rows.with_columns(key=pl.col("subDirectory_filePath").str.extract(r"([^/]+/[^/]+)$"))
    repeated = pl.col("key").is_not_null() & ~pl.col("key").is_first_distinct()
    rows, again = leave_out(rows, repeated, pl.col("subDirectory_filePath") + " was listed before")
    key = pl.concat_str(pl.col("folder").str.extract(r"([^/]*)$"), pl.lit("/"), "name")
    found = rows.drop("path").join(files.with_columns(key=key), on="key", how="left", maintain_order="left")
    unclear = found.filter(pl.col("path").is_not_null() & ~pl.col("key").is_first_distinct())
    if unclear.height:
        first = unclear["key"][0]
        number = (found["key"] == first).sum()
        message = f"is the second of {number} images for {first}; expected one, move one away"
        raise refuse(unclear["path"][0], message)
    absent = found.filter(pl.col("path").is_null()).select("place", "subDirectory_filePath").rows()
    gone = [(place, f"{name} is not below {root}") for place, name in absent]
    there, others = keep_jpegs(found.filter(pl.col("path").is_not_null()))
    known = [*found["path"].drop_nulls(), *(f"{absolute(root)}/{name}" for name in TABLES)]
    unlisted = files.filter(~pl.col("path").is_in(known))["path"]
    names = " and ".join(path.name for path in tables)
    return there, [*drops, *again, *gone, *others, *((path, f"is not listed in {names}") for path in unlisted)]


def _read_table(path: Path) -> tuple[pl.DataFrame, Drops]:
    """The rows of a table as text: NEEDED, `split`, `place` (`<file>:<line>`), and `path`, the same for now."""
    lines, drops = read_lines(path)
    if lines.is_empty():
        raise refuse(path, f"is empty; expected the columns {', '.join(NEEDED)}")
    header = tuple(name.strip() for name in lines["text"][0].split(","))
    if "subDirectory_filePath" in header:
        lines = lines.slice(1)
    elif len(header) == len(OFFICIAL):
        header = OFFICIAL
    if absent := [name for name in NEEDED if name not in header]:
        problem = f"lacks the columns {', '.join(absent)}; expected a header with {', '.join(NEEDED)}"
        raise BadInput([Problem(path=str(path), line=1, message=problem)])
    parts = pl.col("text").str.split(",")
    place = pl.format("{}:{}", pl.lit(str(path)), "line")
    rows = lines.with_columns(path=place, place=place, split=pl.lit(TABLES[path.name]))
    message = pl.format(f"has {{}} values; expected {len(header)}", parts.list.len())
    rows, torn = leave_out(rows, parts.list.len() != len(header), message)
    values = [parts.list.get(header.index(name)).str.strip_chars().alias(name) for name in NEEDED]
    return rows.select(*values, "split", "place", "path"), [*drops, *torn]


def _from_folders(files: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
    """The images of the folder form: rows of `files` with `split`, `place` and the label texts."""
    annotation = pl.col("path").str.contains(r"/annotations/[^/]*\.npy$")
    images, drops = keep_jpegs(files.filter(~annotation))
    images = images.with_columns(split=split_named(pl.col("folder")))
    images, outside = leave_out(
        images, pl.col("split").is_null() | ~pl.col("folder").str.ends_with("/images"), "lies in no <set>/images"
    )
    place = pl.col("path").str.replace(r"/images/([^/]*)\.[^.]*$", "/annotations/${1}_{}.npy")
    images = images.with_columns(place=place)
    texts = {}
    for column in LABELS:
        contents = read_files([place.replace("{}", column[:3]) for place in images["place"]])
        texts[column] = pl.Series(map(_scalar, contents), dtype=pl.String)
    return images.with_columns(**texts), [*drops, *outside]


def _scalar(content: bytes | OSError) -> str | None:
    """The one value of a .npy file as text; None where there is none."""
    if isinstance(content, OSError) or len(content) > NPY_BYTES or not content.startswith(NPY_BEGINS):
        return None
    try:
        return str(np.load(io.BytesIO(content), allow_pickle=False).item())
    except Exception:  # NumPy reads the header as Python source, which torn bytes fail in more ways than can be named
        return None


def _labels(images: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
    """The texts as numbers, null where not annotated; a text that is no label is a drop and null."""
    drops: Drops = []
    for column in LABELS:
        expected = "an integer from 0 to 10" if column == "expression" else "a number in [-1, 1], or -2"
        value = pl.col(column).cast(pl.Float64, strict=False)
        right = value.is_between(-1, 1) | (value == NOT_ANNOTATED)
        if column == "expression":
            right = value.is_between(0, len(CODES) - 1) & (value == value.floor())
        text = pl.format(f"{column} is '{{}}'; expected {expected}", pl.col(column).fill_null("missing"))
        place = pl.col("place").str.replace("{}", column[:3], literal=True)
        _, bad = leave_out(images.with_columns(path=place), ~right.fill_null(False), text)
        drops += bad
        kind = pl.Int16 if column == "expression" else pl.Float64
        images = images.with_columns(pl.when(right & (value != NOT_ANNOTATED)).then(value).cast(kind).alias(column))
    return images, drops
