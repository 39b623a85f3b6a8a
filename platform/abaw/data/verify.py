"""Check shards byte by byte and image by image against their manifest; all that is wrong is said at once."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa

from abaw.data.frames import KEY, SCHEMA, residues
from abaw.data.manifest import DROPS, Manifest, ShardFile, load_manifest
from abaw.data.shard_file import check_jpeg
from abaw.data.storage import as_path, file_sizes, open_parquet, sha256_of
from abaw.problems import Problem

MOST = 20
"""Bad images that are named for each file; the others are counted."""


def verify_shards(shards: Path) -> tuple[Manifest, list[Problem]]:
    """The manifest and everything that is wrong: no problem means that every image is there as it was written.

    Each file is there, has its SHA-256, its rows in their order and slot, and every image decodes; no other file lies
    among them; the counts of the manifest and of the drop table hold. Raises BadInput when there is no manifest.
    """
    shards = as_path(shards)
    manifest, sizes = load_manifest(shards), file_sizes(shards)
    # Decoding does not hold Python's lock: threads are enough, and a thread holds one row group.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = pool.map(
            lambda entry: _check_file(shards, entry, manifest.slots, sizes.get(entry.path)), manifest.files
        )
        problems = [problem for found in checks for problem in found]
    listed = {entry.path for entry in manifest.files}
    strangers = [name for name in sizes if name.startswith("slot=") and name not in listed]
    problems += [_wrong(shards / name, "is not in the manifest; remove it") for name in strangers]
    return manifest, problems + _check_counts(shards, manifest, drops=DROPS in sizes)


def _check_file(shards: Path, entry: ShardFile, slots: int, size: int | None) -> list[Problem]:
    path = shards / entry.path
    if size is None:
        return [_wrong(path, "is missing; write the shards again with --resume")]
    if size != entry.bytes:
        return [_wrong(path, f"has {size} bytes; expected {entry.bytes}; write the shards again with --resume")]
    problems = []
    if sha256_of(path) != entry.sha256:
        problems.append(
            _wrong(path, "has another SHA-256 than the manifest says; write the shards again with --resume")
        )
    try:
        problems += [_wrong(path, message) for message in _check_rows(path, entry, slots)]
    except (pa.ArrowException, OSError) as error:
        problems.append(_wrong(path, f"is no readable Parquet file: {error}; write the shards again with --resume"))
    return problems


def _check_rows(path: Path, entry: ShardFile, slots: int) -> Iterator[str]:
    """What is wrong with the rows of a file, read one row group at a time."""
    parquet, keys, bad = open_parquet(path), [], []
    if not parquet.schema_arrow.equals(SCHEMA):
        yield f"has the columns {', '.join(parquet.schema_arrow.names)}; expected the frame table of abaw.data.frames"
        return
    for group in parquet.iter_batches(batch_size=1024):
        key = pl.DataFrame(group.select(KEY))
        keys.append(key)
        for (video, frame), image in zip(key.iter_rows(), group["image"], strict=True):
            reason = check_jpeg(image.as_py() or b"")[1]
            if reason:
                bad.append(f"frame {frame} of video {video}: {reason}")
    table = pl.concat(keys) if keys else pl.DataFrame(schema={"video": pl.String, "frame": pl.Int32})
    yield from bad[:MOST]
    if len(bad) > MOST:
        yield f"{len(bad) - MOST} more images are bad"
    if table.height != entry.frames:
        yield f"holds {table.height} rows; expected {entry.frames}"
    if not table.equals(table.unique().sort(KEY)):
        yield "its rows are not sorted by video and frame, or one is there twice"
    if set(residues(table, slots)) - {entry.slot}:
        yield f"holds frames of another slot than {entry.slot}"


def _check_counts(shards: Path, manifest: Manifest, *, drops: bool) -> list[Problem]:
    problems = []
    frames = sum(entry.frames for entry in manifest.files)
    if frames != manifest.frames:
        problems.append(_wrong(shards, f"its files have {frames} frames; the manifest says {manifest.frames}"))
    if not drops:
        return [*problems, _wrong(shards / DROPS, "is missing; write the shards again with --resume")]
    try:
        found = open_parquet(shards / DROPS).metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        message = f"is no readable Parquet file: {error}; write the shards again with --resume"
        return [*problems, _wrong(shards / DROPS, message)]
    if found != manifest.dropped:
        problems.append(_wrong(shards / DROPS, f"holds {found} rows; the manifest says {manifest.dropped}"))
    return problems


def _wrong(path: Path, message: str) -> Problem:
    return Problem(path=str(path), message=message)
