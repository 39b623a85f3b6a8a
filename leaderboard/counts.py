"""F1 of the members picked so far and one more, by counting only the decisions that one more member can change.

The sum of the members picked is kept. Where even the lowest or highest value of any member leaves a decision as it is,
it is counted once for all of them; elsewhere each member is added, decided and counted. Both in one pass over the rows,
compiled by numba: block by block, so that what is read for one member is near for the next, on the machine's cores.
Legend: M members, K those that may be picked, N rows, n those of a block, C classes or action units.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from leaderboard.members import Floats

Ints = NDArray[np.int64]
Singles = NDArray[np.float32]
F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")

ROWS_AT_ONCE = 4096
"""Rows that one thread counts at a time."""


def compiled(function: F) -> F:
    """Compile at the first call and keep the result on disk; it runs beside other threads."""
    return cast(F, numba.njit(cache=True, nogil=True)(function))


@compiled
def widen(low_nC: Singles, high_nC: Singles, x_MNC: Singles, members_K: Ints, rows_n: Ints) -> None:
    """Lower and raise the bounds to hold what the members say of the rows."""
    for member in members_K:
        for n, row in enumerate(rows_n):
            for c in range(low_nC.shape[1]):
                low_nC[n, c] = min(low_nC[n, c], x_MNC[member, row, c])
                high_nC[n, c] = max(high_nC[n, c], x_MNC[member, row, c])


@compiled
def count_classes(
    sum_nC: Floats, low_nC: Singles, high_nC: Singles, x_MNC: Singles, members_K: Ints, rows_n: Ints, true_n: Ints
) -> Ints:
    """Misses and hits (2, K, C) of each class with each member added; the first class wins a tie, as in `Task.decide`.

    Decisions are made without branches, which the processor would often guess wrongly, and for all members at once.
    """
    members, classes = len(members_K), sum_nC.shape[1]
    found_2KC = np.zeros((2, members, classes), np.int64)
    settled_21C = np.zeros((2, 1, classes), np.int64)
    able_C, x_K = np.empty(classes, np.int64), np.empty(members, np.float32)
    best_K, most_K = np.empty(members, np.int64), np.empty(members)
    for n, row in enumerate(rows_n):
        best, most, able = 0, sum_nC[n, 0], 0
        for c in range(1, classes):
            best = c if sum_nC[n, c] > most else best
            most = sum_nC[n, c] if sum_nC[n, c] > most else most
        for c in range(classes):
            able_C[able] = c  # overwritten by the next one where this class cannot win
            able += sum_nC[n, c] + high_nC[n, c] >= most + low_nC[n, best]
        if able == 1:
            settled_21C[int(best == true_n[n]), 0, best] += 1
            continue
        best_K[:], most_K[:] = 0, -np.inf
        for c in able_C[:able]:
            for k, member in enumerate(members_K):
                x_K[k] = x_MNC[member, row, c]
            for k in range(members):
                value = sum_nC[n, c] + x_K[k]
                best_K[k] = c if value > most_K[k] else best_K[k]
                most_K[k] = value if value > most_K[k] else most_K[k]
        for k in range(members):
            found_2KC[int(best_K[k] == true_n[n]), k, best_K[k]] += 1
    return found_2KC + settled_21C


@compiled
def count_units(
    sum_nC: Floats,
    low_nC: Singles,
    high_nC: Singles,
    x_MNC: Singles,
    members_K: Ints,
    rows_n: Ints,
    true_nC: NDArray[np.bool_],
    threshold: float,
) -> Ints:
    """As `count_classes`, for each unit of each row."""
    units = sum_nC.shape[1]
    found_2KC = np.zeros((2, len(members_K), units), np.int64)
    settled_21C = np.zeros((2, 1, units), np.int64)
    for n, row in enumerate(rows_n):
        for c in range(units):
            own, true = sum_nC[n, c], int(true_nC[n, c])
            if own + low_nC[n, c] >= threshold:
                settled_21C[true, 0, c] += 1
            elif own + high_nC[n, c] >= threshold:
                for k, member in enumerate(members_K):
                    found_2KC[true, k, c] += own + x_MNC[member, row, c] >= threshold
    return found_2KC + settled_21C


class CountPool:
    """What `ClassPool` and `UnitPool` share: the running sum, the bounds of all members, and F1 from counts."""

    def __init__(self, x_MNC: Singles, true_C: Ints, rows_N: NDArray[np.intp], allowed: list[int]) -> None:
        self._x_MNC, self._true_C, self._rows_N, self._members_K = x_MNC, true_C, rows_N, np.array(allowed)
        shape = len(rows_N), x_MNC.shape[2]
        self._sum_NC = np.zeros(shape)
        self._low_NC, self._high_NC = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)
        self._by_block(lambda n: widen(self._low_NC[n], self._high_NC[n], x_MNC, self._members_K, rows_N[n]))
        self.picked = 0

    def with_each(self) -> Floats:
        """Mean F1 (M,) over the columns with each allowed member picked next; NaN for the others."""
        misses_KC, hits_KC = np.sum(self._by_block(self._count), axis=0)
        scores_M = np.full(len(self._x_MNC), np.nan)
        scores_M[self._members_K] = mean_f1(hits_KC, misses_KC + hits_KC, self._true_C)
        return scores_M

    def pick(self, member: int) -> None:
        """Add a member to those picked."""
        self._sum_NC += self._x_MNC[member, self._rows_N]
        self.picked += 1

    def _by_block(self, work: Callable[[slice], T]) -> list[T]:
        starts = range(0, len(self._rows_N), ROWS_AT_ONCE)
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda start: work(slice(start, start + ROWS_AT_ONCE)), starts))

    def _count(self, n: slice) -> Ints:
        """Misses and hits (2, K, C) in a block of rows."""
        raise NotImplementedError

    def _block(self, n: slice) -> tuple[Floats, Singles, Singles, Singles, Ints, Ints]:
        """What both kinds of counting read of a block of rows."""
        bounds = self._low_NC[n], self._high_NC[n]
        return self._sum_NC[n], *bounds, self._x_MNC, self._members_K, self._rows_N[n]


class ClassPool(CountPool):
    """Mean F1 of the class with the largest mean."""

    def __init__(self, x_MNC: Singles, true_ND: Floats, rows_N: NDArray[np.intp], allowed: list[int]) -> None:
        self._true_N = true_ND[rows_N, 0].astype(np.int64)
        super().__init__(x_MNC, np.bincount(self._true_N, minlength=x_MNC.shape[2]), rows_N, allowed)

    def _count(self, n: slice) -> Ints:
        return count_classes(*self._block(n), self._true_N[n])


class UnitPool(CountPool):
    """Mean F1 of units whose mean reaches `threshold`: 0.5 of probabilities, 0 of logits."""

    def __init__(
        self, x_MNC: Singles, true_ND: Floats, rows_N: NDArray[np.intp], allowed: list[int], threshold: float
    ) -> None:
        self._true_NC, self._threshold = true_ND[rows_N] > 0, threshold
        super().__init__(x_MNC, self._true_NC.sum(axis=0), rows_N, allowed)

    def _count(self, n: slice) -> Ints:
        return count_units(*self._block(n), self._true_NC[n], self._threshold * (self.picked + 1))


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
        return float(mean_f1(hits_C, np.bincount(predicted_N, minlength=self._classes), self._true_C))


def mean_f1(hits_KC: Ints, predicted_KC: Ints, true_C: Ints) -> Floats:
    """The mean (K,) of the columns' F1, 0 for one that is neither predicted nor true."""
    bottom_KC = predicted_KC + true_C
    f1_KC = np.divide(2 * hits_KC, bottom_KC, out=np.zeros(bottom_KC.shape), where=bottom_KC > 0)
    return np.asarray(f1_KC.mean(axis=-1))
