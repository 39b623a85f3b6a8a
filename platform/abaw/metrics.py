"""Exact, mergeable scores of the challenge tracks: CCC, F1 with fixed labels, top-k (rules of the ABAW challenges).

All frames of all videos are pooled, then one score is computed. Each statistic is one array of fixed shape that holds
all that its score needs, so any split of the frames over batches, ranks and shards, merged in any order, gives the
one-shot score to 1e-12. Everything is counted in int64 or summed in float64.

Legend: N rows (frames), D label columns, C classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abaw.row_rules import Floats, Rule, checked_rows, rule_of
from abaw.tracks import Task, Track

State = NDArray[Any]


class Statistic:
    """What the statistics share: `state`, an array that `update` and `merge` grow and `compute` reads."""

    state: State
    """All that `merge` and `compute` need; its first entry is n, its shape depends on the columns alone."""

    def __init__(self, columns: Sequence[str], state: State, predicted: Rule, true: Rule) -> None:
        self.columns = tuple(columns)
        self.state = state
        self._rules = {"predicted": predicted, "true": true}

    @property
    def n(self) -> int:
        """Rows counted so far; masked ones are not."""
        return int(self.state.flat[0])

    def update(self, predicted: ArrayLike, true: ArrayLike, mask: ArrayLike | None = None) -> None:
        """Count the rows where `mask` (N,) is true, or all.

        Raises:
            ValueError: a shape is wrong, or a counted row holds a value that is not allowed. Masked rows hold anything.
        """
        rows = checked_rows({"predicted": predicted, "true": true}, mask, self._rules)
        self.count(rows["predicted"], rows["true"])

    def count(self, predicted: Floats, true: Floats) -> None:
        """Count rows (N, D) of which it is known that all values are allowed."""
        if len(true):
            state = self._count(predicted, true)
            self.state = self._pool(np.stack([self.state, state])) if self.n else state

    def merge(self, *others: Self) -> None:
        """Add the rows that other statistics of the same kind and columns have seen."""
        for one in others:
            if type(one) is not type(self) or one.columns != self.columns or one.state.shape != self.state.shape:
                raise ValueError(f"cannot merge {one} into {self}: they must be of one kind and have the same columns")
        self.state = self._pool(np.stack([self.state, *(one.state for one in others)]))

    def compute(self) -> dict[str, float]:
        """The scores by name. Raises ValueError when no row was counted."""
        if self.n == 0:
            raise ValueError(f"{self}: no rows; nothing to score")
        return {name: float(values_1[0]) for name, values_1 in self._scores(self.state[None]).items()}

    def _scores(self, states_R: State) -> dict[str, Floats]:
        """The scores (R,) by name of R such states, each with a row."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.columns)})"

    def _pool(self, states_S: State) -> State:
        """The state of the rows of S states together."""
        return np.asarray(states_S.sum(axis=0))

    def _count(self, predicted: Floats, true: Floats) -> State:
        raise NotImplementedError


