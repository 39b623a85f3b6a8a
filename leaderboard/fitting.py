"""Weights chosen by labels: greedy selection, closed-form weights, stacking; on all folds of videos or on some.

Weights: non-negative least squares (Lawson and Hanson, 1974), scaled to sum 1. Stacking (Wolpert, 1992): ridge
regression of each label column (a class is one column of 0 and 1) on the members' values of that column.
Legend: M members, N rows, C prediction columns of a task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from abaw.tracks import Task
from leaderboard.blending import Method, Weights, uniform
from leaderboard.counts import ClassPool, OneClassPool, UnitPool
from leaderboard.greedy import Pool, Trajectory, draw_bags, select_in_bags
from leaderboard.members import Floats, Labels, Members
from leaderboard.moments import ConcordancePool, Moments, moments


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Weights, and how greedy selection came to them."""

    weights: Weights
    trajectories: Mapping[str, Sequence[Trajectory]]
    """One a bag, for each choice that was made: "va", "AU12", "mtl"."""


@dataclass(frozen=True)
class Fitter:
    """Fits one method on the folds of the same members again and again: sums over frames are made once a fold."""

    members: Members
    labels: Labels
    method: Method
    seed: int = 0

    def fit(self, folds: Sequence[int], left_out: int | None = None) -> Fitted:
        """Choose on the labelled frames of these folds, without one of the members if that is asked for.

        Every member has the same weight where the folds have no labelled frame for a task.
        """
        track = self.members.track
        if not all(len(self._rows(task, folds)) for task in track.tasks):
            return Fitted(weights=uniform(track, len(self.members.names)), trajectories={})
        allowed = [member for member in range(len(self.members.names)) if member != left_out]
        if self.method.name == "greedy":
            return self._greedy(folds, allowed)
        solve = self._stacking if self.method.name == "stacking" else self._weighted
        share, bias = {}, {}
        for task in track.tasks:
            share[task.name], bias[task.name] = solve(task, folds, allowed)
        return Fitted(weights=Weights(share=share, bias=bias), trajectories={})

    def _greedy(self, folds: Sequence[int], allowed: list[int]) -> Fitted:
        track, count = self.members.track, len(self.members.names)
        share = {task.name: np.zeros((count, len(task.columns))) for task in track.tasks}
        bags = draw_bags(allowed, self.method.bags, self.seed)
        trajectories: dict[str, Sequence[Trajectory]] = {}
        whole = (
            [(track.name, list(track.tasks))] if self.method.per == "track" else [(t.name, [t]) for t in track.tasks]
        )
        for name, tasks in whole:
            if self.method.per == "column" and tasks[0].kind != "classes":
                continue
            share_M, trajectories[name] = select_in_bags(
                lambda bag, tasks=tasks: [self._pool(task, folds, bag) for task in tasks],  # type: ignore[misc]
                count, self.method.picks, bags,
            )  # fmt: skip
            for task in tasks:
                share[task.name][:] = share_M[:, None]
        for task in track.tasks if self.method.per == "column" else ():
            for c, column in enumerate(task.columns):
                share[task.name][:, c], trajectories[column] = select_in_bags(
                    lambda bag, task=task, c=c: [self._column_pool(task, c, folds, bag, share[task.name])],  # type: ignore[misc]
                    count, self.method.picks, bags,
                )  # fmt: skip
        bias = {task.name: np.zeros(len(task.columns)) for task in track.tasks}
        return Fitted(weights=Weights(share=share, bias=bias), trajectories=trajectories)

    def _pool(self, task: Task, folds: Sequence[int], allowed: list[int]) -> Pool:
        if task.kind == "regression":
            return ConcordancePool(self._moments(task, folds))
        x_MNC, true_ND, rows = self.members.scores[task.name], self.labels.true[task.name], self._rows(task, folds)
        if task.kind == "classes":
            return ClassPool(x_MNC, true_ND, rows, allowed)
        return UnitPool(x_MNC, true_ND, rows, allowed, self._threshold)

    def _column_pool(self, task: Task, c: int, folds: Sequence[int], allowed: list[int], share_MC: Floats) -> Pool:
        """One column alone; for a class, beside the other classes as they have been chosen so far."""
        if task.kind == "regression":
            return ConcordancePool(self._moments(task, folds).of_columns([c]))
        x_MNC, true_ND, rows = self.members.scores[task.name], self.labels.true[task.name], self._rows(task, folds)
        if task.kind == "binary":
            column = np.ascontiguousarray(x_MNC[:, :, c : c + 1])
            return UnitPool(column, true_ND[:, c : c + 1], rows, allowed, self._threshold)
        mean_NC = np.zeros((len(rows), x_MNC.shape[2]))
        for member in np.flatnonzero(share_MC.any(axis=1)):
            mean_NC += x_MNC[member, rows] * share_MC[member]
        return OneClassPool(x_MNC[:, rows, c], mean_NC, c, true_ND[rows, 0].astype(np.int64))

    @property
    def _threshold(self) -> float:
        return 0.0 if self.method.logits else 0.5

    def _weighted(self, task: Task, folds: Sequence[int], allowed: list[int]) -> tuple[Floats, Floats]:
        from scipy.optimize import nnls

        tasks = self.members.track.tasks if self.method.per == "track" else (task,)
        pairs = [_covariances(self._moments(one, folds), allowed) for one in tasks]
        if self.method.per == "column":
            sums = list(zip(*pairs[0], strict=True))
        else:
            sums = [(sum(xx.sum(axis=0) for xx, _ in pairs), sum(xy.sum(axis=0) for _, xy in pairs))]
        share_MC = np.zeros((len(self.members.names), len(sums)))
        for c, (xx_MM, xy_M) in enumerate(sums):
            root_MM = np.linalg.cholesky(xx_MM + self._penalty(xx_MM))
            weights_M, _ = nnls(root_MM.T, np.linalg.solve(root_MM, xy_M))
            # All zero where no member goes with the truth at all: then none is better than another.
            share_MC[allowed, c] = weights_M / weights_M.sum() if weights_M.any() else 1 / len(allowed)
        columns = len(task.columns)
        return np.broadcast_to(share_MC, (len(share_MC), columns)).copy(), np.zeros(columns)

    def _stacking(self, task: Task, folds: Sequence[int], allowed: list[int]) -> tuple[Floats, Floats]:
        found = self._moments(task, folds)
        share_MC = np.zeros((len(self.members.names), len(task.columns)))
        for c, (xx_MM, xy_M) in enumerate(zip(*_covariances(found, allowed), strict=True)):
            share_MC[allowed, c] = np.linalg.solve(xx_MM + self._penalty(xx_MM), xy_M)
        return share_MC, (found.y_C - np.einsum("mc,cm->c", share_MC, found.x_CM)) / found.n

    def _penalty(self, xx_MM: Floats) -> Floats:
        """The ridge; never nothing, so that constant members can be solved for too."""
        mean = np.trace(xx_MM) / len(xx_MM)
        return np.asarray(max(self.method.ridge * mean, np.finfo(np.float32).tiny) * np.eye(len(xx_MM)))

    def _rows(self, task: Task, folds: Sequence[int]) -> NDArray[np.intp]:
        return np.flatnonzero(self.labels.mask[task.name] & np.isin(self.labels.fold_N, folds))

    def _moments(self, task: Task, folds: Sequence[int]) -> Moments:
        first, *others = folds
        found = self._fold_moments[task.name, first]
        for fold in others:
            found = found + self._fold_moments[task.name, fold]
        return found

    @cached_property
    def _fold_moments(self) -> dict[tuple[str, int], Moments]:
        found = {}
        for task in self.members.track.tasks:
            if self.method.name == "greedy" and task.kind != "regression":
                continue
            true_NC = self.labels.true[task.name]
            if task.kind == "classes":
                true_NC = (true_NC == np.arange(len(task.columns))).astype(np.float64)
            for fold in range(self.labels.folds):
                rows = self._rows(task, [fold])
                found[task.name, fold] = moments(self.members.scores[task.name], true_NC, rows)
        return found


def _covariances(found: Moments, allowed: list[int]) -> tuple[Floats, Floats]:
    """Covariances of the allowed members with each other (C, M, M) and with the truth (C, M)."""
    x_CM, y_C = found.x_CM[:, allowed] / found.n, found.y_C / found.n
    xx_CMM = found.xx_CMM[:, allowed][:, :, allowed] / found.n - x_CM[:, :, None] * x_CM[:, None, :]
    return xx_CMM, found.xy_CM[:, allowed] / found.n - x_CM * y_C[:, None]
