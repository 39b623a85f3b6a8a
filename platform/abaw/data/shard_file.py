"""One Parquet file of shards, made by one Ray Data task: its images read, checked and written as they came.

What is accepted: a complete JPEG of at most `MAX_PIXELS`, in colour or in grey (which decodes to equal red, green and
blue). What is not, each with its reason: no file, an empty, truncated or damaged one, another format whatever its name
(a JPEG is never re-encoded, so nothing else can become one), CMYK (its colours depend on the program), and more pixels
than the limit, which the header tells before anything is decoded.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

from abaw.data.frames import SCHEMA
from abaw.data.storage import appearing, as_path, open_parquet, reaching, read_files, sha256_of, write_text
from abaw.problems import BadInput

REPORTS = ".reports"
"""Folder beside the slots: what is known of each file, by which an interrupted run goes on."""
ROW_GROUP, ROW_GROUP_BYTES = 1024, 256 * 2**20
"""Rows that are read, checked and written at a time, fewer where their images are large: a task holds no more."""
MAX_PIXELS = 50_000_000
"""A larger image is refused unopened: decoded it would take more than 150 MB."""
FORMATS = {b"\x89PNG": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"RIFF": "WebP"}
"""How the files of other formats begin."""


def write_planned_file(job: dict[str, Any], *, plan: str, out: str) -> dict[str, str]:
    """Make the file of one job (`file`, `slot`, `group`), whose rows are that row group of `plan`.

    Returns its `report` as JSON, or the `error` of a disk or network that failed: Ray Data would hide what was raised.
    """
    try:
        with reaching(out):
            rows = open_parquet(as_path(plan)).read_row_group(int(job["group"]))
            report = write_file(rows, file=str(job["file"]), slot=int(job["slot"]), out=out)
    except (BadInput, OSError) as error:
        return {"report": "", "error": str(error)}
    return {"report": json.dumps(report), "error": ""}


def write_file(rows: pa.Table, *, file: str, slot: int, out: str) -> dict[str, Any]:
    """Make the file of these rows (`SCHEMA` with `path` for `image`), unless it is there and whole; its report.

    The report holds `file`, `entry` (the fields of a `ShardFile`), `drops` (path, reason), `videos` (for each the
    `bytes` of its images and a count for each of the `sizes`, `<height>x<width>`), and `rows`, the hash of the rows:
    with other rows or other bytes the file is made again.
    """
    target, note = as_path(out) / file, as_path(out) / REPORTS / f"{file}.json"
    rows_sha256 = hashlib.sha256(pl.DataFrame(rows).write_ndjson().encode()).hexdigest()
    known = _known(note)
    if known.get("rows") == rows_sha256 and known["entry"]["sha256"] == (sha256_of(target) if target.is_file() else ""):
        return known
    drops: list[dict[str, str]] = []
    videos: dict[str, dict[str, Any]] = {}
    entry = {"path": file, "slot": slot, "frames": 0, "bytes": 0, "sha256": "", "first_video": "", "last_video": ""}
    tables = _checked(rows, drops, videos)
    first = next(tables, None)
    if first is not None:
        entry |= _write(target, first, tables)
    report = {"file": file, "rows": rows_sha256, "entry": entry, "drops": drops, "videos": videos}
    write_text(note, json.dumps(report))
    return report


def _known(note: Path) -> dict[str, Any]:
    """The report of an earlier run; empty where there is none, or where a machine lost power while it was written."""
    try:
        return dict(json.loads(note.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _checked(rows: pa.Table, drops: list[dict[str, str]], videos: dict[str, dict[str, Any]]) -> Iterator[pa.Table]:
    """The rows with their images, a row group at a time, without those that end in `drops`; counts in `videos`."""
    images: list[bytes | None] = []
    start = held = 0
    paths, names = rows["path"].to_pylist(), rows["video"].to_pylist()
    for row, (video, path, content) in enumerate(zip(names, paths, read_files(paths), strict=True), start=1):
        size, reason = check_jpeg(content)
        if reason:
            drops.append({"path": path, "reason": reason})
            images.append(None)
        else:
            image = cast(bytes, content)
            count = videos.setdefault(video, {"bytes": 0, "sizes": {}})
            count["bytes"] += len(image)
            count["sizes"][size] = count["sizes"].get(size, 0) + 1
            held += len(image)
            images.append(image)
        if row - start == ROW_GROUP or held >= ROW_GROUP_BYTES or row == rows.num_rows:
            table = rows.slice(start, row - start).append_column("image", pa.array(images, pa.binary()))
            table = table.select(SCHEMA.names).cast(SCHEMA).filter(table["image"].is_valid())
            if table.num_rows:
                yield table
            images, start, held = [], row, 0


def _write(target: Path, first: pa.Table, others: Iterable[pa.Table]) -> Mapping[str, object]:
    """Write row groups to a file that appears whole; what its entry in the manifest says of it."""
    # JPEG does not compress again, and its pages are worth neither a dictionary nor the smallest and largest value.
    options = {
        "compression": {name: "none" if name == "image" else "zstd" for name in SCHEMA.names if name != "au"},
        "use_dictionary": ["video", "split"],
        "write_statistics": ["video", "frame", "split"],
    }
    frames, last = first.num_rows, first
    with appearing(target) as local:
        with pq.ParquetWriter(local, SCHEMA, **options) as writer:
            writer.write_table(first)
            for last in others:
                writer.write_table(last)
                frames += last.num_rows
        size, sha256 = local.stat().st_size, sha256_of(local)
    videos = {"first_video": first["video"][0].as_py(), "last_video": last["video"][-1].as_py()}
    return {"frames": frames, "bytes": size, "sha256": sha256, **videos}


def check_jpeg(content: bytes | OSError) -> tuple[str, str]:
    """The size `<height>x<width>` of an image that can be used, or the reason why it cannot; the other is empty."""
    if isinstance(content, OSError):
        return "", f"cannot be read: {content.strerror or content}"
    if not content:
        return "", "empty file"
    for start, name in FORMATS.items():
        if content.startswith(start):
            return "", f"holds a {name} image; expected JPEG, whatever the name says"
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
        if height * width > MAX_PIXELS:
            return "", f"{width} x {height} pixels; expected at most {MAX_PIXELS:,} pixels"
        if colours in ("CMYK", "YCCK"):
            return "", f"{colours} colours; expected RGB or grey"
        simplejpeg.decode_jpeg(content, colorspace="RGB")
    except ValueError as error:
        return "", f"no complete JPEG: {error}"
    return f"{height}x{width}", ""
