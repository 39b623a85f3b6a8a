"""What each video adds to a score: its sufficient statistics, which are pooled, resampled, split and kept in the store.

A score is counted once, video by video. All that follows (the score, its interval, the score of a fold or of the public
videos, the comparison of two entries) adds these counts and never looks at a frame again.
Legend: N rows (frames).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abaw.intervals import Interval, fold_group, interval_of, resampled_metrics
from abaw.metrics import TrackStatistics
from abaw.tracks import Track
from leaderboard.images import of_stills, places

if TYPE_CHECKING:
    import polars as pl

ByTask = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The counted frames of one video, of one fold where there are folds."""

    video: str
    """Empty for still images without a folder."""
    fold: int | None
    frames: int
    """Frames that have a label of at least one task."""
    statistics: TrackStatistics

    def metrics(self) -> dict[str, float]:
        """Every metric of this video alone; of a track of several tasks, those of the tasks it has labels for."""
        parts = self.statistics.parts
        if all(parts[task.name].n for task in self.statistics.track.tasks):
            return self.statistics.compute()
        return {name: value for part in parts.values() if part.n for name, value in part.compute().items()}


def count(
    track: Track,
    image: "pl.Series",
    decided: ByTask,
    true: ByTask,
    mask: ByTask,
    scores: ByTask | None = None,
    fold: "pl.Series | None" = None,
) -> list[Counted]:
    """Count the frames of each video (and fold); sorted by video, so that the order of the rows does not matter.

    Args:
        track: whose metrics are counted.
        image: names (N,).
        decided: as `TrackStatistics.update` takes them, like `true`, `mask` and `scores`.
        true: labels.
        mask: which of them there are.
        scores: class scores, for the top-k accuracies.
        fold: number of the fold (N,) in which a frame was held out, null for none.
    """
    import polars as pl

    folds = pl.Series("fold", [None], dtype=pl.Int64).extend_constant(None, len(image) - 1) if fold is None else fold
    keys = places(image).select("video").with_columns(folds.cast(pl.Int64).alias("fold")).with_row_index("row")
    counted = []
    groups = keys.group_by("video", "fold").agg("row").sort("video", "fold")
    for video, of_fold, rows in zip(groups["video"], groups["fold"], groups["row"], strict=True):
        rows_N = rows.to_numpy()
        statistics = TrackStatistics(track)
        statistics.update(
            _take(decided, rows_N), _take(true, rows_N), _take(mask, rows_N), _take(scores, rows_N) if scores else None
        )
        counted.append(Counted(video=video, fold=of_fold, frames=len(rows_N), statistics=statistics))
    return counted


def _take(arrays: ByTask, rows_N: NDArray[np.integer[Any]]) -> dict[str, NDArray[Any]]:
    return {name: array[rows_N] for name, array in arrays.items()}


def pooled(track: Track, counted: Iterable[Counted]) -> TrackStatistics:
    """The statistics of all frames together."""
    whole = TrackStatistics(track)
    whole.merge(*(one.statistics for one in counted))
    return whole


def by_source(track: Track, counted: Sequence[Counted]) -> dict[str, TrackStatistics]:
    """The statistics by video file, sorted: what is resampled. `x_left` and `x_right` are two people of one video."""
    sources: dict[str, list[Counted]] = {}
    for one in counted:
        sources.setdefault(fold_group(one.video), []).append(one)
    alone = {name: found[0].statistics for name, found in sources.items() if len(found) == 1}
    return {name: alone.get(name) or pooled(track, sources[name]) for name in sorted(sources)}


def intervals(track: Track, counted: Sequence[Counted]) -> dict[str, Interval]:
    """The 95 % interval of each metric, by a bootstrap over videos; empty for stills and for fewer than two videos."""
    sources = by_source(track, counted)
    if of_stills(track) or len(sources) < 2:
        return {}
    resampled = resampled_metrics(track, list(sources.values()))
    return {name: interval_of(values_R) for name, values_R in resampled.items()}


def fold_scores(track: Track, counted: Sequence[Counted]) -> dict[int, float]:
    """The ranking score of each fold that has labels of every task; empty where there are no folds."""
    scores = {}
    for fold in sorted({one.fold for one in counted if one.fold is not None}):
        whole = pooled(track, [one for one in counted if one.fold == fold])
        if all(whole.parts[task.name].n for task in track.tasks):
            scores[fold] = whole.compute()[track.score]
    return scores


def to_json(counted: Iterable[Counted]) -> list[dict[str, Any]]:
    """The counts in plain types; `from_json` reads them. JSON keeps a float64 exactly."""
    return [
        {
            "video": one.video,
            "fold": one.fold,
            "frames": one.frames,
            "state": {name: state.tolist() for name, state in one.statistics.state().items()},
        }
        for one in counted
    ]


def from_json(track: Track, plain: Iterable[Mapping[str, Any]]) -> list[Counted]:
    """The counts that `to_json` wrote for the same track."""
    return [
        Counted(
            video=one["video"],
            fold=one["fold"],
            frames=one["frames"],
            statistics=TrackStatistics.from_state(
                track, {name: np.array(state) for name, state in one["state"].items()}
            ),
        )
        for one in plain
    ]
