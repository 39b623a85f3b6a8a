"""Parquet shards of a frame table, written by Ray Data: JPEG bytes as delivered, laid out so that sampling is cheap.

`slot=K/00000.parquet` holds the frames with `(frame + offset of the video) % slots == K`, sorted by video and frame, so
an epoch that takes one frame of `slots` reads one folder. What a file holds is decided here, before any task starts:
the bytes are the same however many tasks run. `manifest.json` is written last; a folder without it is unfinished.
`drops.parquet` lists every image that could not be used, and why.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data
import simplejpeg
from rich.console import Console
from rich.progress import track as progress

from abaw.data.frames import KEY, SCHEMA, annotated, residues
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import TRACKS

SCHEMA_VERSION = 1
MANIFEST, DROPS, CACHE = "manifest.json", "drops.parquet", ".arrow"


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One Parquet file."""

    path: str
    """Below the folder of shards."""
    slot: int
    frames: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder of shards holds."""

    schema_version: int = SCHEMA_VERSION
    frames: int
    videos: int
    splits: Mapping[str, Mapping[str, int]]
    """For each split: frames, videos, and the frames that are fully annotated for va, expr and au."""
    without_image: int
    """Labelled rows that were left out since they have no image."""
    dropped: int
    """Images that could not be decoded; `drops.parquet` lists them."""
    image_sizes: Mapping[str, int]
    """Number of images by `<height>x<width>`."""
    colours: str = "RGB"
    crop: str = "as delivered"
    slots: int
    files: tuple[ShardFile, ...]


def write_shards(
    frames: pl.DataFrame, out: Path, *, slots: int = 10, rows_per_file: int = 8192, overwrite: bool = False
) -> Manifest:
    """Write the rows of a frame table that have an image (`path`) to `out`, on the Ray that is connected.

    Every image is decoded once: one that cannot be is dropped, listed and counted, and the rest goes on. BadInput when
    `out` holds something and `overwrite` is not given, when a frame is there twice, or when no image is left.
    """
    present = frames.filter(pl.col("path").is_not_null())
    _check_rows(frames, present)
    _claim(out, overwrite=overwrite)
    done = sorted(_write_files(_plans(present, slots, rows_per_file), out), key=lambda result: result["file"])
    drops = pl.DataFrame(
        [drop for result in done for drop in result["drops"]], schema={"path": pl.String, "reason": pl.String}
    ).sort("path")
    drops.write_parquet(out / DROPS)
    kept = present.join(drops, on="path", how="anti")
    if kept.is_empty():
        raise refuse(out, f"none of the {present.height} images can be decoded, see {DROPS}; first: {drops.row(0)}")
    manifest = Manifest(
        frames=kept.height,
        videos=kept["video"].n_unique(),
        splits=_count_splits(kept),
        without_image=frames.height - present.height,
        dropped=drops.height,
        image_sizes=_add_up([result["sizes"] for result in done]),
        slots=slots,
        files=tuple(ShardFile(**result["entry"]) for result in done if result["entry"]["frames"]),
    )
    partial = out / f"{MANIFEST}.partial"
    partial.write_text(json.dumps(asdict(manifest), indent=1) + "\n")
    partial.replace(out / MANIFEST)
    return manifest


def read_manifest(shards: Path) -> Manifest:
    """The manifest of a folder of shards; BadInput names every file that is missing or has another size."""
    path = shards / MANIFEST
    if not path.is_file():
        what = "the shards are unfinished; write them again with --overwrite" if shards.is_dir() else "no such folder"
        raise refuse(path, f"no manifest: {what}")
    stored = json.loads(path.read_text())
    if stored.get("schema_version") != SCHEMA_VERSION:
        raise refuse(
            path, f"schema version {stored.get('schema_version')}; expected {SCHEMA_VERSION}; write them again"
        )
    manifest = Manifest(**{**stored, "files": tuple(ShardFile(**entry) for entry in stored["files"])})
    problems = [
        Problem(path=str(shards / entry.path), message=f"missing or not of {entry.bytes} bytes; write the shards again")
        for entry in manifest.files
        if not (shards / entry.path).is_file() or (shards / entry.path).stat().st_size != entry.bytes
    ]
    if problems:
        raise BadInput(problems)
    return manifest


def open_frames(
    shards: Path, *, columns: Sequence[str] | None = None, slot: int | None = None, splits: Sequence[str] | None = None
) -> pa.Table:
    """Rows of the shards sorted by video and frame; without `image` among the columns this reads few bytes.

    Args:
        shards: folder that `write_shards` wrote.
        columns: columns of the frame table; all when not given.
        slot: only this slot.
        splits: only these splits.
    """
    wanted = list(columns) if columns is not None else SCHEMA.names
    files = [entry for entry in read_manifest(shards).files if slot is None or entry.slot == slot]
    read = list(dict.fromkeys([*wanted, *KEY, "split"]))
    tables = [pq.ParquetFile(shards / entry.path).read(columns=read) for entry in files]
    table = pa.concat_tables(tables) if tables else SCHEMA.empty_table().select(read)
    if splits is not None:
        table = table.filter(pc.is_in(table["split"], pa.array(splits, pa.string())))
    return table.sort_by([(name, "ascending") for name in KEY]).select(wanted)


def _check_rows(frames: pl.DataFrame, present: pl.DataFrame) -> None:
    if present.is_empty():
        raise refuse("frames", f"none of the {frames.height} rows has an image; expected images in the folders given")
    repeated = present.filter(~pl.struct(KEY).is_first_distinct())
    if repeated.height:
        video, frame, path = repeated.select(*KEY, "path").row(0)
        message = f"frame {frame} of video {video} is there {repeated.height} more times; expected one row a frame"
        raise refuse(path, message)


def _claim(out: Path, *, overwrite: bool) -> None:
    """Make `out` an empty folder, or refuse: nothing but shards is ever removed."""
    there = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    ours = {MANIFEST, f"{MANIFEST}.partial", DROPS, CACHE, "coverage.md"}
    foreign = [name for name in there if name not in ours and not name.startswith("slot=")]
    if there and not overwrite:
        raise refuse(
            out, f"is not empty, it holds {', '.join(there[:5])}; give --overwrite to replace it or a new folder"
        )
    if foreign:
        raise refuse(
            out, f"holds {', '.join(foreign[:5])}, which are no shards and are not replaced; give a new folder"
        )
    if there:
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def _plans(present: pl.DataFrame, slots: int, rows_per_file: int) -> Iterator[tuple[str, int, pl.DataFrame]]:
    """Each file to write: its path below the folder, its slot and its rows."""
    ordered = present.sort(KEY)
    slot_N = residues(ordered, slots)
    for slot in range(slots):
        rows = ordered.filter(slot_N == slot)
        for part, start in enumerate(range(0, rows.height, rows_per_file)):
            yield f"slot={slot}/{part:05d}.parquet", slot, rows.slice(start, rows_per_file)


def _write_files(plans: Iterator[tuple[str, int, pl.DataFrame]], out: Path) -> Iterator[dict[str, Any]]:
    """One Ray task a file; their reports as they end."""
    blocks = [
        rows.with_columns(file=pl.lit(file), slot=pl.lit(slot), out=pl.lit(str(out.absolute()))).to_arrow()
        for file, slot, rows in plans
    ]
    # The bar below says what is written; Ray Data's own bars and notes would cut through it. Errors are raised.
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    reports = ray.data.from_arrow(blocks).map_batches(_write_file, batch_size=None, batch_format="pyarrow").iter_rows()
    for row in progress(reports, "writing shards", total=len(blocks), console=Console(stderr=True)):
        yield json.loads(row["report"])


def _write_file(rows: pa.Table) -> pa.Table:
    """Read, check and write the images of one file (a Ray task); the report is JSON."""
    file, slot, out = (rows[name][0].as_py() for name in ("file", "slot", "out"))
    assert rows["file"].unique().to_pylist() == [file], "a task writes one file"
    images, drops, sizes = [], [], []
    for path in rows["path"].to_pylist():
        image, size, reason = load_jpeg(Path(path))
        images.append(image)
        sizes += [{size: 1}] if image else []
        drops += [] if image else [{"path": path, "reason": reason}]
    table = rows.append_column("image", pa.array(images, pa.binary())).select(SCHEMA.names).cast(SCHEMA)
    table = table.filter(table["image"].is_valid())
    target = Path(out) / file
    entry = {"path": file, "slot": slot, "frames": table.num_rows, "bytes": 0, "sha256": ""}
    if table.num_rows:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        # JPEG does not compress again, and its pages are not worth a dictionary.
        plain = {name: "none" if name == "image" else "zstd" for name in SCHEMA.names if name != "au"}
        pq.write_table(table, partial, compression=plain, use_dictionary=["video", "split"], row_group_size=1024)
        entry |= {"bytes": partial.stat().st_size, "sha256": hashlib.sha256(partial.read_bytes()).hexdigest()}
        partial.replace(target)
    report = {"file": file, "entry": entry, "drops": drops, "sizes": _add_up(sizes)}
    return pa.table({"report": [json.dumps(report)]})


def load_jpeg(path: Path) -> tuple[bytes | None, str, str]:
    """The bytes of an image file and its size `<height>x<width>`; or None and the reason why it cannot be used."""
    try:
        image = path.read_bytes()
    except OSError as error:
        return None, "", f"cannot be read: {error.strerror}"
    if not image:
        return None, "", "empty file"
    try:
        height, width, _ = simplejpeg.decode_jpeg(image, colorspace="RGB").shape
    except ValueError as error:
        return None, "", f"no complete JPEG: {error}"
    return image, f"{height}x{width}", ""


def _count_splits(kept: pl.DataFrame) -> dict[str, dict[str, int]]:
    counts = {}
    for (split,), rows in sorted(kept.group_by("split")):
        labelled = {task.name: rows.filter(annotated(task)).height for task in TRACKS["mtl"].tasks}
        counts[str(split)] = {"frames": rows.height, "videos": rows["video"].n_unique(), **labelled}
    return counts


def _add_up(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for name, number in count.items():
            total[name] = total.get(name, 0) + number
    return dict(sorted(total.items()))
