"""Torch batches from shards: which frames a step sees is a function of (seed, epoch, step), for any number of workers.

JPEG bytes travel, pixels are made here, in the worker that consumes them, and stay uint8. A worker maps the bytes of
its files into memory and decodes a few batches ahead in threads (the decoder lets other threads run), so memory does
not grow with the data. Every worker knows the whole order of an epoch, so resuming at a step costs nothing.

Legend: B rows of a batch, N rows of a source.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from abaw.data.augment import augment
from abaw.data.frames import KEY, LABELS, SCHEMA, annotated, residues, unpack_labels
from abaw.data.jpegs import JpegColumn, decode
from abaw.data.shards import Manifest, read_manifest
from abaw.problems import refuse
from abaw.tracks import TRACKS

DECODERS = 2
"""Threads of a worker that decode, a batch each; the decoder does not hold Python's lock."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which frames an epoch takes."""

    one_of: int = 1
    """One frame of this many, with an offset that is fresh for each video and epoch (SRP, section 4); 1 takes all."""

    def __post_init__(self) -> None:
        if self.one_of < 1:
            raise ValueError(f"one_of is {self.one_of}; expected 1 to take every frame, or k to take one of k")


class FrameSource:
    """Frames of a folder of shards, by row number; opened once in each worker."""

    def __init__(
        self,
        shards: Path,
        *,
        videos: Sequence[str] | None = None,
        splits: Sequence[str] | None = None,
        labelled: bool = False,
    ) -> None:
        """Open the frames of these videos (equal names) and splits; with `labelled`, those annotated for some task.

        Raises BadInput when `shards` is none, or a video is not in it.
        """
        manifest = read_manifest(shards)
        self._jpegs = JpegColumn(shards, manifest.files)
        table = _label_table(shards, manifest)
        if videos is not None:
            if missing := sorted(set(videos) - set(table["video"].unique())):
                raise refuse(
                    shards, f"holds no video {', '.join(missing[:5])}; {len(missing)} of {len(videos)} are missing"
                )
            table = table.filter(pl.col("video").is_in(set(videos)))
        if splits is not None:
            table = table.filter(pl.col("split").is_in(set(splits)))
        if labelled:
            table = table.filter(pl.any_horizontal(annotated(task) for task in TRACKS["mtl"].tasks))
        table = table.sort(KEY)
        self._place_N2 = table.select("file", "row").to_numpy()
        self.table = table.drop("file", "row")
        """The frame table (Polars) without images, sorted by video and frame: row k has `index` k in batches."""
        labels = pl.DataFrame(self.labels()).select(pl.col(LABELS).cast(pl.Float32).fill_null(np.nan))
        self._labels_ND = np.ascontiguousarray(labels.to_numpy())
        self.image_size = _usual_size(manifest.image_sizes)

    def __len__(self) -> int:
        return self.table.height

    def labels(self) -> pa.Table:
        """video, frame, split, fold, valence, arousal, expression, AU1, ..., AU26; null where not annotated."""
        return unpack_labels(self.table.to_arrow().cast(pa.schema([SCHEMA.field(name) for name in self.table.columns])))

    def batch(self, rows_B: NDArray[np.int64]) -> dict[str, Tensor]:
        """The rows as tensors.

        `image` uint8 (B, 3, S, S), channels last in memory; `va` (B, 2) and `au` (B, 12) float32, `expression` (B,)
        int64, each 0 where not annotated; `va_mask` (B,), `expression_mask` (B,), `au_mask` (B, 12) bool; `index` (B,)
        int64.
        """
        image = decode([self._jpegs.jpeg(file, row) for file, row in self._place_N2[rows_B]], size=self.image_size)
        labels = torch.from_numpy(self._labels_ND[rows_B])
        present, labels = ~labels.isnan(), labels.nan_to_num()
        return {
            "image": image,
            "va": labels[:, :2],
            "va_mask": present[:, :2].all(dim=1),
            "expression": labels[:, 2].long(),
            "expression_mask": present[:, 2],
            "au": labels[:, 3:],
            "au_mask": present[:, 3:],
            "index": torch.from_numpy(rows_B),
        }


