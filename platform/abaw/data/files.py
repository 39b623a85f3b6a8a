"""Files below a folder, local or remote, as one table; what cannot be entered or named is dropped with its reason.

Links to folders are followed, and one that leads back to a folder above it is a drop. Hidden files and folders (a
leading dot) count for nothing.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from abaw.data.storage import absolute, file_sizes, is_remote, is_text, shown
from abaw.problems import refuse

FILES = pl.Schema({"folder": pl.String, "name": pl.String, "path": pl.String})
JPEG_NAME = r"(?i)\.jpe?g$"
Drops = list[tuple[str, str]]
"""(path, reason) of what is left out."""


def list_files(root: Path) -> tuple[pl.DataFrame, Drops]:
    """Every file below `root`: `folder` (below the root, "" for itself), `name`, `path` (absolute), sorted.

    BadInput when there is no such folder. Names that are not UTF-8 cannot stand in a table: they are drops.
    """
    if not root.is_dir():
        raise refuse(root, "no such folder")
    drops: Drops = []
    base = str(absolute(root))
    folders, sizes, names = [], [], []
    for folder, inside in _remote_folders(root) if is_remote(root) else _local_folders(base, drops):
        folders.append(folder)
        sizes.append(len(inside))
        names += inside
    column = pl.select(pl.Series(folders, dtype=pl.String).repeat_by(pl.Series(sizes, dtype=pl.UInt32)).explode())
    files = pl.DataFrame({"folder": column.to_series(), "name": pl.Series(names, dtype=pl.String)})
    prefix = pl.when(pl.col("folder") == "").then(pl.lit("")).otherwise(pl.col("folder") + "/")
    path = pl.concat_str(pl.lit(base.rstrip("/") + "/"), prefix, "name").alias("path")
    return files.with_columns(path).match_to_schema(FILES).sort("folder", "name"), drops


def list_jpegs(root: Path) -> tuple[pl.DataFrame, Drops]:
    """The files of `list_files` that are named .jpg or .jpeg in any case; the others are drops."""
    files, drops = list_files(root)
    images, others = keep_jpegs(files)
    return images, drops + others


def keep_jpegs(files: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
    """The rows whose `name` is that of a JPEG; the others are drops."""
    named = pl.col("name").str.contains(JPEG_NAME)
    others = files.filter(~named)["path"].to_list()
    reason = "is not named .jpg or .jpeg; expected JPEG files, convert other images"
    return files.filter(named), [(path, reason) for path in others]


def _local_folders(base: str, drops: Drops) -> Iterator[tuple[str, list[str]]]:
    """Folders with their files. `os.scandir` rather than pathlib: no object and no system call a file."""
    stack: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while stack:
        folder, above = stack.pop()
        here = os.path.join(base, folder)
        names: list[str] = []
        try:
            status = os.stat(here)
            own = (status.st_dev, status.st_ino)
            if own in above:
                drops.append((shown(here), "is a symbolic link to a folder above it; remove the link"))
                continue
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        stack.append((os.path.join(folder, entry.name), above | {own}))
                    else:
                        names.append(entry.name)
        except OSError as error:
            drops.append((shown(here), f"folder cannot be read: {error.strerror}"))
        good = [name for name in names if is_text(folder) and is_text(name)]
        if len(good) < len(names):
            bad = set(names) - set(good)
            reason = "its name is not UTF-8; rename it"
            drops += [(shown(os.path.join(here, name)), reason) for name in sorted(bad)]
        if good:
            yield folder, good


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Links that lead nowhere are files: opening them says why they cannot be read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _remote_folders(root: Path) -> Iterator[tuple[str, list[str]]]:
    """One listing of all keys below, which object stores page through, rather than one a folder."""
    found: dict[str, list[str]] = {}
    for key in file_sizes(root):
        *folders, name = key.split("/")
        if name and not any(part.startswith(".") for part in (*folders, name)):
            found.setdefault("/".join(folders), []).append(name)
    yield from found.items()
