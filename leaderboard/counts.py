"""F1 of the members picked so far and one more, by counting only the decisions that one more member can change.

The sum of the members picked is kept. Where even the lowest or highest value of any member leaves a decision as it is,
it is counted once a pick and not once a member; the rest is added, decided and counted in one pass, compiled by numba,
the members side by side on the machine's cores.
Legend: M members, N rows, C classes or action units, R rows or entries that are open.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from leaderboard.members import Floats

Ints = NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile at the first call and keep the result on disk; it runs beside other threads."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


@compiled
def settle_classes(
    sum_NC: Floats,
    low_NC: NDArray[np.float32],
    high_NC: NDArray[np.float32],
    true_N: Ints,
    hits_C: Ints,
    predicted_C: Ints,
    open_N: Ints,
) -> int:
    """Count the rows whose class no member can change; the others go to the front of `open_N`, their number is told."""
    rows, classes = sum_NC.shape
    found = 0
    for n in range(rows):
        best = 0
        for c in range(1, classes):
            if sum_NC[n, c] > sum_NC[n, best]:
                best = c
        fixed = True
        for c in range(classes):
            if c != best and sum_NC[n, c] + high_NC[n, c] >= sum_NC[n, best] + low_NC[n, best]:
                fixed = False
                break
        if fixed:
            predicted_C[best] += 1
            if true_N[n] == best:
                hits_C[best] += 1
        else:
            open_N[found] = n
            found += 1
    return found


@compiled
def count_classes(
    sum_NC: Floats,
    x_NC: NDArray[np.float32],
    rows_N: NDArray[np.intp],
    true_N: Ints,
    open_R: Ints,
    hits_C: Ints,
    predicted_C: Ints,
) -> None:
    """Count the open rows with one member added; the first class wins a tie, as in `Task.decide`."""
    classes = sum_NC.shape[1]
    for n in open_R:
        row = rows_N[n]
        best, most = 0, sum_NC[n, 0] + np.float64(x_NC[row, 0])
        for c in range(1, classes):
            value = sum_NC[n, c] + np.float64(x_NC[row, c])
            if value > most:
                best, most = c, value
        predicted_C[best] += 1
        if true_N[n] == best:
            hits_C[best] += 1


@compiled
def settle_units(
    sum_NC: Floats,
    low_NC: NDArray[np.float32],
    high_NC: NDArray[np.float32],
    true_NC: NDArray[np.bool_],
    threshold: float,
    hits_C: Ints,
    predicted_C: Ints,
    open_N: Ints,
) -> int:
    """As `settle_classes`, for each unit of each row: entry n * C + c of the open ones is unit c of row n."""
    rows, units = sum_NC.shape
    found = 0
    for n in range(rows):
        for c in range(units):
            if sum_NC[n, c] + low_NC[n, c] >= threshold:
                predicted_C[c] += 1
                if true_NC[n, c]:
                    hits_C[c] += 1
            elif sum_NC[n, c] + high_NC[n, c] >= threshold:
                open_N[found] = n * units + c
                found += 1
    return found


@compiled
def count_units(
    sum_NC: Floats,
    x_NC: NDArray[np.float32],
    rows_N: NDArray[np.intp],
    true_NC: NDArray[np.bool_],
    threshold: float,
    open_R: Ints,
    hits_C: Ints,
    predicted_C: Ints,
) -> None:
    """Count the open entries with one member added."""
    units = sum_NC.shape[1]
    for entry in open_R:
        n, c = entry // units, entry % units
        if sum_NC[n, c] + np.float64(x_NC[rows_N[n], c]) >= threshold:
            predicted_C[c] += 1
            if true_NC[n, c]:
                hits_C[c] += 1


class CountPool:
    """What `ClassPool` and `UnitPool` share: the running sum, the bounds of all members, and F1 from counts."""

    def __init__(self, x_MNC: NDArray[np.float32], rows_N: NDArray[np.intp], allowed: list[int]) -> None:
        self._x_MNC, self._rows_N, self._allowed = x_MNC, rows_N, allowed
        self._low_NC, self._high_NC = x_MNC[allowed[0], rows_N], x_MNC[allowed[0], rows_N]
        for member in allowed[1:]:
            np.minimum(self._low_NC, x_MNC[member, rows_N], out=self._low_NC)
            np.maximum(self._high_NC, x_MNC[member, rows_N], out=self._high_NC)
        self._sum_NC = np.zeros(self._low_NC.shape)
        self._true_C = np.zeros(x_MNC.shape[2], dtype=np.int64)
        self.picked = 0

    def with_each(self) -> Floats:
        """Mean F1 (M,) over the columns with each allowed member picked next; NaN for the others."""
        columns = self._sum_NC.shape[1]
        settled_2C = np.zeros((2, columns), dtype=np.int64)
        open_R = self._settle(settled_2C)

        def score(member: int) -> float:
            hits_C, predicted_C = settled_2C.copy()
            self._count(self._x_MNC[member], open_R, hits_C, predicted_C)
            return mean_f1(hits_C, predicted_C, self._true_C)

        scores_M = np.full(len(self._x_MNC), np.nan)
        with ThreadPoolExecutor() as pool:
            scores_M[self._allowed] = list(pool.map(score, self._allowed))
        return scores_M

    def pick(self, member: int) -> None:
        """Add a member to those picked."""
        self._sum_NC += self._x_MNC[member, self._rows_N]
        self.picked += 1

    def _settle(self, counts_2C: Ints) -> Ints:
        raise NotImplementedError

    def _count(self, x_NC: NDArray[np.float32], open_R: Ints, hits_C: Ints, predicted_C: Ints) -> None:
        raise NotImplementedError


class ClassPool(CountPool):
    """Mean F1 of the class with the largest mean."""

    def __init__(
        self, x_MNC: NDArray[np.float32], true_ND: Floats, rows_N: NDArray[np.intp], allowed: list[int]
    ) -> None:
        super().__init__(x_MNC, rows_N, allowed)
        self._true_N = true_ND[rows_N, 0].astype(np.int64)
        self._true_C = np.bincount(self._true_N, minlength=x_MNC.shape[2])

    def _settle(self, counts_2C: Ints) -> Ints:
        open_N = np.empty(len(self._true_N), dtype=np.int64)
        bounds = self._sum_NC, self._low_NC, self._high_NC
        found = settle_classes(*bounds, self._true_N, counts_2C[0], counts_2C[1], open_N)
        return open_N[:found]

    def _count(self, x_NC: NDArray[np.float32], open_R: Ints, hits_C: Ints, predicted_C: Ints) -> None:
        count_classes(self._sum_NC, x_NC, self._rows_N, self._true_N, open_R, hits_C, predicted_C)


class UnitPool(CountPool):
    """Mean F1 of units whose mean reaches `threshold`: 0.5 of probabilities, 0 of logits."""

    def __init__(
        self,
        x_MNC: NDArray[np.float32],
        true_ND: Floats,
        rows_N: NDArray[np.intp],
        allowed: list[int],
        threshold: float,
    ) -> None:
        super().__init__(x_MNC, rows_N, allowed)
        self._true_NC = true_ND[rows_N] > 0
        self._true_C = self._true_NC.sum(axis=0)
        self._threshold = threshold

    def _settle(self, counts_2C: Ints) -> Ints:
        open_N = np.empty(self._true_NC.size, dtype=np.int64)
        least = self._threshold * (self.picked + 1)
        bounds = self._sum_NC, self._low_NC, self._high_NC
        found = settle_units(*bounds, self._true_NC, least, counts_2C[0], counts_2C[1], open_N)
        return open_N[:found]

    def _count(self, x_NC: NDArray[np.float32], open_R: Ints, hits_C: Ints, predicted_C: Ints) -> None:
        least = self._threshold * (self.picked + 1)
        count_units(self._sum_NC, x_NC, self._rows_N, self._true_NC, least, open_R, hits_C, predicted_C)


class OneClassPool:
    """Mean F1 of all classes where members are picked for one class alone and the others' means stay as they are."""

    def __init__(self, x_MN: NDArray[np.float32], mean_NC: Floats, c: int, true_N: Ints) -> None:
        others_NC = np.delete(mean_NC, c, axis=1)
        self._classes, self._c, self._true_N, self._x_MN = mean_NC.shape[1], c, true_N, x_MN
        best_N = others_NC.argmax(axis=1)
        self._other_N = best_N + (best_N >= c)
        # The first class wins a tie: class c wins it against a later one only.
        self._least_N = others_NC.max(axis=1)
        self._wins_N = self._other_N > c
        self._true_C = np.bincount(true_N, minlength=self._classes)
        self._sum_N = np.zeros(len(true_N))
        self.picked = 0

    def with_each(self) -> Floats:
        """Mean F1 (M,) over all classes with each member picked next for this class."""
        return np.array([self._score((self._sum_N + x_N) / (self.picked + 1)) for x_N in self._x_MN])

    def pick(self, member: int) -> None:
        """Add a member to those picked for this class."""
        self._sum_N += self._x_MN[member]
        self.picked += 1

    def _score(self, mean_N: Floats) -> float:
        own_N = (mean_N > self._least_N) | (self._wins_N & (mean_N == self._least_N))
        predicted_N = np.where(own_N, self._c, self._other_N)
        hits_C = np.bincount(predicted_N[predicted_N == self._true_N], minlength=self._classes)
        return mean_f1(hits_C, np.bincount(predicted_N, minlength=self._classes), self._true_C)


def mean_f1(hits_C: Ints, predicted_C: Ints, true_C: Ints) -> float:
    """The mean of the columns' F1, 0 for one that is neither predicted nor true."""
    bottom_C = predicted_C + true_C
    return float(np.divide(2 * hits_C, bottom_C, out=np.zeros(len(hits_C)), where=bottom_C > 0).mean())
