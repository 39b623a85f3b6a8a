"""Face images in folders, `<video>/%05d.jpg`, as rows: found, not opened."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from abaw.data.frames import frame_table
from abaw.problems import BadInput, Problem, refuse

LOG = logging.getLogger(__name__)
IMAGE_NAME = r"^([0-9]{5}|[1-9][0-9]{5,8})\.jpg$"
FOUND = pl.Schema({"video": pl.String, "frame": pl.Int32, "path": pl.String})


def find_images(roots: Sequence[Path]) -> tuple[pl.DataFrame, list[str]]:
    """The images below `roots`, at any depth, and the files there that are named otherwise.

    A folder that holds files is a video and gives it its name. Returns `video`, `frame`, `path` (absolute), and the
    paths of the files that are no `<frame>.jpg` with frames from 1; hidden files and folders count for nothing.
    BadInput names roots that are not there, and videos that two folders claim.
    """
    problems = [Problem(path=str(root), message="no such folder of images") for root in roots if not root.is_dir()]
    folder_of: dict[str, Path] = {}
    tables, others = [pl.DataFrame(schema=FOUND)], []
    for root in roots:
        for folder, names in _folders(root):
            rows, odd = _images(folder, names)
            others += odd
            if rows.is_empty():
                continue
            first = folder_of.setdefault(folder.name, folder)
            if first != folder:
                message = f"video {folder.name} lies in {first} too; expected one folder a video, remove one of them"
                problems.append(Problem(path=str(folder), message=message))
            tables.append(rows)
    if problems:
        raise BadInput(problems)
    return pl.concat(tables), others


def read_pool(folder: Path) -> pl.DataFrame:
    """The frame table of images without labels, such as `pool/<person>/%05d.jpg`; its split is `unlabelled`."""
    rows, others = find_images([folder])
    if others:
        LOG.warning(
            "%s: %d files are not named <frame>.jpg and are left out, such as %s", folder, len(others), others[0]
        )
    if rows.is_empty():
        raise refuse(folder, "holds no images; expected <name>/00001.jpg, <name>/00002.jpg, ...")
    return frame_table(rows.with_columns(split=pl.lit("unlabelled")))


def _folders(root: Path) -> list[tuple[Path, list[str]]]:
    """Every folder below that holds files, with their names; hidden files and folders are passed over."""
    found = []
    for folder, children, names in os.walk(root.absolute()):
        children[:] = [name for name in children if not name.startswith(".")]
        seen = sorted(name for name in names if not name.startswith("."))
        if seen:
            found.append((Path(folder), seen))
    return sorted(found)


def _images(folder: Path, names: list[str]) -> tuple[pl.DataFrame, list[str]]:
    name, prefix = pl.Series(names), f"{folder}{os.sep}"
    frame = name.str.extract(IMAGE_NAME).cast(pl.Int32)
    named = (frame >= 1).fill_null(False)
    rows = pl.DataFrame({"frame": frame, "path": prefix + name}).filter(named)
    return rows.select(pl.lit(folder.name).alias("video"), "frame", "path"), (prefix + name.filter(~named)).to_list()
