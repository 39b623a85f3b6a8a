"""Speed of our batches from shards, against torch's DataLoader and against the decoder itself.

Every contender hands over shuffled uint8 batches of 256 images of 112x112, decoded by simplejpeg, to one consumer that
does nothing else. Contenders take turns, and a figure is the median over the rounds: what else the machine does meets
all of them. `python benchmarks/data.py` prints one line of JSON; `--write` also writes docs/data-speed.md.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"

import numpy as np
import pyarrow as pa
import ray
import simplejpeg
import torch
import torch.distributed as dist
from account import account, commit, section
from targets import target
from torch.utils.data import DataLoader, Dataset

from abaw.data.batches import FrameSource, batches
from abaw.data.images import read_images
from abaw.data.sampling import Sampling
from abaw.data.shards import write_shards

PICTURES, VIDEOS, BATCH, SIZE = 4_000, 200, 256, 112
ROUNDS, TURN, WARM, EPOCHS = 7, 100, 12, 3
"""Rounds, batches of a turn, batches before it that are not timed (those that were made while others had their turn),
and whole epochs."""
OURS, FILES, COLUMN = "ours", "DataLoader, 2 workers, JPEG files", "DataLoader, 2 workers, one Arrow column"
CEILING, TWO = "two threads that only decode", "ours, two DDP consumers together"
GOALS = {FILES: 1.0, COLUMN: 0.9, CEILING: 0.75, TWO: 0.9}
"""Least shares."""
PAGE = Path(__file__).parents[1] / "docs" / "data-speed.md"


class JpegFiles(Dataset[torch.Tensor]):
    """Pixels (S, S, 3) of files, one by one."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with open(self.paths[index], "rb") as file:
            return torch.from_numpy(simplejpeg.decode_jpeg(file.read(), colorspace="RGB"))


class JpegColumn(Dataset[torch.Tensor]):
    """Pixels (B, S, S, 3) of a batch of rows of one Arrow column of JPEG bytes, mapped into memory."""

    def __init__(self, path: Path, rows: int) -> None:
        self.path, self.rows = path, rows
        self.column: pa.ChunkedArray | None = None

    def __len__(self) -> int:
        return self.rows

    def __getitems__(self, indices: Sequence[int]) -> torch.Tensor:
        if self.column is None:
            self.column = pa.ipc.open_file(pa.memory_map(str(self.path))).read_all()["image"]
        pixels_BHWC = np.empty((len(indices), SIZE, SIZE, 3), np.uint8)
        for place, index in enumerate(indices):
            jpeg = np.frombuffer(self.column[index].as_buffer(), np.uint8)
            pixels_BHWC[place] = simplejpeg.decode_jpeg(jpeg, colorspace="RGB")
        return torch.from_numpy(pixels_BHWC)


def itself(batch: torch.Tensor) -> torch.Tensor:
    return batch


