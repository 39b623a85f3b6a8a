"""What an entry gets right and wrong, from the counts that the store keeps: no frame is read again.

Classes and action units: F1, precision, recall and rates; classes: the confusion matrix; valence and arousal: means,
spreads and correlation. The counts are those of the videos that the board shows (`leaderboard.split.visible`).
Legend: C classes or action units.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from abaw.metrics import Concordance, Confusion, TrackStatistics
from abaw.tracks import Task, Track
from leaderboard.board import Row

MOST = 20
"""Classes that are shown at most, those with the most frames; Emo135 has 135."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One class or action unit."""

    name: str
    f1: float
    interval: tuple[float, float] | None
    precision: float | None
    """None where nothing was predicted as it."""
    recall: float | None
    """None where no frame is labelled with it."""
    true: int
    """Frames labelled with it."""
    predicted: int
    """Labelled frames predicted as it."""
    frames: int
    """Labelled frames of its task."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Frames of one true and one predicted class."""

    count: int
    share: float
    """Of the frames of the true class; 0 where there are none."""


@dataclass(frozen=True, kw_only=True)
class Confusions:
    """The confusion matrix: a row a true class, a column a predicted one."""

    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int
    """Classes that are not shown."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Valence or arousal: how predictions and truth are spread, and how they go together."""

    name: str
    ccc: float
    interval: tuple[float, float] | None
    correlation: float
    mean_true: float
    mean_predicted: float
    sd_true: float
    sd_predicted: float


@dataclass(frozen=True, kw_only=True)
class TaskScores:
    """What is shown of one task of an entry; what the task does not have is empty."""

    name: str
    score: float | None
    parts: tuple[Part, ...] = ()
    left_out: int = 0
    """Classes that are not among the parts."""
    confusions: Confusions | None = None
    spreads: tuple[Spread, ...] = ()


def scores_of(track: Track, statistics: TrackStatistics, row: Row) -> list[TaskScores]:
    """The scores of each task that has a labelled frame."""
    return [_task_scores(task, statistics, row) for task in track.tasks if statistics.parts[task.name].n]


def shown_columns(task: Task, true_C: Sequence[int]) -> list[int]:
    """The classes or units that are shown, in the order of the track: all, or those with the most frames."""
    often = sorted(range(len(task.columns)), key=lambda c: (-true_C[c], c))
    return sorted(often[:MOST])


def _task_scores(task: Task, statistics: TrackStatistics, row: Row) -> TaskScores:
    part = statistics.parts[task.name]
    score = row.metrics.get(f"S_{task.name.upper()}", row.score if len(statistics.track.tasks) == 1 else None)
    if isinstance(part, Concordance):
        return TaskScores(name=task.name, score=score, spreads=_spreads(part, row))
    if isinstance(part, Confusion):
        matrix = part.matrix
        hits_C, predicted_C, true_C = matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)
    else:
        _, hits_C, predicted_C, true_C = part.state
    shown = shown_columns(task, true_C.tolist())
    return TaskScores(
        name=task.name,
        score=score,
        parts=tuple(_part(task.columns[c], part.n, hits_C[c], predicted_C[c], true_C[c], row) for c in shown),
        left_out=len(task.columns) - len(shown),
        confusions=_confusions(part, shown) if isinstance(part, Confusion) else None,
    )


def _part(name: str, frames: int, hits: int, predicted: int, true: int, row: Row) -> Part:
    return Part(
        name=name,
        f1=row.metrics[f"F1_{name}"],
        interval=interval_of(row, f"F1_{name}"),
        precision=hits / predicted if predicted else None,
        recall=hits / true if true else None,
        true=int(true),
        predicted=int(predicted),
        frames=frames,
    )


def _confusions(part: Confusion, shown: Sequence[int]) -> Confusions:
    true_C = part.matrix.sum(axis=1)
    rows = tuple(
        tuple(Cell(count=int(count), share=float(count / max(true_C[c], 1))) for count in part.matrix[c, shown])
        for c in shown
    )
    return Confusions(names=tuple(part.columns[c] for c in shown), rows=rows, left_out=len(part.columns) - len(shown))


def _spreads(part: Concordance, row: Row) -> tuple[Spread, ...]:
    n, shift_p, shift_t, offset_p, offset_t, sum_pp, sum_tt, sum_pt = part.state
    bottom = np.sqrt(sum_pp * sum_tt)
    correlation = np.divide(sum_pt, bottom, out=np.zeros_like(bottom), where=bottom > 0)
    return tuple(
        Spread(
            name=column,
            ccc=row.metrics[f"CCC_{column}"],
            interval=interval_of(row, f"CCC_{column}"),
            correlation=float(correlation[d]),
            mean_true=float(shift_t[d] + offset_t[d]),
            mean_predicted=float(shift_p[d] + offset_p[d]),
            sd_true=float(np.sqrt(sum_tt[d] / n[d])),
            sd_predicted=float(np.sqrt(sum_pp[d] / n[d])),
        )
        for d, column in enumerate(part.columns)
    )


def interval_of(row: Row, metric: str) -> tuple[float, float] | None:
    """Low and high of a metric's 95 % interval, where there is one."""
    found = row.intervals.get(metric)
    return (float(found[0]), float(found[1])) if found else None
