"""Exact, mergeable scores of the challenge tracks: CCC, F1 with fixed labels, top-k (rules of the ABAW challenges).

All frames of all videos are pooled, then one score is computed. Each statistic is one array of fixed shape that holds
all that its score needs, so any split of the frames over batches, ranks and shards, merged in any order, gives the
one-shot score to 1e-12. Everything is counted in int64 or summed in float64.

Legend: N rows (frames), D label columns, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abaw.tracks import Kind, Task, Track

Floats = NDArray[np.float64]
State = NDArray[Any]


class Rule(NamedTuple):
    """What counted rows may hold: their number of columns and the values allowed, as a test and in words."""

    width: int
    allowed: Callable[[Floats], NDArray[np.bool_]]
    text: str


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
        rows = _select({"predicted": predicted, "true": true}, mask, self._rules)
        if len(rows["true"]):
            self._add(self._count(rows["predicted"], rows["true"]))

    def merge(self, other: Self) -> None:
        """Add the rows that another statistic of the same kind and columns has seen."""
        if type(other) is not type(self) or other.columns != self.columns or other.state.shape != self.state.shape:
            raise ValueError(f"cannot merge {other} into {self}: they must be of one kind and have the same columns")
        self._add(other.state)

    def compute(self) -> dict[str, float]:
        """The scores by name. Raises ValueError when no row was counted."""
        if self.n == 0:
            raise ValueError(f"{self}: no rows; nothing to score")
        return self._scores()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.columns)})"

    def _add(self, state: State) -> None:
        self.state = self.state + state

    def _count(self, predicted: Floats, true: Floats) -> State:
        raise NotImplementedError

    def _scores(self) -> dict[str, float]:
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
        shift_p, shift_t = predicted[0], true[0]
        # Columns lie together from here on: NumPy then sums pairwise, which is both faster and more exact.
        p_DN, t_DN = (np.ascontiguousarray(values.T) for values in (predicted - shift_p, true - shift_t))
        offset_p, offset_t = p_DN.mean(axis=1), t_DN.mean(axis=1)
        p_DN -= offset_p[:, None]
        t_DN -= offset_t[:, None]
        sums = ((a * b).sum(axis=1) for a, b in ((p_DN, p_DN), (t_DN, t_DN), (p_DN, t_DN)))
        return np.stack([np.full_like(shift_p, len(true)), shift_p, shift_t, offset_p, offset_t, *sums])

    def _add(self, state: State) -> None:
        self.state = _pool(self.state, state)

    def _scores(self) -> dict[str, float]:
        n, shift_p, shift_t, offset_p, offset_t, sum_pp, sum_tt, sum_pt = self.state
        gap_D = (shift_p - shift_t) + (offset_p - offset_t)
        return _named("CCC_", self.columns, _ratio(2 * sum_pt, sum_pp + sum_tt + n * gap_D**2))


class Confusion(Statistic):
    """`F1_<class>` of every class, 0 for one that never occurs, and `accuracy`.

    Rows are (N, 1) class numbers. The state (C + 1, C) is a row filled with n, then the confusion matrix.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        state = np.zeros((len(columns) + 1, len(columns)), dtype=np.int64)
        super().__init__(columns, state, _rule_of("classes", columns), _rule_of("classes", columns))

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Counts (C, C): row = true class, column = predicted class."""
        return self.state[1:]

    def _count(self, predicted: Floats, true: Floats) -> State:
        classes = len(self.columns)
        pairs = (true * classes + predicted).astype(np.int64)[:, 0]
        counts = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        return np.concatenate([np.full((1, classes), len(true)), counts])

    def _scores(self) -> dict[str, float]:
        hits_C = self.matrix.diagonal()
        f1_C = _ratio(2 * hits_C, self.matrix.sum(axis=0) + self.matrix.sum(axis=1))
        return _named("F1_", self.columns, f1_C) | {"accuracy": float(hits_C.sum() / self.n)}


class BinaryCounts(Statistic):
    """`F1_<column>` of D yes-or-no columns, 0 for one that is neither predicted nor true.

    Rows are (N, D) of 0 and 1. The state (4, D) is n, hits, predicted positives and true positives.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        rule = _rule_of("binary", columns)
        super().__init__(columns, np.zeros((4, len(columns)), dtype=np.int64), rule, rule)

    def _count(self, predicted: Floats, true: Floats) -> State:
        hits_D = np.einsum("nd,nd->d", predicted, true)
        rows_D = np.full_like(hits_D, len(true))
        return np.stack([rows_D, hits_D, predicted.sum(axis=0), true.sum(axis=0)]).astype(np.int64)

    def _scores(self) -> dict[str, float]:
        _, hits_D, predicted_D, true_D = self.state
        return _named("F1_", self.columns, _ratio(2 * hits_D, predicted_D + true_D))


