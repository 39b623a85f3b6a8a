"""Sharding: frames a second, whether it slows down, and memory, against the number of frames.

    python benchmarks/shards.py                          10,000, 100,000 and 1,000,000 frames; lines of JSON
    python benchmarks/shards.py --frames 10000 100000    these alone
    python benchmarks/shards.py --write                  also docs/shards.md

4,000 pictures of 112x112 stand under as many names as frames are asked for: every frame is read, decoded and written as
if it were a file of its own. Memory is the sum over all processes of the run, Ray's included, with shared pages divided
among those who share them (PSS), four times a second; the object store's own pages (shared memory) are counted apart.
The limit is reading and decoding alone, on as many cores.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "disabled"

import numpy as np
import polars as pl
import psutil
import simplejpeg
from account import Account, account, commit, seconds_of, section
from targets import target

ROOT = Path(__file__).parents[1]
PICTURES, SIZE, FRAMES_A_VIDEO = 4_000, 112, 5_000
STORE = 512 * 2**20
"""Cap of Ray's object store, in bytes."""
TENTH_FILES = 5
"""Files that a tenth of the run has at least, for its speed to mean something."""


def write_pictures(folder: Path) -> None:
    """Smooth pictures with a little noise: about 5 kB each, as face crops are."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[0:SIZE, 0:SIZE]
    for picture in range(PICTURES):
        waves = [128 + 60 * np.sin(row / 9 + picture + c) + 50 * np.cos(column / 13 + c) for c in range(3)]
        pixels = (np.stack(waves, axis=-1) + rng.normal(0, 5, (SIZE, SIZE, 3))).clip(0, 255).astype(np.uint8)
        (folder / f"{picture:05d}.jpg").write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=90))


def frame_names(frames: int, folder: Path) -> pl.DataFrame:
    """A frame table of so many frames in videos of 5,000."""
    from abaw.data.frames import frame_table

    number = pl.int_range(frames, eager=True)
    picture = (number % PICTURES).cast(pl.String).str.zfill(5)
    rows = pl.DataFrame(
        {
            "video": pl.select(pl.format("video{}", (number // FRAMES_A_VIDEO).cast(pl.String).str.zfill(6))),
            "frame": (number % FRAMES_A_VIDEO + 1).cast(pl.Int32),
            "path": pl.select(pl.format("{}/{}.jpg", pl.lit(str(folder)), picture)).to_series(),
            "valence": (number % 201 - 100).cast(pl.Float32) / 100,
            "expression": number % 8,
        }
    )
    return frame_table(rows.with_columns(split=pl.lit("train")))


def shard(frames: int, pictures: Path, out: Path) -> None:
    """Write the shards in this process and Ray's; prints when writing began and what was written."""
    import ray

    from abaw.data.shards import write_shards

    ray.init(
        address="local", include_dashboard=False, object_store_memory=STORE, log_to_driver=False, logging_level="error"
    )
    names = frame_names(frames, pictures)
    started = time.time()
    manifest = write_shards(names, out)
    seconds = time.time() - started
    size = sum(file.bytes for file in manifest.files)
    print(json.dumps({"frames": frames, "seconds": seconds, "bytes": size, "files": len(manifest.files)}))


def measure(frames: int, pictures: Path, out: Path) -> dict:
    """One run in a process of its own, with its peak memory and the speed of its first and last tenth."""
    command = [sys.executable, __file__, "--one", str(frames), str(pictures), str(out)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peak = {"all": 0.0, "driver": 0.0, "store": 0.0}
    watcher = threading.Thread(target=watch_memory, args=(psutil.Process(process.pid), peak), daemon=True)
    watcher.start()
    text, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"sharding {frames} frames failed")
    return json.loads(text) | {"peak": peak, "tenths": tenths(out)}


def account_of(result: dict, pictures: Path) -> Account:
    """What of the time reading and decoding would take alone, as a loop on one core takes it, on all cores."""

    def bare() -> None:
        for path in pictures.iterdir():
            simplejpeg.decode_jpeg(path.read_bytes())

    cores = psutil.cpu_count() or 1
    bare_s = min(seconds_of(bare) for _ in range(2)) / PICTURES / cores
    spent = {"reading and decoding": bare_s * result["frames"]}
    spent["all else"] = max(0.0, result["seconds"] - sum(spent.values()))
    limit = f"reading and decoding on {cores} cores, {1 / bare_s:,.0f} frames/s"
    return account(f"{result['frames']:,} frames", spent, limit=limit, limit_s=bare_s * result["frames"])


def watch_memory(process: psutil.Process, peak: dict[str, float]) -> None:
    """Keep the largest sums, in GiB."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        alone = pages(process.pid)
        every = [alone, *(pages(child.pid) for child in process.children(recursive=True))]
        now = {"all": sum(a for a, _ in every), "driver": alone[0], "store": sum(b for _, b in every)}
        for name, value in now.items():
            peak[name] = max(peak[name], value)
        time.sleep(0.25)


def pages(pid: int) -> tuple[float, float]:
    """PSS of a process in GiB: without shared memory, and the shared memory."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (OSError, ProcessLookupError):
        return 0.0, 0.0
    sizes = {name: int(rest.split()[0]) / 2**20 for name, rest in (line.split(":") for line in lines)}
    return sizes.get("Pss", 0.0) - sizes.get("Pss_Shmem", 0.0), sizes.get("Pss_Shmem", 0.0)


