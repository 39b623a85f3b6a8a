"""Predictions and scores over all workers: each frame once, statistics merged exactly."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from abaw.data.batches import FrameSource, evaluation_batches
from abaw.metrics import TrackStatistics
from abaw.predictions import LABEL_PREFIX, labels_of, schema, scores_of, write_predictions
from abaw.systems.system import System
from abaw.tracks import Track
from abaw.training.workers import Worker

EVALUATION_BATCH = 256


@torch.no_grad()
def predict(system: System, source: FrameSource, *, track: Track, worker: Worker) -> tuple[NDArray[np.int64], pa.Table]:
    """This worker's share of the source's frames: their row numbers and their predictions as columns of the track."""
    system.eval()
    rows: list[NDArray[np.int64]] = []
    parts: dict[str, list[NDArray[np.float32]]] = {task.name: [] for task in track.tasks}
    for batch in evaluation_batches(source, batch=EVALUATION_BATCH, rank=worker.rank, world=worker.world):
        rows.append(batch["index"].numpy())
        predicted = system.predict(batch["image"].to(worker.device))
        for task in track.tasks:
            parts[task.name].append(predicted[task.name].cpu().numpy())
    index = np.concatenate(rows) if rows else np.empty(0, np.int64)
    columns: dict[str, NDArray[np.float32]] = {}
    for task in track.tasks:
        stacked = np.concatenate(parts[task.name]) if rows else np.empty((0, len(task.columns)), np.float32)
        columns |= {name: stacked[:, k] for k, name in enumerate(task.columns)}
    return index, pa.table(columns)


def prediction_table(
    index: NDArray[np.int64], columns: pa.Table, source: FrameSource, *, track: Track, fold: int | None, checkpoint: str
) -> pa.Table:
    """The rows in the form of `abaw.predictions`, with the labels of the source beside them."""
    frames = source.labels().take(pa.array(index))
    values = {"video": frames["video"], "frame": frames["frame"]}
    values |= {name: columns[name] for name in track.columns}
    wanted = schema(track)
    for task in track.tasks:
        for name in task.label_columns:
            values[LABEL_PREFIX + name] = frames[name].cast(wanted.field(LABEL_PREFIX + name).type)
    values["fold"] = pa.array([fold] * len(index), pa.int8())
    values["checkpoint"] = pa.array([checkpoint] * len(index), pa.string())
    return pa.table(values).cast(wanted)


def statistics_of(table: pa.Table, track: Track) -> TrackStatistics:
    """Sufficient statistics of the labelled rows of a prediction table."""
    statistics = TrackStatistics(track)
    scores = {task.name: scores_of(table, task) for task in track.tasks}
    labels = {task.name: labels_of(table, task) for task in track.tasks}
    statistics.update(
        decided={task.name: task.decide(scores[task.name]) for task in track.tasks},
        true={name: true for name, (true, _) in labels.items()},
        mask={name: mask for name, (_, mask) in labels.items()},
        scores=scores,
    )
    return statistics


def score_over_workers(table: pa.Table, track: Track, worker: Worker) -> dict[str, float]:
    """The score of the rows of all workers: each sends its statistics, all merge them in the order of ranks."""
    states = worker.gather(statistics_of(table, track).state())
    merged = TrackStatistics(track)
    for state in states:
        merged.merge(TrackStatistics.from_state(track, state))
    return merged.compute()


def write_over_workers(table: pa.Table, path: Path, worker: Worker) -> None:
    """Write the rows of all workers to one file, by rank 0."""
    parts: Iterable[pa.Table] = worker.gather(table)
    if worker.rank == 0:
        write_predictions(pa.concat_tables(parts), path)
    worker.barrier()
