"""Emo135: still images of 135 emotions, as lists or as class folders, by split.

Lists: `train.txt`, `val.txt`, `test.txt` in the folder (or one of them given itself), a line `path class` with the
class from 0 to 134, in test lists `path` alone; paths are relative to the list. Folders:
`<train|val|test>/<class>/*.jpg`, where the class folders are named by number, or are 135 names, which are numbered in
alphabetical order.
"""

from pathlib import Path

import polars as pl

from abaw.data.files import Drops, list_jpegs
from abaw.data.frames import Collection
from abaw.data.stills import SPLIT_NAME, collect, leave_out, listed_images, read_lines, split_named
from abaw.problems import refuse
from abaw.tracks import TRACKS

CLASSES = len(TRACKS["emo135"].columns)
NO_SPLIT = "its name says no split; expected train, val or test in it"
EXPECTED = f"expected a class from 0 to {CLASSES - 1}"


def read_emo135(root: Path) -> Collection:
    """The lists or class folders of `root`; lines and folders without a valid class are drops."""
    lists, others = ([root], []) if root.is_file() else _lists(root)
    if lists:
        read = [_read_list(path) for path in lists]
        images, drops = pl.concat([table for table, _ in read]), [drop for _, found in read for drop in found]
        drops += [(str(path), NO_SPLIT) for path in others]
        images, repeated = leave_out(images, ~pl.col("path").is_first_distinct(), "is in an earlier list too")
        return collect(images, drops + repeated, source=root, track="emo135")
    images, drops = list_jpegs(root)
    images = images.with_columns(split=split_named(pl.col("folder")), expression=_class_of_folder(images, root))
    images, outside = leave_out(images, pl.col("split").is_null(), "lies in no folder named train, val or test")
    unlabelled = pl.col("expression").is_null() & (pl.col("split") != "test")
    images, unclear = leave_out(images, unlabelled, f"lies in no class folder; {EXPECTED}")
    return collect(images, [*drops, *outside, *unclear], source=root, track="emo135")


def _lists(root: Path) -> tuple[list[Path], list[Path]]:
    """The text files of the folder that are named by a split, and the others."""
    if not root.is_dir():
        raise refuse(root, "no such folder or list; expected lists (train.txt, val.txt) or folders of class folders")
    files = sorted((path for path in root.iterdir() if path.name.endswith(".txt") and path.is_file()), key=str)
    named = pl.Series([path.name for path in files], dtype=pl.String).str.contains(SPLIT_NAME)
    lists = [path for path, said in zip(files, named, strict=True) if said]
    return lists, [path for path in files if path not in lists]


def _read_list(path: Path) -> tuple[pl.DataFrame, Drops]:
    """The images of a list with `split` and `expression`."""
    split = pl.select(split_named(pl.lit(path.name))).item()
    if split is None:
        raise refuse(path, NO_SPLIT)
    lines, drops = read_lines(path)
    parts = pl.col("text").str.extract_groups(r"^(?<text>.*\S)\s+(?<label>[0-9]{1,3})$")
    expression = parts.struct.field("label").cast(pl.Int16)
    text = pl.coalesce(parts.struct.field("text"), "text")
    place = pl.format("{}:{}", pl.lit(str(path)), "line")
    lines = lines.with_columns(text=text, expression=expression, path=place)
    bad = pl.col("expression").fill_null(CLASSES if split != "test" else 0) >= CLASSES
    lines, unclear = leave_out(lines, bad, pl.lit("ends in no valid class; " + EXPECTED))
    images, left_out = listed_images(path, lines, drops)
    return images.with_columns(split=pl.lit(split)), [*left_out, *unclear]


def _class_of_folder(images: pl.DataFrame, root: Path) -> pl.Series:
    """The class of each image: the last part of its folder as a number, or its place among 135 names."""
    names = images["folder"].str.extract(r"([^/]*)$")
    numbers = names.str.extract(r"^([0-9]{1,3})$").cast(pl.Int16)
    if numbers.count():
        return pl.select(pl.when(numbers < CLASSES).then(numbers)).to_series()
    classes = names.filter(names.str.contains(SPLIT_NAME).not_() & (names != "")).unique().sort()
    if len(classes) not in (0, CLASSES):
        message = f"has {len(classes)} class folders that are named by no number; expected all {CLASSES}, or 0, 1, ..."
        raise refuse(root, message)
    return names.replace_strict(classes, pl.int_range(len(classes), eager=True), default=None, return_dtype=pl.Int16)
