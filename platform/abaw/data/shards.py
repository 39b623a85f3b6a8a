"""Parquet shards of a frame table, written by Ray Data: JPEG bytes as delivered, laid out so that sampling is cheap.

`slot=K/00000.parquet` holds the frames with `(frame + offset of the video) % slots == K`, sorted by video and frame, so
an epoch that takes one frame of `slots` reads one folder. What a file holds is decided here, before any task starts:
the bytes are the same however many tasks run. Every file appears whole, and `.reports` says from which rows it was
made: an interrupted run that is started again makes what is missing. `manifest.json` is written last; a folder without
it is unfinished. `drops.parquet` lists every image that could not be used, and why; `sources.parquet` says which file
each row was made of.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track as progress

from abaw.data.frames import DROP_SCHEMA, KEY, ORIGINAL, SCHEMA, annotated, residues
from abaw.data.manifest import (
    AS_DELIVERED,
    CACHE,
    DROPS,
    MANIFEST,
    SOURCES,
    Manifest,
    Preprocessing,
    ShardFile,
    add_up,
    read_manifest,
    usual_size,
)
from abaw.data.shard_file import REPORTS, write_planned_file
from abaw.data.storage import (
    appearing,
    as_path,
    claim_folder,
    file_sizes,
    open_parquet,
    reaching,
    remove_folder,
    write_text,
)
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import TRACKS

LOG = logging.getLogger(__name__)
FILES_READ = 8
"""Files that are read at a time: on a remote file system each waits for the network."""
MOST_SLOTS = 65_536
OURS = (MANIFEST, DROPS, SOURCES, CACHE, REPORTS, "coverage.md", "slot=*", "*.partial")
"""What a folder of shards may hold: nothing else is ever replaced."""


def check_options(*, slots: int, overwrite: bool, resume: bool) -> None:
    """BadInput for options of `write_shards` that cannot be."""
    problems = []
    if not 1 <= slots <= MOST_SLOTS:
        problems.append(Problem(path="--slots", message=f"is {slots}; expected 1 to {MOST_SLOTS:,}"))
    if overwrite and resume:
        what = "--resume keeps what is done, --overwrite does it again; give one of them"
        problems.append(Problem(path="--resume", message=f"is given with --overwrite: {what}"))
    if problems:
        raise BadInput(problems)


def write_shards(
    frames: pl.DataFrame,
    out: Path,
    *,
    slots: int = 10,
    rows_per_file: int = 8192,
    overwrite: bool = False,
    resume: bool = False,
    drops: pl.DataFrame | None = None,
    track: str = "mtl",
    preprocessing: Preprocessing = AS_DELIVERED,
    source: str = "frames",
) -> Manifest:
    """Write the rows of a frame table that have an image (`path`) to `out`, on the Ray that is connected.

    Every image is decoded once: one that cannot be is dropped, listed and counted, and the rest goes on.

    Args:
        frames: frame table; images may lie on any file system that fsspec opens.
        out: folder, local or remote.
        slots: an epoch that takes one frame of this many reads one part.
        rows_per_file: largest number of frames in a file.
        overwrite: replace the shards in `out`.
        resume: go on where a run was interrupted; files that are there, whole and of the same rows are kept.
        drops: `path` and `reason` of what the source left out; they join the images that cannot be decoded.
        track: whose classes `expression` numbers.
        preprocessing: how the images were made.
        source: where the frames come from, in words.

    Raises:
        BadInput: `out` holds something and not one of `overwrite` and `resume` is given, `slots` is not 1 to 65,536, a
            frame is there twice, no image is left, or `out` cannot be written.
    """
    check_options(slots=slots, overwrite=overwrite, resume=resume)
    out = as_path(out).absolute()
    places = _places(frames, slots)
    with _beginning(out, overwrite=overwrite, resume=resume):
        jobs = _plan(frames, places, rows_per_file, out / SOURCES)
    reports = sorted(_make_files(jobs, out), key=lambda report: report["file"])
    entries = tuple(ShardFile(**report["entry"]) for report in reports if report["entry"]["frames"])
    bad = pl.DataFrame([drop for report in reports for drop in report["drops"]], schema=DROP_SCHEMA)
    dropped = _write_drops(bad if drops is None else pl.concat([bad, drops.select(bad.columns)]), out)
    if not entries:
        raise refuse(out, f"none of the {places.height} images can be used, see {DROPS}; first: {dropped.row(0)}")
    _remove_strangers(out, entries, reports)
    sizes = add_up([video["sizes"] for report in reports for video in report["videos"].values()])
    manifest = Manifest(
        source=source,
        frames=sum(entry.frames for entry in entries),
        dropped=dropped.height,
        image_sizes=sizes,
        track=track,
        preprocessing=replace(preprocessing, size=preprocessing.size or usual_size(sizes)),
        slots=slots,
        files=entries,
        **_counts(frames, bad),
    )
    write_text(out / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")
    return manifest


def _write_drops(drops: pl.DataFrame, out: Path) -> pl.DataFrame:
    """Write and return them, sorted."""
    drops = drops.sort(drops.columns)
    with appearing(out / DROPS) as local:
        drops.write_parquet(local)
    return drops


@contextmanager
def _beginning(out: Path, *, overwrite: bool, resume: bool) -> Iterator[None]:
    """Make the folder ours and unfinished, until the manifest is there again."""
    try:
        with reaching(out):
            if claim_folder(out, OURS, go_on=overwrite or resume) and overwrite:
                remove_folder(out)
            (out / MANIFEST).unlink(missing_ok=True)
            yield
    except OSError as error:
        raise refuse(out, f"cannot be written: {error}; give a folder that can be written to") from error


def open_frames(
    shards: Path,
    *,
    columns: Sequence[str] | None = None,
    slot: int | None = None,
    splits: Sequence[str] | None = None,
    videos: Sequence[str] | None = None,
    manifest: Manifest | None = None,
) -> pa.Table:
    """Rows of the shards sorted by video and frame, of which only the files, row groups and columns needed are read.

    Args:
        shards: folder that `write_shards` wrote.
        columns: columns of the frame table; all when not given. Without `image` this reads few bytes.
        slot: only this slot.
        splits: only these splits.
        videos: only the videos of these names.
        manifest: that of the shards, where it was read before.
    """
    shards = as_path(shards)
    wanted = list(columns) if columns is not None else SCHEMA.names
    conditions = {name: only for name, only in (("split", splits), ("video", videos)) if only is not None}
    read = list(dict.fromkeys([*wanted, *KEY, *conditions]))
    rows = None
    for name, only in conditions.items():
        condition = pc.field(name).isin(pa.array(only, pa.string()))
        rows = condition if rows is None else rows & condition

    def load(entry: ShardFile) -> pa.Table:
        with open_parquet(shards / entry.path) as file:
            table = file.read_row_groups(_groups(file, videos), columns=read)
        return table if rows is None else table.filter(rows)

    entries = [entry for entry in (manifest or read_manifest(shards)).files if _may_hold(entry, slot, videos)]
    with ThreadPoolExecutor(FILES_READ) as pool:
        tables = list(pool.map(load, entries))
    table = pa.concat_tables([SCHEMA.empty_table().select(read), *tables])
    return table.sort_by([(name, "ascending") for name in KEY]).select(wanted)


def _may_hold(entry: ShardFile, slot: int | None, videos: Sequence[str] | None) -> bool:
    return slot in (None, entry.slot) and _are_between(videos, entry.first_video, entry.last_video)


def _groups(file: pq.ParquetFile, videos: Sequence[str] | None) -> list[int]:
    """The row groups of a file that may hold one of these videos."""
    place = SCHEMA.get_field_index("video")
    names = [file.metadata.row_group(group).column(place).statistics for group in range(file.num_row_groups)]
    return [group for group, name in enumerate(names) if _are_between(videos, name.min, name.max)]


def _are_between(videos: Sequence[str] | None, first: str, last: str) -> bool:
    """Whether one of the videos may be among rows that are sorted by video."""
    return videos is None or any(first <= video <= last for video in videos)


def _places(frames: pl.DataFrame, slots: int) -> pl.DataFrame:
    """Which `row` of the frame table goes to which `slot`, in the order of the shards: 6 bytes a frame."""
    ordered = frames.select(*KEY, pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"))
    ordered = ordered.filter(frames["path"].is_not_null()).sort(KEY)
    if ordered.is_empty():
        raise refuse("frames", f"none of the {frames.height} rows has an image; expected images in the folders given")
    repeated = ordered.filter(pl.all_horizontal(pl.col(name) == pl.col(name).shift() for name in KEY))
    if repeated.height:
        video, frame, row = repeated.row(0)
        more = repeated.filter((pl.col("video") == video) & (pl.col("frame") == frame)).height
        message = f"frame {frame} of video {video} is there {more} more times; expected one row a frame"
        raise refuse(frames["path"][row], message)
    return ordered.select("row", residues(ordered, slots).cast(pl.UInt16).alias("slot"))


def _plan(frames: pl.DataFrame, places: pl.DataFrame, rows_per_file: int, path: Path) -> list[dict[str, Any]]:
    """Write the rows of every file to `path`, a row group each; returns `file`, `slot` and `group` of each."""
    originals = [name for name in frames.columns if name == ORIGINAL]
    columns = ["path", *originals, *(name for name in SCHEMA.names if name != "image")]
    jobs: list[dict[str, Any]] = []
    with appearing(path) as local, pq.ParquetWriter(local, frames.head(0).select(columns).to_arrow().schema) as writer:
        for slot in places["slot"].unique().sort():
            row_N = places.filter(pl.col("slot") == slot)["row"]
            for part, start in enumerate(range(0, len(row_N), rows_per_file)):
                writer.write_table(frames.select(columns)[row_N.slice(start, rows_per_file)].to_arrow())
                jobs.append({"file": f"slot={slot}/{part:05d}.parquet", "slot": slot, "group": len(jobs)})
    return jobs


def _make_files(jobs: list[dict[str, Any]], out: Path) -> Iterator[dict[str, Any]]:
    """One Ray Data task a file; their reports as they end."""
    import ray.data  # reading shards needs no Ray, which takes half a second to load

    # The bar below says what is written; Ray Data's own bars and notes would cut through it.
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    dataset = ray.data.from_items(jobs, override_num_blocks=len(jobs))
    made = dataset.map(write_planned_file, fn_kwargs={"plan": str(out / SOURCES), "out": str(out)})
    made.set_name("shards")  # on the dashboard
    for row in progress(made.iter_rows(), "writing shards", total=len(jobs), console=Console(stderr=True)):
        if row["error"]:
            raise refuse(out, f"stopped by {row['error']}; mend it and go on with --resume")
        yield json.loads(row["report"])


def _remove_strangers(out: Path, entries: Sequence[ShardFile], reports: Sequence[Mapping[str, Any]]) -> None:
    """Remove what an interrupted run, or one of other frames, left."""
    wanted = {f"{REPORTS}/{report['file']}.json" for report in reports}
    wanted |= {name for entry in entries for name in (entry.path, f"{CACHE}/{entry.copy_name}")}
    for name in file_sizes(out):
        if name not in wanted and (name.startswith(("slot=", REPORTS, CACHE)) or name.endswith(".partial")):
            LOG.info("%s: %s is of an earlier run and is removed", out, name)
            (out / name).unlink()


def _counts(frames: pl.DataFrame, bad: pl.DataFrame) -> dict[str, Any]:
    """What the manifest counts, of the rows with an image that can be used; `bad` holds the paths of the others."""
    present = pl.col("path").is_not_null()
    kept = frames.lazy().filter(present & ~pl.col("path").is_in(bad["path"].implode()))
    return {
        "videos": kept.select(pl.col("video").n_unique()).collect().item(),
        "splits": _count_splits(kept),
        "without_image": frames.select((~present).sum()).item(),
    }


def _count_splits(kept: pl.LazyFrame) -> dict[str, dict[str, int]]:
    labelled = [annotated(task).sum().alias(task.name) for task in TRACKS["mtl"].tasks]
    counts = kept.group_by("split").agg(pl.len().alias("frames"), pl.col("video").n_unique().alias("videos"), *labelled)
    return {row.pop("split"): row for row in counts.sort("split").collect().to_dicts()}
