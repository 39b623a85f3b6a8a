"""Torch batches from shards: which frames a step sees is a function of (seed, epoch, step), for any number of workers.

JPEG bytes travel, pixels are made here, in the worker that consumes them, and stay uint8; the model normalises them on
its device. A worker maps the bytes of its files into memory and decodes a few batches ahead in threads (the decoder
lets other threads run), so memory does not grow with the data. Every worker knows the whole order of an epoch, so
resuming at a step costs nothing.

Legend: B rows or windows of a batch, T frames of a window, N rows of a source.
"""

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from abaw.data.augment import Augmentation, augment
from abaw.data.frames import KEY, LABELS, SCHEMA, annotated, residues, unpack_labels
from abaw.data.jpegs import JpegColumn, decode
from abaw.data.manifest import read_manifest, usual_size
from abaw.data.sampling import ALL_FRAMES, OUTSIDE, Rows, Sampling, epoch_order, epoch_size, windows
from abaw.data.soft_targets import read_soft_targets
from abaw.data.storage import open_parquet
from abaw.problems import refuse
from abaw.tracks import Task

MOST_DECODERS = 16
"""More threads than this wait for each other: a batch takes each of them some Python."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How much of a machine decodes images for one DDP worker. Results do not depend on it."""

    decoders: int = 0
    """Threads, each with a batch of its own; 0 shares the CPUs among the DDP workers of the machine, 1 to 16 each."""
    prefetch: int = 0
    """Batches that are made while one is used; 0 takes one more than there are threads."""

    def resolved(self) -> "Loading":
        """With numbers for what is 0. Ray Train and torchrun say in LOCAL_WORLD_SIZE how many workers share us."""
        cpus, workers = os.cpu_count() or 1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        decoders = self.decoders or max(1, min(MOST_DECODERS, cpus // workers))
        return Loading(decoders=decoders, prefetch=self.prefetch or decoders + 1)


class Chosen(TypedDict, total=False):
    """Which rows of a frame table a source has, and what it has beside them."""

    videos: Sequence[str] | None
    splits: Sequence[str] | None
    tasks: Sequence[Task]
    soft_targets: Sequence[Path]


class Source(ABC):
    """Rows of a frame table by their number, as tensors with their labels; what else they hold, subclasses say."""

    def __init__(
        self,
        table: pl.DataFrame,
        *,
        folder: Path,
        videos: Sequence[str] | None = None,
        splits: Sequence[str] | None = None,
        tasks: Sequence[Task] = (),
        soft_targets: Sequence[Path] = (),
    ) -> None:
        """Take the rows of these videos (equal names) and splits; with `tasks`, those annotated for one of them.

        `table` is the frame table without images, with the place of each row: the number of a `file` of `folder`, and
        its `row` there. `soft_targets` are prediction tables of a teacher for these tasks, which must hold every frame.
        Raises BadInput when a video is not there, or a frame has no soft target.
        """
        if videos is not None:
            if missing := sorted(set(videos) - set(table["video"].unique())):
                raise refuse(
                    folder, f"holds no video {', '.join(missing[:5])}; {len(missing)} of {len(videos)} are missing"
                )
            table = table.filter(pl.col("video").is_in(set(videos)))
        if splits is not None:
            table = table.filter(pl.col("split").is_in(set(splits)))
        if tasks:
            table = table.filter(pl.any_horizontal(annotated(task) for task in tasks))
        table = table.sort(KEY)
        self._place_N2 = table.select("file", "row").to_numpy()
        self._frame_N = table["frame"].cast(pl.Int64).to_numpy()
        self.table = table.drop("file", "row")
        """The frame table (Polars) without images, sorted by video and frame: row k has `index` k in batches."""
        labels = pl.DataFrame(self.labels()).select(pl.col(LABELS).cast(pl.Float32).fill_null(np.nan))
        self._labels_ND = np.ascontiguousarray(labels.to_numpy())
        self._soft = read_soft_targets(soft_targets, self.table, tasks) if soft_targets else {}

    def __len__(self) -> int:
        return self.table.height

    def labels(self) -> pa.Table:
        """video, frame, split, fold, valence, arousal, expression, AU1, ..., AU26; null where not annotated."""
        return unpack_labels(self.table.to_arrow().cast(pa.schema([SCHEMA.field(name) for name in self.table.columns])))

    def batch(self, rows: Rows) -> dict[str, Tensor]:
        """The rows (B,), or windows of rows (B, T), as tensors.

        What `inputs` gives, and `va` (B, 2) and `au` (B, 12) float32, `expression` (B,) int64, each 0 where not
        annotated; `va_mask` (B,), `expression_mask` (B,), `au_mask` (B, 12) bool; `frame` and `index` (B,) int64, the
        number in the video and the row of the source; with soft targets, `soft_va` (B, 2), `soft_expr` (B, C) and
        `soft_au` (B, 12) float32.

        Windows have B, T in place of B everywhere, and `mask` (B, T) bool: False where a window reaches beyond the
        video. There the nearest frame stands again, with its own number and without labels.
        """
        if rows.ndim == 1:
            return self._batch(rows, rows)
        filled_BT = fill_outside(rows)
        batch = self._batch(filled_BT.reshape(-1), rows.reshape(-1))
        windows_BT = {name: value.view(*rows.shape, *value.shape[1:]) for name, value in batch.items()}
        return windows_BT | {"mask": torch.from_numpy(rows != OUTSIDE)}

    @abstractmethod
    def inputs(self, places_B2: NDArray[np.int64]) -> dict[str, Tensor]:
        """What a network sees of the rows at these places, (file, row) each."""

    def _batch(self, rows_B: Rows, labelled_B: Rows) -> dict[str, Tensor]:
        """Inputs of the rows, with the labels of those that are not `OUTSIDE` in `labelled_B`."""
        inputs = self.inputs(self._place_N2[rows_B])
        labels = torch.from_numpy(self._labels_ND[rows_B])
        labels[torch.from_numpy(labelled_B == OUTSIDE)] = torch.nan
        present, labels = ~labels.isnan(), labels.nan_to_num()
        return (
            inputs
            | {
                "va": labels[:, :2],
                "va_mask": present[:, :2].all(dim=1),
                "expression": labels[:, 2].long(),
                "expression_mask": present[:, 2],
                "au": labels[:, 3:],
                "au_mask": present[:, 3:],
                "frame": torch.from_numpy(self._frame_N[rows_B]),
                "index": torch.from_numpy(rows_B),
            }
            | {name: torch.from_numpy(soft_NC[rows_B]) for name, soft_NC in self._soft.items()}
        )


class FrameSource(Source):
    """Frames of a folder of shards, by row number; opened once in each worker."""

    def __init__(self, shards: Path, **chosen: Unpack[Chosen]) -> None:
        """Open the chosen frames. Raises BadInput when `shards` is none, and as `Source` does."""
        manifest = read_manifest(shards)
        self._jpegs = JpegColumn(shards, manifest.files)
        self.image_size = usual_size(manifest.image_sizes)
        super().__init__(label_table(shards, [file.path for file in manifest.files]), folder=shards, **chosen)

    def inputs(self, places_B2: NDArray[np.int64]) -> dict[str, Tensor]:
        """`image` uint8 (B, 3, S, S), channels last in memory."""
        return {"image": decode([self._jpegs.jpeg(file, row) for file, row in places_B2], size=self.image_size)}


def steps_per_epoch(source: Source, *, global_batch: int, sampling: Sampling) -> int:
    """Full batches that every epoch has."""
    return epoch_size(source.table, sampling) // global_batch


def batches(
    source: Source,
    *,
    global_batch: int,
    rank: int,
    world: int,
    seed: int,
    epoch: int,
    start_step: int = 0,
    sampling: Sampling = ALL_FRAMES,
    augmentation: Augmentation | None = None,
    loading: Loading = Loading(),
) -> Iterator[dict[str, Tensor]]:
    """A worker's part of each global batch of an epoch, from `start_step` on; all global batches are full.

    The global batches are the same for any number of workers; worker `rank` takes every `world`-th item of each, so
    that their shares differ by one at most. The items that do not fill the last batch wait for another epoch: each
    epoch leaves out others. Without `augmentation` images come as they are; with it, all frames of a window are changed
    alike.
    """
    steps = steps_per_epoch(source, global_batch=global_batch, sampling=sampling)
    order = epoch_order(source.table, seed=seed, epoch=epoch, sampling=sampling)
    parts = (order[step * global_batch : (step + 1) * global_batch][rank::world] for step in range(start_step, steps))

    def load(rows: Rows) -> dict[str, Tensor]:
        batch = source.batch(rows)
        if augmentation is not None:
            image = batch["image"] if rows.ndim == 1 else batch["image"].flatten(0, 1)
            alike = rows if rows.ndim == 1 else rows.max(axis=1).repeat(rows.shape[1])
            image = augment(image, alike, seed=seed, epoch=epoch, settings=augmentation)
            batch["image"] = image.view(*rows.shape, *image.shape[1:])
        return batch

    return ahead(load, parts, loading.resolved())


def evaluation_batches(
    source: Source, *, batch: int, rank: int, world: int, sampling: Sampling = ALL_FRAMES, loading: Loading = Loading()
) -> Iterator[dict[str, Tensor]]:
    """A worker's share of all rows in their order: over the workers every row comes once, none is padded or dropped.

    Of `sampling` only windows count: then the items are windows whose frames are as many and as far apart as those of
    training, and every row is in one window, where `mask` is True.
    """
    items = np.arange(len(source))
    if sampling.window:
        apart, turn_N = Sampling(window=sampling.window), residues(source.table, sampling.one_of).to_numpy()
        turns = (items[turn_N == turn] for turn in range(sampling.one_of))
        items = np.concatenate([windows(source.table, rows, sampling=apart, generator=None) for rows in turns])
    share = np.array_split(items, world)[rank]
    parts = (share[start : start + batch] for start in range(0, len(share), batch))
    return ahead(source.batch, parts, loading.resolved())


def fill_outside(rows_BT: Rows) -> Rows:
    """Windows with the nearest row of the window in place of `OUTSIDE`."""
    inside_BT = rows_BT != OUTSIDE
    first_B1 = inside_BT.argmax(axis=1)[:, None]
    last_B1 = first_B1 + inside_BT.sum(axis=1)[:, None] - 1
    return np.take_along_axis(rows_BT, np.arange(rows_BT.shape[1])[None].clip(first_B1, last_B1), axis=1)


def label_table(folder: Path, files: Sequence[str]) -> pl.DataFrame:
    """The frame table of these files without images, with the place of each row: number of the `file`, `row` in it."""
    columns = [name for name in SCHEMA.names if name != "image"]
    tables = [
        pl.DataFrame(open_parquet(folder / file).read(columns=columns)).with_row_index("row").with_columns(file=k)
        for k, file in enumerate(files)
    ]
    return pl.concat(tables).with_columns(pl.col("file", "row").cast(pl.Int64))


def ahead(
    load: Callable[[Rows], dict[str, Tensor]], parts: Iterator[Rows], loading: Loading
) -> Iterator[dict[str, Tensor]]:
    """`load` of each part in turn, begun before it is asked for, in memory from which a GPU can copy by itself."""

    def ready(part: Rows) -> dict[str, Tensor]:
        batch = load(part)
        return {name: value.pin_memory() for name, value in batch.items()} if torch.cuda.is_available() else batch

    # Settles how many threads the caller computes with: the decoders' number would else become its number too.
    torch.get_num_threads()
    with ThreadPoolExecutor(max_workers=loading.decoders, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        pending: deque[Future[dict[str, Tensor]]] = deque()
        for part in parts:
            pending.append(pool.submit(ready, part))
            if len(pending) > loading.prefetch:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