def write_images(folder: Path, frames: int) -> list[bytes]:
    """Smooth pictures with a little noise, about 5.6 kB each as face crops are, each under many names."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[0:SIZE, 0:SIZE]
    jpegs = []
    for picture in range(PICTURES):
        waves = [128 + 60 * np.sin(row / 9 + picture + c) + 50 * np.cos(column / 13 + c) for c in range(3)]
        pixels = (np.stack(waves, axis=-1) + rng.normal(0, 5, (SIZE, SIZE, 3))).clip(0, 255).astype(np.uint8)
        jpegs.append(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=90))
    for video in range(VIDEOS):
        (folder / f"video{video}").mkdir(parents=True)
    for image in range(frames):
        path = folder / f"video{image % VIDEOS}" / f"{image // VIDEOS + 1:05d}.jpg"
        path.write_bytes(jpegs[image % PICTURES])
    return jpegs


def write_column(path: Path, jpegs: list[bytes], frames: int) -> None:
    """The images as one Arrow column."""
    schema = pa.schema([("image", pa.binary())])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start in range(0, frames, 8192):
            some = [jpegs[image % PICTURES] for image in range(start, min(start + 8192, frames))]
            writer.write_batch(pa.record_batch([pa.array(some, pa.binary())], schema=schema))


def ours(source: FrameSource, epoch: int, *, one_of: int = 1) -> Iterator[dict[str, torch.Tensor]]:
    return batches(source, global_batch=BATCH, rank=0, world=1, seed=0, epoch=epoch, sampling=Sampling(one_of=one_of))


def ceiling(jpegs: list[bytes], frames: int) -> Iterator[np.ndarray]:
    """Two threads that decode bytes which lie in memory: no order, no labels, no disk."""

    def decode(images: np.ndarray) -> np.ndarray:
        pixels_BHWC = np.empty((BATCH, SIZE, SIZE, 3), np.uint8)
        for place, image in enumerate(images):
            pixels_BHWC[place] = simplejpeg.decode_jpeg(jpegs[image], colorspace="RGB")
        return pixels_BHWC

    rng = np.random.default_rng(0)
    with ThreadPoolExecutor(2) as pool:
        pending = [pool.submit(decode, rng.integers(0, PICTURES, BATCH)) for _ in range(3)]
        for _ in range(frames // BATCH):
            pending.append(pool.submit(decode, rng.integers(0, PICTURES, BATCH)))
            yield pending.pop(0).result()


class Turns:
    """A contender: epochs one after another, of which a turn takes some batches."""

    def __init__(self, epoch: Callable[[], Iterator[Any]]) -> None:
        self.epoch, self.now = epoch, iter(())

    def take(self, count: int) -> None:
        """Consume some batches."""
        for _ in range(count):
            if next(self.now, None) is None:
                self.now = epoch = self.epoch()
                next(epoch)

    def rate(self) -> float:
        """Images a second of a turn."""
        self.take(WARM)
        started = time.perf_counter()
        self.take(TURN)
        return TURN * BATCH / (time.perf_counter() - started)


def first_batch(epoch: Callable[[], Iterator[Any]]) -> float:
    """Seconds until the first batch."""
    started = time.perf_counter()
    next(epoch())
    return time.perf_counter() - started


def make_shards(pool: Path, shards: Path) -> None:
    """In a process of its own, so that nothing of Ray is left in the one that is timed."""
    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="warning")
    write_shards(read_images(pool).frames, shards)
    ray.shutdown()


def consumer(rank: int, shards: Path, meet: Path, pipe: Connection) -> None:
    """One of two DDP processes: takes its half of each global batch, and meets the other one at each step."""
    os.environ["LOCAL_WORLD_SIZE"] = "2"
    dist.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=2)
    source = FrameSource(shards)
    turns = Turns(lambda: batches(source, global_batch=2 * BATCH, rank=rank, world=2, seed=0, epoch=0))
    while pipe.recv():
        turns.take(WARM)
        dist.barrier()
        started = time.perf_counter()
        for _ in range(TURN // 2):
            turns.take(1)
            dist.all_reduce(torch.ones(1))
        pipe.send(TURN * BATCH / (time.perf_counter() - started))
    dist.destroy_process_group()


class TwoConsumers:
    """Two DDP processes that take a turn together."""

    def __init__(self, shards: Path, meet: Path) -> None:
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(2)]
        self.pipes = [pair[0] for pair in pairs]
        for rank, (_, pipe) in enumerate(pairs):
            context.Process(target=consumer, args=(rank, shards, meet, pipe), daemon=True).start()
        self.rate()

    def rate(self) -> float:
        """Images a second of both together."""
        self.say(True)
        return float(statistics.mean([pipe.recv() for pipe in self.pipes]))

    def say(self, more: bool) -> None:
        """Ask for another turn, or end the processes."""
        for pipe in self.pipes:
            pipe.send(more)


def time_epochs(source: FrameSource) -> dict[str, Any]:
    """Whole epochs of all frames and of one of ten, in turn, and the pauses between two epochs."""
    seconds: dict[int, list[float]] = {1: [], 10: []}
    pauses = []
    last = time.perf_counter()
    for epoch in range(2 * EPOCHS):
        one_of = 10 if epoch % 2 else 1
        started = time.perf_counter()
        for step, _ in enumerate(ours(source, epoch // 2, one_of=one_of)):
            if step == 0 and epoch:
                pauses.append(time.perf_counter() - last)
            last = time.perf_counter()
        seconds[one_of].append(time.perf_counter() - started)
    whole, tenth = (statistics.median(seconds[one_of]) for one_of in (1, 10))
    return {
        "an epoch, seconds": round(whole, 2),
        "an epoch of one frame of ten, seconds": round(tenth, 2),
        "the second / the first (at most 0.15)": round(tenth / whole, 3),
        "pause between two epochs, seconds, median (at most 0.5)": round(statistics.median(pauses), 3),
        "the longest pause, seconds": round(max(pauses), 3),
    }


def prepare(folder: Path, frames: int) -> list[bytes]:
    """Write the images as files, as one Arrow column and as shards; needs about 25 kB of disk a frame."""
    jpegs = write_images(folder / "pool", frames)
    write_column(folder / "column.arrow", jpegs, frames)
    arguments = (folder / "pool", folder / "shards")
    process = multiprocessing.get_context("spawn").Process(target=make_shards, args=arguments)
    process.start()
    process.join()
    return jpegs


def measure(folder: Path, jpegs: list[bytes], frames: int) -> dict[str, Any]:
    """All figures, over what `prepare` wrote to the folder."""
    pool, shards, column = folder / "pool", folder / "shards", folder / "column.arrow"
    options = {"batch_size": BATCH, "shuffle": True, "num_workers": 2, "drop_last": True, "persistent_workers": True}
    files = DataLoader(JpegFiles(sorted(str(path) for path in pool.rglob("*.jpg"))), **options)
    arrow = DataLoader(JpegColumn(column, frames), collate_fn=itself, **options)
    startup = {
        "DataLoader over files": first_batch(lambda: iter(files)),
        "DataLoader over one Arrow column": first_batch(lambda: iter(arrow)),
    }
    opened = time.perf_counter()
    source = FrameSource(shards)
    startup["ours: shards opened"] = time.perf_counter() - opened
    startup["ours: first batch, nothing copied yet"] = first_batch(lambda: ours(source, 0))
    copied = time.perf_counter()
    sum(1 for _ in ours(source, 0))
    startup["ours: first epoch, which copies the rest"] = time.perf_counter() - copied
    startup["ours: first batch of a later run"] = first_batch(lambda: ours(FrameSource(shards), 0))
    two = TwoConsumers(shards, folder / "meet")
    contenders = {
        OURS: Turns(lambda: ours(source, 0)),
        FILES: Turns(lambda: iter(files)),
        COLUMN: Turns(lambda: iter(arrow)),
        CEILING: Turns(lambda: ceiling(jpegs, frames)),
        TWO: two,
    }
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, contender in contenders.items():
            rates[name].append(contender.rate())
    two.say(False)
    return {
        "frames": frames,
        "kB an image": round(statistics.mean(len(jpeg) for jpeg in jpegs) / 1000, 2),
        "cores": os.cpu_count(),
        "commit": commit(),
        "images/s": {name: round(statistics.median(of)) for name, of in rates.items()},
        "ours, as a share of it": {name: spread(rates, name) for name in (FILES, COLUMN, CEILING)},
        "two consumers / one": spread(rates, OURS, TWO),
        "start-up, seconds": {name: round(value, 2) for name, value in startup.items()},
        "epochs": time_epochs(source),
    }


def spread(rates: dict[str, list[float]], base: str, name: str | None = None) -> list[float]:
    """Median, least and most of the ratios of the rounds: the two of a ratio ran one after the other."""
    ratios = [one / other for one, other in zip(rates[name or OURS], rates[base], strict=True)]
    return [round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios))]


def shares_of(figures: dict[str, Any]) -> dict[str, list[float]]:
    """Median, least and most of our rate as a share of each contender's, and of two consumers' as one of one."""
    return figures["ours, as a share of it"] | {TWO: figures["two consumers / one"]}


def page(figures: dict[str, Any]) -> str:
    """The figures as Markdown."""
    shares = shares_of(figures)
    goals = {name: str(goal) for name, goal in GOALS.items()} | {TWO: f"{GOALS[TWO]}, of one consumer"}
    lines = [
        "# Speed of the batches",
        "",
        f"Written by `python benchmarks/data.py --write` at commit {figures['commit']}, on {figures['cores']} cores.",
        f"{figures['frames']:,} JPEG frames of 112x112 and {figures['kB an image']} kB, batches of {BATCH},",
        f"one consumer that does nothing else. {ROUNDS} rounds, in which contenders take turns of {TURN} batches.",
        "",
        "## Steady state",
        "",
        "| contender | images/s, median | ours / it, median (least to most) | goal, at least |",
        "|---|---:|---:|---:|",
    ]
    for name, rate in figures["images/s"].items():
        middle, least, most = shares.get(name, [1.0, 1.0, 1.0])
        ratio = "" if name == OURS else f"{middle:.2f} ({least:.2f} to {most:.2f})"
        lines.append(f"| {name} | {rate:,} | {ratio} | {goals.get(name, '')} |")
    lines += ["", "For two consumers the ratio is theirs to one of ours.", "", "## Start-up and epochs", ""]
    lines += ["| what | seconds |", "|---|---:|"]
    lines += [f"| {name} | {value} |" for name, value in figures["start-up, seconds"].items()]
    lines += ["", "| what | value |", "|---|---:|"]
    lines += [f"| {name} | {value} |" for name, value in figures["epochs"].items()]
    lines += section(figures["accounts"])
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures = measure(folder, prepare(folder, arguments.frames), arguments.frames)
    targets = [
        target(
            f"ours against {name}" if name != TWO else f"{TWO}, against one", share[0], rounds=share, least=GOALS[name]
        )
        for name, share in shares_of(figures).items()
    ]
    ours_s, decode_s = (1 / figures["images/s"][name] for name in (OURS, CEILING))
    spent = {"decoding": decode_s, "all else": ours_s - decode_s}
    limit = f"{CEILING}, {1 / decode_s:,.0f} images/s"
    figures["accounts"] = [account("an image of a batch", spent, limit=limit, limit_s=decode_s)]
    print(json.dumps(figures | {"targets": targets}))
    if arguments.write:
        PAGE.write_text(page(figures))


if __name__ == "__main__":
    main()