class Concordance(Statistic):
    """`CCC_<column>`: Lin's concordance, variances and covariance over n; 0 where predictions or truth are constant.

    Rows are (N, D) real values. The state (8, D) holds n, a shift and an offset for either mean, and the three centred
    sums. A mean is kept as shift + offset where the shift is the first row seen, so rounding is relative to the spread
    of the values and not to the size of their mean.
    """

    def __init__(self, columns: Sequence[str], rule: Rule | None = None) -> None:
        rule = rule or Rule(len(columns), np.isfinite, "a finite number")
        super().__init__(columns, np.zeros((8, len(columns))), rule, rule)

    def _count(self, predicted: Floats, true: Floats) -> State:
        # Columns lie together here, with prediction and truth side by side.
        x_D2N = np.empty((len(self.columns), 2, len(true)))
        shift_2D = np.stack([predicted[0], true[0]])
        for values, shift_D, x_DN in zip((predicted, true), shift_2D, x_D2N.swapaxes(0, 1), strict=True):
            np.subtract(values.T, shift_D[:, None], out=x_DN)
        offset_D2 = x_D2N.mean(axis=2)
        x_D2N -= offset_D2[:, :, None]
        sums_D4 = (x_D2N @ x_D2N.swapaxes(1, 2)).reshape(-1, 4)
        return np.concatenate([np.full((1, len(sums_D4)), len(true)), shift_2D, offset_D2.T, sums_D4.T[[0, 3, 1]]])

    def _pool(self, states_S: State) -> State:
        """Chan, Golub and LeVeque: around the shifts of the first state that has rows."""
        states_S = states_S[states_S[:, 0, 0] > 0]
        if len(states_S) < 2:
            return states_S[0] if len(states_S) else self.state
        rows_S, shifts_S, offsets_S, sums_S = np.split(states_S, (1, 3, 5), axis=1)
        offsets_S = offsets_S + (shifts_S - shifts_S[0])
        rows = rows_S.sum(axis=0)
        offset = (rows_S * offsets_S).sum(axis=0) / rows
        delta_S = offsets_S - offset
        between_S = rows_S * delta_S[:, [0, 1, 0]] * delta_S[:, [0, 1, 1]]
        return np.concatenate([rows, shifts_S[0], offset, (sums_S + between_S).sum(axis=0)])

    def _scores(self, states_R: State) -> dict[str, Floats]:
        n, shift_p, shift_t, offset_p, offset_t, sum_pp, sum_tt, sum_pt = states_R.swapaxes(0, 1)
        gap_RD = (shift_p - shift_t) + (offset_p - offset_t)
        return _named("CCC_", self.columns, _ratio(2 * sum_pt, sum_pp + sum_tt + n * gap_RD**2))


class Confusion(Statistic):
    """`F1_<class>` of every class, 0 for one that never occurs, and `accuracy`.

    Rows are (N, 1) class numbers. The state (C + 1, C) is a row filled with n, then the confusion matrix.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        state = np.zeros((len(columns) + 1, len(columns)), dtype=np.int64)
        super().__init__(columns, state, rule_of("classes", tuple(columns)), rule_of("classes", tuple(columns)))

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Counts (C, C): row = true class, column = predicted class."""
        return self.state[1:]

    def _count(self, predicted: Floats, true: Floats) -> State:
        classes = len(self.columns)
        pairs = (true * classes + predicted).astype(np.int64)[:, 0]
        counts = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        return np.concatenate([np.full((1, classes), len(true)), counts])

    def _scores(self, states_R: State) -> dict[str, Floats]:
        matrix_RCC = states_R[:, 1:]
        hits_RC = matrix_RCC.diagonal(axis1=1, axis2=2)
        f1_RC = _ratio(2 * hits_RC, matrix_RCC.sum(axis=1) + matrix_RCC.sum(axis=2))
        return _named("F1_", self.columns, f1_RC) | {"accuracy": hits_RC.sum(axis=1) / states_R[:, 0, 0]}


