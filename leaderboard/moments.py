"""Means and covariances of members and truth: all that the concordance of any weighted mean of members depends on.

They add up over folds, so that what is chosen on some folds never reads a frame of another.
Legend: M members, N rows, C columns of a task.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from leaderboard.members import Floats

ROWS_AT_ONCE = 16_384
"""Rows that are in memory as float64 at a time."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over rows of members x (M values a row and column) and truth y."""

    n: int
    x_CM: Floats
    y_C: Floats
    xx_CMM: Floats
    xy_CM: Floats
    yy_C: Floats

    def __add__(self, other: Self) -> "Moments":
        return Moments(
            n=self.n + other.n,
            x_CM=self.x_CM + other.x_CM,
            y_C=self.y_C + other.y_C,
            xx_CMM=self.xx_CMM + other.xx_CMM,
            xy_CM=self.xy_CM + other.xy_CM,
            yy_C=self.yy_C + other.yy_C,
        )

    def of_columns(self, columns: list[int]) -> "Moments":
        """The moments of some columns."""
        sums = self.x_CM, self.y_C, self.xx_CMM, self.xy_CM, self.yy_C
        x, y, xx, xy, yy = (values[columns] for values in sums)
        return Moments(n=self.n, x_CM=x, y_C=y, xx_CMM=xx, xy_CM=xy, yy_C=yy)


def moments(x_MNC: NDArray[np.float32], y_NC: Floats, rows: NDArray[np.intp]) -> Moments:
    """The sums over the rows, in float64."""
    members, _, columns = x_MNC.shape
    x_CM, xy_CM = np.zeros((columns, members)), np.zeros((columns, members))
    xx_CMM = np.zeros((columns, members, members))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        part = rows[start : start + ROWS_AT_ONCE]
        for c in range(columns):
            x_Mn, y_n = x_MNC[:, part, c].astype(np.float64), y_NC[part, c]
            x_CM[c] += x_Mn.sum(axis=1)
            xx_CMM[c] += x_Mn @ x_Mn.T
            xy_CM[c] += x_Mn @ y_n
    y = y_NC[rows]
    return Moments(n=len(rows), x_CM=x_CM, y_C=y.sum(axis=0), xx_CMM=xx_CMM, xy_CM=xy_CM, yy_C=(y * y).sum(axis=0))


class ConcordancePool:
    """Concordance of the mean of the members picked so far and one more, for every member at once: O(M) a pick."""

    def __init__(self, found: Moments) -> None:
        self._all = found
        self.picked = 0
        columns, members = found.x_CM.shape
        self._x_C, self._xy_C, self._xx_C = np.zeros(columns), np.zeros(columns), np.zeros(columns)
        self._xx_CM = np.zeros((columns, members))

    def with_each(self) -> Floats:
        """Mean concordance (M,) over the columns with each member picked next."""
        found, k = self._all, self.picked + 1
        own_CM = np.diagonal(found.xx_CMM, axis1=1, axis2=2)
        x_CM = (self._x_C[:, None] + found.x_CM) / (k * found.n)
        xx_CM = (self._xx_C[:, None] + 2 * self._xx_CM + own_CM) / (k * k * found.n)
        xy_CM = (self._xy_C[:, None] + found.xy_CM) / (k * found.n)
        y_C1, yy_C1 = (found.y_C / found.n)[:, None], (found.yy_C / found.n)[:, None]
        bottom_CM = (xx_CM - x_CM**2) + (yy_C1 - y_C1**2) + (x_CM - y_C1) ** 2
        top_CM = 2 * (xy_CM - x_CM * y_C1)
        return np.asarray(np.divide(top_CM, bottom_CM, out=np.zeros_like(top_CM), where=bottom_CM > 0).mean(axis=0))

    def pick(self, member: int) -> None:
        """Add a member to those picked."""
        found = self._all
        self._xx_C += 2 * self._xx_CM[:, member] + found.xx_CMM[:, member, member]
        self._xx_CM += found.xx_CMM[:, member]
        self._x_C += found.x_CM[:, member]
        self._xy_C += found.xy_CM[:, member]
        self.picked += 1