def epoch_order(table: pl.DataFrame, *, seed: int, epoch: int, sampling: Sampling) -> NDArray[np.int64]:
    """Row numbers of an epoch in the order in which they are seen.

    `table` has `video` and `frame`. With `one_of=k`, k epochs that begin at a multiple of k take every frame once.
    """
    rows_N = np.arange(table.height)
    if sampling.one_of > 1:
        cycle, turn = divmod(epoch, sampling.one_of)
        offset = _chance(seed, cycle, "offset").permutation(sampling.one_of)[turn]
        rows_N = rows_N[residues(table, sampling.one_of).to_numpy() == offset]
    return _chance(seed, epoch, "order").permutation(rows_N)


def steps_per_epoch(source: FrameSource, *, global_batch: int, sampling: Sampling) -> int:
    """Full batches that every epoch has; with sampling, epochs differ by a few frames and the smallest one counts."""
    if not len(source):
        return 0
    counts = np.bincount(residues(source.table, sampling.one_of).to_numpy(), minlength=sampling.one_of)
    return int(counts.min()) // global_batch


def batches(
    source: FrameSource,
    *,
    global_batch: int,
    rank: int,
    world: int,
    seed: int,
    epoch: int,
    start_step: int = 0,
    sampling: Sampling = Sampling(),
    flip: bool = False,
    crop_scale: float = 1.0,
    colour: float = 0.0,
) -> Iterator[dict[str, Tensor]]:
    """A worker's part of each global batch of an epoch, from `start_step` on; all batches are full.

    The global batches are the same for any number of workers; worker `rank` takes every `world`-th row of each. The
    rows that do not fill the last batch wait for another epoch: each epoch leaves out others.

    Raises ValueError when the workers cannot share `global_batch` equally.
    """
    if global_batch % world:
        raise ValueError(f"global_batch {global_batch} is not a multiple of the {world} workers; choose one that is")
    steps = steps_per_epoch(source, global_batch=global_batch, sampling=sampling)
    order_N = epoch_order(source.table, seed=seed, epoch=epoch, sampling=sampling)
    parts = (order_N[step * global_batch : (step + 1) * global_batch][rank::world] for step in range(start_step, steps))

    def load(rows_B: NDArray[np.int64]) -> dict[str, Tensor]:
        batch = source.batch(rows_B)
        if flip or crop_scale < 1 or colour:
            batch["image"] = augment(
                batch["image"], rows_B, seed=seed, epoch=epoch, flip=flip, crop_scale=crop_scale, colour=colour
            )
        return batch

    return _ahead(load, parts)


def evaluation_batches(source: FrameSource, *, batch: int, rank: int, world: int) -> Iterator[dict[str, Tensor]]:
    """A worker's share of all rows in their order: over the workers every row comes once, none is padded or dropped."""
    share = np.array_split(np.arange(len(source)), world)[rank]
    return _ahead(source.batch, (share[start : start + batch] for start in range(0, len(share), batch)))


def _label_table(shards: Path, manifest: Manifest) -> pl.DataFrame:
    """The frame table without images, with the place of each: `file` of the manifest and `row` in it."""
    columns = [name for name in SCHEMA.names if name != "image"]
    tables = [
        pl.DataFrame(pq.ParquetFile(shards / file.path).read(columns=columns))
        .with_row_index("row")
        .with_columns(file=k)
        for k, file in enumerate(manifest.files)
    ]
    return pl.concat(tables).with_columns(pl.col("file", "row").cast(pl.Int64))


def _usual_size(image_sizes: Mapping[str, int]) -> int:
    """Side of the squares that images come in: the larger side of the most frequent size."""
    usual = max(sorted(image_sizes), key=image_sizes.__getitem__)
    return max(int(side) for side in usual.split("x"))


def _ahead(
    load: Callable[[NDArray[np.int64]], dict[str, Tensor]], parts: Iterator[NDArray[np.int64]]
) -> Iterator[dict[str, Tensor]]:
    """`load` of each part in turn, begun before it is asked for."""
    with ThreadPoolExecutor(max_workers=DECODERS) as pool:
        pending: deque[Future[dict[str, Tensor]]] = deque()
        for part in parts:
            pending.append(pool.submit(load, part))
            if len(pending) > DECODERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _chance(seed: int, epoch: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, epoch, *purpose.encode()])
