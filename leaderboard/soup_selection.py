"""Which checkpoints go into a soup: the greedy selection of Wortsman et al. (2022), and what it is worth.

What a choice scores on the frames that it was made on is too good. Each fold of videos can be scored with the soup that
the other folds choose, where every soup that is tried leaves its predictions; where it leaves a number alone, nobody
knows that score, and the soup is told to be in-sample. A soup is a network: each one that is tried predicts once.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from abaw.metrics import TrackStatistics
from abaw.postprocess.crossfit import pooled_score
from abaw.predictions import read_predictions
from abaw.tracks import Track
from leaderboard.agreement import Agreement
from leaderboard.making import FOLDS
from leaderboard.members import Labels, count, gather, labels_for
from leaderboard.soup import write_soup

OfFiles = Callable[[Sequence[Path]], float]
Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One checkpoint tried by `greedy_soup`."""

    path: Path
    score: float
    """Of the soup with it."""
    kept: bool


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A greedy soup, and its score told three ways."""

    steps: tuple[Step, ...]
    untuned: float
    """The soup of all checkpoints: nothing chosen."""
    in_sample: float
    cross_fitted: float | None
    """Each fold of videos with the soup that the other folds choose; None where the scores tell no videos apart."""

    @property
    def files(self) -> list[Path]:
        """The checkpoints of the soup."""
        return _kept(self.steps)


def greedy_soup(files: Sequence[Path], score: OfFiles) -> list[Step]:
    """Try the checkpoints from the best to the worst; one stays if the soup with it scores no less than without it.

    `score` is that of the soup of some of them.
    """
    alone = sorted(((score([path]), path) for path in files), key=lambda pair: -pair[0])
    best, first = alone[0]
    steps = [Step(path=first, score=best, kept=True)]
    for _, path in alone[1:]:
        found = score([*_kept(steps), path])
        steps.append(Step(path=path, score=found, kept=found >= best))
        best = max(best, found)
    return steps


def choose(files: Sequence[Path], score: Callable[[Path], float]) -> Chosen:
    """The greedy soup by the score of each that is tried."""
    with tempfile.TemporaryDirectory() as folder:
        tried = _Tried(score, Path(folder))
        return _chosen(greedy_soup(files, tried), untuned=tried(files), cross_fitted=None)


def choose_nested(files: Sequence[Path], predict: Callable[[Path, Path], None], track: Track) -> Chosen:
    """The greedy soup by the predictions of each that is tried, with the same choice made without each fold of videos.

    `predict` writes the prediction table, with labels, of a checkpoint (its first path) to its second path. BadInput
    where tables differ in frames or labels, lack labels, or come from one video.
    """
    with tempfile.TemporaryDirectory() as folder:
        counting = _Counting(track, predict, Path(folder) / "predicted.parquet")
        tried = _Tried(counting, Path(folder))
        tried(files[:1])  # which says what is labelled, and so how videos are put into folds
        folds = range(counting.folds)

        def greedy(kept: Sequence[int]) -> list[Step]:
            return greedy_soup(files, lambda some: pooled_score(track, [tried(some)[fold] for fold in kept]))

        parts = []
        for fold in folds:
            others = [other for other in folds if other != fold]
            elsewhere = _kept(greedy(others)) if counting.has_labels(others) else files
            parts.append(tried(elsewhere)[fold])
        untuned = pooled_score(track, tried(files))
        return _chosen(greedy(folds), untuned=untuned, cross_fitted=pooled_score(track, parts))


class _Tried(Generic[Found]):
    """What is found out about a soup: each is made and looked at once."""

    def __init__(self, look: Callable[[Path], Found], folder: Path) -> None:
        self._look, self._folder = look, folder
        self._found: dict[frozenset[Path], Found] = {}

    def __call__(self, files: Sequence[Path]) -> Found:
        key = frozenset(files)
        if key not in self._found:
            path = files[0]
            if len(files) > 1:
                path = self._folder / "soup.safetensors"
                write_soup(files, path)
            self._found[key] = self._look(path)
        return self._found[key]


class _Counting:
    """The statistics of a checkpoint's predictions on each fold of videos."""

    def __init__(self, track: Track, predict: Callable[[Path, Path], None], table: Path) -> None:
        self._track, self._predict, self._table = track, predict, table
        self._agreement = Agreement(track)
        self._labels: Labels | None = None

    def __call__(self, weights: Path) -> list[TrackStatistics]:
        self._table.unlink(missing_ok=True)
        self._predict(weights, self._table)
        table = self._agreement.add(str(weights), read_predictions(self._table, self._track))
        self._agreement.reasons.raise_any()
        assert table is not None
        members = gather([(str(weights), table)], 1, self._track)
        self._labels = self._labels or labels_for(members, folds=FOLDS, seed=0)
        scores = {name: x_MNC[0].astype(np.float64) for name, x_MNC in members.scores.items()}
        counted = []
        for fold in range(self._labels.folds):
            rows_N = self._labels.fold_N == fold
            own: dict[str, Any] = {name: x_NC[rows_N] for name, x_NC in scores.items()}
            counted.append(count(own, self._labels, self._track, rows_N))
        return counted

    @property
    def folds(self) -> int:
        """Once a checkpoint has predicted."""
        assert self._labels is not None
        return self._labels.folds

    def has_labels(self, folds: Sequence[int]) -> bool:
        """Whether every task has a labelled frame there."""
        assert self._labels is not None
        return all((mask_N & np.isin(self._labels.fold_N, folds)).any() for mask_N in self._labels.mask.values())


def _chosen(steps: Sequence[Step], *, untuned: float, cross_fitted: float | None) -> Chosen:
    in_sample = max(step.score for step in steps if step.kept)
    return Chosen(steps=tuple(steps), untuned=untuned, in_sample=in_sample, cross_fitted=cross_fitted)


def _kept(steps: Sequence[Step]) -> list[Path]:
    return [step.path for step in steps if step.kept]
