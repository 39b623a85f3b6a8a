"""Predictions and scores over all workers: each frame once, statistics merged exactly, an interval over videos."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray

from abaw.data.augment import Augmentation, views_of
from abaw.data.batches import Source, evaluation_batches
from abaw.data.sampling import ALL_FRAMES, Sampling
from abaw.intervals import fold_group, score_interval
from abaw.metrics import TrackStatistics
from abaw.predictions import LABEL_PREFIX, labels_of, schema, scores_of, write_predictions
from abaw.runs import plain
from abaw.systems.system import System
from abaw.tracks import Track
from abaw.training.workers import Worker

EVALUATION_BATCH = 256


@torch.no_grad()
def predict(
    system: System,
    source: Source,
    *,
    track: Track,
    worker: Worker,
    augmentation: Augmentation,
    sampling: Sampling = ALL_FRAMES,
) -> tuple[NDArray[np.int64], pa.Table]:
    """This worker's share of the source's frames: their row numbers and their predictions as columns of the track.

    A prediction is the mean over the views that `augmentation` asks for; features have one. Where `sampling`
    makes windows, the system sees windows as in training; every frame is in one.
    """
    system.eval()
    rows: list[NDArray[np.int64]] = []
    parts: dict[str, list[NDArray[np.float32]]] = {task.name: [] for task in track.tasks}
    for batch in evaluation_batches(
        source,
        batch=max(1, EVALUATION_BATCH // max(1, sampling.window)),
        sampling=sampling,
        rank=worker.rank,
        world=worker.world,
        loading=worker.loading,
    ):
        inside = batch["mask"] if sampling.window else torch.ones(len(batch["index"]), dtype=torch.bool)
        rows.append(batch["index"][inside].numpy())
        here = worker.put(batch)
        views = [{"image": view} for view in views_of(here["image"], augmentation)] if "image" in here else [{}]
        predicted = [system.predict({**here, **view}) for view in views]
        for task in track.tasks:
            mean = torch.stack([of_view[task.name] for of_view in predicted]).mean(dim=0)
            parts[task.name].append(mean.cpu()[inside].numpy())
    index = np.concatenate(rows) if rows else np.empty(0, np.int64)
    columns: dict[str, NDArray[np.float32]] = {}
    for task in track.tasks:
        stacked = np.concatenate(parts[task.name]) if rows else np.empty((0, len(task.columns)), np.float32)
        columns |= {name: stacked[:, k] for k, name in enumerate(task.columns)}
    return index, pa.table(columns)


def prediction_table(
    index: NDArray[np.int64], columns: pa.Table, source: Source, *, track: Track, fold: int | None, checkpoint: str
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


def summary_over_workers(table: pa.Table, track: Track, worker: Worker, *, seed: int) -> dict[str, Any]:
    """What `result.json` says of predictions: the score of the labelled rows of all workers, and how sure it is.

    `track`, `score` (a value), `score_name` and `higher_is_better`; `metrics`, every one by name; `per_class`, by task
    and column; `frames`, rows with a label of any task, and `videos`, theirs; `interval`, of `score` by a bootstrap
    over videos with this seed, two people of one video together, null where there is one video.
    """
    files: dict[str, TrackStatistics] = {}
    videos: set[str] = set()
    frames = 0
    for states, labelled in worker.gather((_states_by_video(table, track), _labelled_rows(table, track))):
        frames += labelled
        for video, state in states.items():
            one = TrackStatistics.from_state(track, state)
            if any(part.n for part in one.parts.values()):
                videos.add(video)
                files.setdefault(fold_group(video), TrackStatistics(track)).merge(one)
    counted = [files[name] for name in sorted(files)]
    whole = TrackStatistics(track)
    whole.merge(*counted)
    metrics = whole.compute()
    return {
        "track": track.name,
        "score": metrics[track.score],
        "score_name": track.score,
        "higher_is_better": track.higher_is_better,
        "interval": plain(score_interval(track, counted, seed=seed)) if len(counted) > 1 else None,
        "metrics": metrics,
        "per_class": {
            task.name: {
                name: metrics[f"{'CCC' if task.kind == 'regression' else 'F1'}_{name}"] for name in task.columns
            }
            for task in track.tasks
        },
        "frames": frames,
        "videos": len(videos),
    }


def _states_by_video(table: pa.Table, track: Track) -> dict[str, dict[str, NDArray[Any]]]:
    return {
        video: statistics_of(table.filter(pc.equal(table["video"], video)), track).state()
        for video in pc.unique(table["video"]).to_pylist()
    }


def _labelled_rows(table: pa.Table, track: Track) -> int:
    """Rows with a label of at least one task."""
    return int(np.logical_or.reduce([labels_of(table, task)[1] for task in track.tasks]).sum())


def write_over_workers(table: pa.Table, path: Path, worker: Worker) -> None:
    """Write the rows of all workers to one file, by rank 0."""
    parts: Iterable[pa.Table] = worker.gather(table)
    if worker.rank == 0:
        write_predictions(pa.concat_tables(parts), path)
    worker.barrier()