class TopK(Statistic):
    """`top<k>`: share of rows whose true class is among the k largest scores; ties rank in the order of the columns.

    Rows are (N, C) scores against (N, 1) class numbers. The state is n, then the hits for each k.
    """

    def __init__(self, k: Sequence[int], columns: Sequence[str]) -> None:
        if not k or not all(1 <= one <= len(columns) for one in k):
            raise ValueError(f"top-k of {len(columns)} classes needs every k from 1 to {len(columns)}, not {tuple(k)}")
        self.k = tuple(k)
        scores = Rule(len(columns), lambda values: ~np.isnan(values), "a score")
        super().__init__(columns, np.zeros(1 + len(k), dtype=np.int64), scores, _rule_of("classes", columns))

    def _count(self, predicted: Floats, true: Floats) -> State:
        true_N1 = true.astype(np.int64)
        own_N1 = np.take_along_axis(predicted, true_N1, axis=1)
        earlier_NC = np.arange(len(self.columns)) < true_N1
        rank_N = ((predicted > own_N1) | ((predicted == own_N1) & earlier_NC)).sum(axis=1)
        return np.array([len(true), *(np.count_nonzero(rank_N < k) for k in self.k)])

    def _scores(self) -> dict[str, float]:
        return _named("top", self.k, self.state[1:] / self.n)


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

    def merge(self, other: "TrackStatistics") -> None:
        """Add the rows that the statistics of the same track elsewhere have seen."""
        if other.track != self.track:
            raise ValueError(f"cannot merge the statistics of track {other.track.name} into those of {self.track.name}")
        for name, part in self.parts.items():
            part.merge(other.parts[name])

    def compute(self) -> dict[str, float]:
        """Every metric of the track; `track.score` is always among them.

        VA: CCC_valence, CCC_arousal, S_VA. Classes: F1_<class>, their mean (the track's score, or S_EXPR), accuracy.
        AU: F1_<unit>, S_AU. MTL: P_MTL = S_VA + S_EXPR + S_AU. top<k> where the track has them; without scores only
        top1, which then is the accuracy.

        Raises:
            ValueError: a task of the track has no labelled frame, or scores came with some updates only.
        """
        metrics: dict[str, float] = {}
        for task in self.track.tasks:
            if self.parts[task.name].n == 0:
                raise ValueError(f"track {self.track.name}: no labelled frame for task {task.name}; nothing to score")
            own = self.parts[task.name].compute()
            mean = float(np.mean([value for key, value in own.items() if key != "accuracy"]))
            metrics |= own | {_mean_key(self.track, task): mean}
        if "top_k" in self.parts:
            metrics |= self._top_k(metrics["accuracy"])
        if len(self.track.tasks) > 1:
            metrics[self.track.score] = sum(metrics[_mean_key(self.track, task)] for task in self.track.tasks)
        return metrics

    def _top_k(self, accuracy: float) -> dict[str, float]:
        top_k, labelled = self.parts["top_k"], self.parts["expr"].n
        if top_k.n not in (0, labelled):
            raise ValueError(
                f"track {self.track.name}: scores came with {top_k.n} of {labelled} rows; give all or none"
            )
        return top_k.compute() if top_k.n else {"top1": accuracy}

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
        return Concordance(task.columns, _rule_of(task.kind, task.columns))
    return Confusion(task.columns) if task.kind == "classes" else BinaryCounts(task.columns)


def _mean_key(track: Track, task: Task) -> str:
    """Key of the mean over a task's columns: the score of a track of that task alone, or S_VA, S_EXPR, S_AU."""
    alone = len(track.tasks) == 1 and not track.score.startswith("top")
    return track.score if alone else f"S_{task.name.upper()}"


def _rule_of(kind: Kind, columns: Sequence[str]) -> Rule:
    """The label rule that `abaw.tracks` holds for this kind."""
    task = Task(name="", kind=kind, columns=tuple(columns), sentinel=np.nan)
    return Rule(len(task.label_columns), task.valid, task.range_text)


def _named(prefix: str, names: Sequence[object], values: Floats) -> dict[str, float]:
    return {f"{prefix}{name}": float(value) for name, value in zip(names, values, strict=True)}


def _ratio(top_D: State, bottom_D: State) -> Floats:
    """Quotient, with 0 where the denominator is 0."""
    return np.asarray(np.divide(top_D, bottom_D, out=np.zeros(len(top_D)), where=bottom_D > 0))


def _pool(a: Floats, b: Floats) -> Floats:
    """Moments of the rows of both (Chan, Golub and LeVeque), around the shifts of `a`."""
    if a[0, 0] == 0 or b[0, 0] == 0:
        return b.copy() if a[0, 0] == 0 else a
    rows_D = a[0] + b[0]
    delta_p, delta_t = (b[1:3] - a[1:3]) + (b[3:5] - a[3:5])
    between = np.stack([delta_p * delta_p, delta_t * delta_t, delta_p * delta_t]) * (a[0] * b[0] / rows_D)
    offsets = a[3:5] + np.stack([delta_p, delta_t]) * (b[0] / rows_D)
    return np.concatenate([rows_D[None], a[1:3], offsets, a[5:] + b[5:] + between])


def _select(given: Mapping[str, ArrayLike], mask: ArrayLike | None, rules: Mapping[str, Rule]) -> dict[str, Floats]:
    """The arrays as float64, only the rows where the mask is true; ValueError where one does not keep its rule."""
    arrays = {name: np.asarray(values, dtype=np.float64) for name, values in given.items()}
    rows = len(arrays["true"]) if arrays["true"].ndim else 0
    for name, values in arrays.items():
        if values.shape != (rows, rules[name].width):
            raise ValueError(
                f"{name} has shape {values.shape}, expected (frames, columns) = {(rows, rules[name].width)}"
            )
    if mask is not None:
        mask_N = np.asarray(mask)
        if mask_N.shape != (rows,) or mask_N.dtype != np.bool_:
            raise ValueError(f"mask is {mask_N.dtype} of shape {mask_N.shape}, expected booleans of shape ({rows},)")
        if not mask_N.all():
            arrays = {name: values[mask_N] for name, values in arrays.items()}
    for name, values in arrays.items():
        allowed = rules[name].allowed(values)
        if not allowed.all():
            row, column = np.argwhere(~allowed)[0]
            raise ValueError(
                f"{name} holds {values[row, column]:g} in column {column}, counted row {row}; expected "
                f"{rules[name].text}. Mask the rows without a label"
            )
    return arrays