class BinaryCounts(Statistic):
    """`F1_<column>` of D yes-or-no columns, 0 for one that is neither predicted nor true.

    Rows are (N, D) of 0 and 1. The state (4, D) is n, hits, predicted positives and true positives.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        rule = rule_of("binary", tuple(columns))
        super().__init__(columns, np.zeros((4, len(columns)), dtype=np.int64), rule, rule)

    def _count(self, predicted: Floats, true: Floats) -> State:
        sums = np.einsum("nd,nd->d", predicted, true), predicted.sum(axis=0), true.sum(axis=0)
        return np.stack([np.full_like(sums[0], len(true)), *sums]).astype(np.int64)

    def _scores(self, states_R: State) -> dict[str, Floats]:
        _, hits_RD, predicted_RD, true_RD = states_R.swapaxes(0, 1)
        return _named("F1_", self.columns, _ratio(2 * hits_RD, predicted_RD + true_RD))


class TopK(Statistic):
    """`top<k>`: share of rows whose true class is among the k largest scores; ties rank in the order of the columns.

    Rows are (N, C) scores against (N, 1) class numbers. The state is n, then the hits for each k.
    """

    def __init__(self, k: Sequence[int], columns: Sequence[str]) -> None:
        if not k or not all(1 <= one <= len(columns) for one in k):
            raise ValueError(f"top-k of {len(columns)} classes needs every k from 1 to {len(columns)}, not {tuple(k)}")
        self.k = tuple(k)
        scores = Rule(len(columns), lambda values: ~np.isnan(values), "a score")
        super().__init__(columns, np.zeros(1 + len(k), dtype=np.int64), scores, rule_of("classes", tuple(columns)))

    def _count(self, predicted: Floats, true: Floats) -> State:
        true_N1 = true.astype(np.int64)
        own_N1 = np.take_along_axis(predicted, true_N1, axis=1)
        earlier_NC = np.arange(len(self.columns)) < true_N1
        rank_N = ((predicted > own_N1) | ((predicted == own_N1) & earlier_NC)).sum(axis=1)
        return np.array([len(true), *(np.count_nonzero(rank_N < k) for k in self.k)])

    def _scores(self, states_R: State) -> dict[str, Floats]:
        return _named("top", self.k, states_R[:, 1:] / states_R[:, :1])


class TrackStatistics:
    """All the statistics of one track, a task each; every task has its own mask."""

    def __init__(self, track: Track) -> None:
        self.track = track
        self.parts: dict[str, Statistic] = {task.name: _statistic(task) for task in track.tasks}
        if track.top_k:
            self.parts["top_k"] = TopK(track.top_k, track.task("expr").columns)

    def update(
        self,
        decided: Mapping[str, ArrayLike],
        true: Mapping[str, ArrayLike],
        mask: Mapping[str, ArrayLike],
        scores: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        """Count one batch; the keys are the names of the track's tasks.

        Args:
            decided: (N, D) as `Task.decide` returns them.
            true: (N, D) labels; where the mask is false they may be NaN or a sentinel.
            mask: (N,) booleans, true where the row counts for that task.
            scores: (N, C) class scores, for the top-k accuracies of the tracks that have them.

        Raises:
            ValueError: a task is missing, a shape is wrong, or a counted value is not one that the task allows.
        """
        for argument, given in (("decided", decided), ("true", true), ("mask", mask)):
            if missing := [task.name for task in self.track.tasks if task.name not in given]:
                raise ValueError(f"track {self.track.name}: {argument} lacks the task {', '.join(missing)}")
        for task in self.track.tasks:
            try:
                self.parts[task.name].update(decided[task.name], true[task.name], mask[task.name])
                if "top_k" in self.parts and scores is not None:
                    self.parts["top_k"].update(scores[task.name], true[task.name], mask[task.name])
            except ValueError as error:
                raise ValueError(f"track {self.track.name}, task {task.name}: {error}") from None

    def merge(self, *others: "TrackStatistics") -> None:
        """Add the rows that statistics of the same track elsewhere have seen."""
        if strange := [one.track.name for one in others if one.track != self.track]:
            raise ValueError(f"cannot merge the statistics of track {strange[0]} into those of {self.track.name}")
        for name, part in self.parts.items():
            part.merge(*(one.parts[name] for one in others))

    def compute(self) -> dict[str, float]:
        """Every metric of the track; `track.score` is always among them.

        VA: CCC_valence, CCC_arousal, S_VA. Classes: F1_<class>, their mean (the track's score, or S_EXPR), accuracy.
        AU: F1_<unit>, S_AU. MTL: P_MTL = S_VA + S_EXPR + S_AU. top<k> where the track has them; without scores only
        top1, which then is the accuracy.

        Raises:
            ValueError: a task of the track has no labelled frame, or scores came with some updates only.
        """
        for task in self.track.tasks:
            if self.parts[task.name].n == 0:
                raise ValueError(f"track {self.track.name}: no labelled frame for task {task.name}; nothing to score")
        found = self.metrics_of({name: state[None] for name, state in self.state().items()})
        return {name: float(values_1[0]) for name, values_1 in found.items()}

    def metrics_of(self, states: Mapping[str, State]) -> dict[str, Floats]:
        """Every metric (R,) of R such statistics at once: their states stacked, with a row of every task in each."""
        metrics: dict[str, Floats] = {}
        for task in self.track.tasks:
            own = self.parts[task.name]._scores(states[task.name])
            columns_RD = np.stack([values_R for key, values_R in own.items() if key != "accuracy"], axis=1)
            metrics |= own | {_mean_key(self.track, task): columns_RD.mean(axis=1)}
        if "top_k" in self.parts:
            given_R, labelled_R = states["top_k"][:, 0], states["expr"][:, 0, 0]
            if given_R.any() and (given_R != labelled_R).any():
                message = f"scores came with {given_R.sum()} of {labelled_R.sum()} rows; give all or none"
                raise ValueError(f"track {self.track.name}: {message}")
            metrics |= self.parts["top_k"]._scores(states["top_k"]) if given_R.any() else {"top1": metrics["accuracy"]}
        if len(self.track.tasks) > 1:
            metrics[self.track.score] = np.sum([metrics[_mean_key(self.track, t)] for t in self.track.tasks], axis=0)
        return metrics

    def state(self) -> dict[str, State]:
        """Arrays of fixed shapes and types, one a task: what ranks exchange and `from_state` takes."""
        return {name: part.state.copy() for name, part in self.parts.items()}

    @classmethod
    def from_state(cls, track: Track, state: Mapping[str, State]) -> "TrackStatistics":
        """The statistics that `state` was called on; ValueError where the arrays are those of another track."""
        statistics = cls(track)
        expected = {name: part.state.shape for name, part in statistics.parts.items()}
        found = {name: array.shape for name, array in state.items()}
        if found != expected:
            raise ValueError(f"not a state of track {track.name}: shapes {found}, expected {expected}")
        for name, part in statistics.parts.items():
            part.state = np.array(state[name], dtype=part.state.dtype)
        return statistics


def score(
    track: Track,
    decided: Mapping[str, ArrayLike],
    true: Mapping[str, ArrayLike],
    mask: Mapping[str, ArrayLike],
    scores: Mapping[str, ArrayLike] | None = None,
) -> dict[str, float]:
    """Every metric of a track in one shot; arguments as in `TrackStatistics.update`."""
    statistics = TrackStatistics(track)
    statistics.update(decided, true, mask, scores)
    return statistics.compute()


def _statistic(task: Task) -> Statistic:
    if task.kind == "regression":
        return Concordance(task.columns, rule_of(task.kind, task.columns))
    return Confusion(task.columns) if task.kind == "classes" else BinaryCounts(task.columns)


def _mean_key(track: Track, task: Task) -> str:
    """Key of the mean over a task's columns: the score of a track of that task alone, or S_VA, S_EXPR, S_AU."""
    alone = len(track.tasks) == 1 and not track.score.startswith("top")
    return track.score if alone else f"S_{task.name.upper()}"


def _named(prefix: str, names: Sequence[object], values_RD: Floats) -> dict[str, Floats]:
    return {f"{prefix}{name}": values_R for name, values_R in zip(names, values_RD.T, strict=True)}


def _ratio(top_RD: State, bottom_RD: State) -> Floats:
    """Quotient, with 0 where the denominator is 0."""
    return np.asarray(np.divide(top_RD, bottom_RD, out=np.zeros(top_RD.shape), where=bottom_RD > 0))