def tenths(out: Path) -> tuple[float, float] | None:
    """Frames a second in the first and in the last tenth of the files, by the times at which they appeared."""
    from abaw.data.manifest import read_manifest

    done = sorted(((out / file.path).stat().st_mtime, file.frames) for file in read_manifest(out).files)
    count = len(done) // 10
    if count < TENTH_FILES:
        return None

    def speed(part: list[tuple[float, int]]) -> float:
        return sum(frames for _, frames in part[1:]) / (part[-1][0] - part[0][0])

    return speed(done[: count + 1]), speed(done[-count - 1 :])


def table(results: list[dict]) -> list[str]:
    lines = [
        "| frames | seconds | frames/s | GB written | files | last tenth / first | peak GiB | driver GiB | store GiB |",
        "|---:" * 9 + "|",
    ]
    for result in results:
        pair, peak = result["tenths"], result["peak"]
        ratio = f"{pair[1] / pair[0]:.2f}" if pair else "too few files"
        cells = [
            f"{result['frames']:,}", f"{result['seconds']:.1f}", f"{result['frames'] / result['seconds']:,.0f}",
            f"{result['bytes'] / 1e9:.2f}", str(result["files"]), ratio,
            f"{peak['all']:.2f}", f"{peak['driver']:.2f}", f"{peak['store']:.2f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def estimate(results: list[dict]) -> list[str]:
    """What the largest run means for the sizes that were not run."""
    small, large = results[0], results[-1]
    cores = psutil.cpu_count()
    a_core = large["frames"] / large["seconds"] / cores
    a_frame = large["bytes"] / large["frames"]
    slope = max(0.0, (large["peak"]["driver"] - small["peak"]["driver"]) / (large["frames"] - small["frames"])) * 2**30
    lines = [
        f"From the run of {large['frames']:,} frames: {a_core:,.0f} frames/s a core (so many frames / seconds / "
        f"{cores} cores), {a_frame:,.0f} bytes a frame; from the smallest and the largest run: {slope:,.0f} bytes of "
        "the driver a frame, which is the frame table itself (names, paths, labels). A task holds 1,024 images or "
        "256 MiB and "
        "does not depend on the number of frames.",
        "",
        "| frames | cores | time = frames / (cores x frames/s a core) | bytes written | driver |",
        "|---:|---:|---:|---:|---:|",
    ]
    for frames, many in ((2_900_000, cores), (2_900_000, 64), (100_000_000, 64), (100_000_000, 512)):
        minutes = frames / (many * a_core) / 60
        lines.append(
            f"| {frames:,} | {many} | {minutes:,.1f} min | {frames * a_frame / 1e9:,.0f} GB "
            f"| {small['peak']['driver'] + frames * slope / 2**30:,.1f} GiB |"
        )
    bandwidth = 64 * a_core * a_frame / 1e6
    return [
        *lines,
        "",
        f"64 cores read and write {bandwidth:,.0f} MB/s each way; a disk or a network that gives less sets the time "
        "instead: bytes / bandwidth. Crops of another size cost as their pixels and bytes do.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        shard(int(arguments.one[0]), *map(Path, arguments.one[1:]))
        return
    if len(arguments.frames) < 2:
        parser.error("--frames needs two numbers or more: memory a frame is a difference")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        pictures.mkdir()
        write_pictures(pictures)
        for frames in sorted(arguments.frames):
            with tempfile.TemporaryDirectory(dir=folder) as out:
                result = measure(frames, pictures, Path(out))
            results.append(result | {"accounts": [account_of(result, pictures)]})
            rate = round(frames / results[-1]["seconds"])
            goal = target(f"sharding {frames:,} frames, with what Ray Data takes to start", rate, unit="frames/s")
            print(json.dumps(results[-1] | {"targets": [goal]}), flush=True)
    if arguments.write:
        (ROOT / "docs" / "shards.md").write_text(page(results))


def page(results: list[dict]) -> str:
    sizes = " ".join(str(result["frames"]) for result in results)
    lines = [
        "# Sharding, measured",
        "",
        f"Written by `python benchmarks/shards.py --write --frames {sizes}` at commit "
        f"`{commit()}` on {psutil.cpu_count()} cores, one run. Every frame is read, decoded and written; "
        f"{PICTURES:,} pictures of {SIZE}x{SIZE} stand under all names, so reading meets the page cache. `peak` is all "
        f"processes beside the object store, `store` the object store (cap {STORE / 2**30:.1f} GiB), `driver` the "
        "process that holds the frame table.",
        "",
        *table(results),
        "",
        "## Larger sizes, estimated",
        "",
        *estimate(results),
        *section(found for result in results for found in result["accounts"]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
