"""From members and weights to one prediction a frame: weighted means of probabilities or logits, and means of ranks.

Legend: M members, N rows, n chosen rows, C prediction columns of a task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from abaw.tracks import Task, Track
from leaderboard.members import EPSILON, Floats, Mask, Members

Name = Literal["mean", "ranks", "weighted", "greedy", "stacking"]
Per = Literal["track", "task", "column"]
CHOOSING: tuple[Name, ...] = ("weighted", "greedy", "stacking")
"""The methods that choose by labels, and so overfit them."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """How members become one prediction."""

    name: Name
    logits: bool = False
    """Average logits and not probabilities; valence and arousal stay as they are."""
    per: Per = "task"
    """What shares one choice of weights: the whole track, each task, or each column (action unit, class, valence)."""
    picks: int = 25
    """Picks of greedy selection; the best prefix of them is kept."""
    bags: int = 0
    """Bags of greedy selection; 0: one selection among all members."""
    ridge: float = 0.01
    """Penalty of stacking and of closed-form weights, as a share of the members' mean variance."""

    @property
    def chooses(self) -> bool:
        """Whether labels decide on the weights."""
        return self.name in CHOOSING

    @property
    def prepares(self) -> bool:
        """Whether members are changed before they are averaged; the plain mean takes them as they are."""
        return self.chooses or self.logits


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights (M, C) and offsets (C,) a task; they sum to 1 over the members, but for stacking."""

    share: Mapping[str, Floats]
    bias: Mapping[str, Floats]


def uniform(track: Track, members: int) -> Weights:
    """Every member the same weight."""
    share = {task.name: np.full((members, len(task.columns)), 1 / members) for task in track.tasks}
    return Weights(share=share, bias={task.name: np.zeros(len(task.columns)) for task in track.tasks})


def alone(track: Track, members: int, member: int) -> Weights:
    """One member and no other."""
    share = {task.name: np.zeros((members, len(task.columns))) for task in track.tasks}
    for share_MC in share.values():
        share_MC[member] = 1
    return Weights(share=share, bias={task.name: np.zeros(len(task.columns)) for task in track.tasks})


def without(weights: Weights, member: int) -> Weights:
    """The weights with one member's share given to the others in proportion, or evenly where it was alone."""
    share = {}
    for name, share_MC in weights.share.items():
        left_MC = share_MC.copy()
        left_MC[member] = 0
        left_C = left_MC.sum(axis=0)
        evenly_M = np.full(len(left_MC), 1 / (len(left_MC) - 1))
        evenly_M[member] = 0
        safe_C = np.where(left_C > 0, left_C, 1)
        share[name] = np.where(left_C > 0, left_MC / safe_C, evenly_M[:, None])
    return Weights(share=share, bias=weights.bias)


def blend(members: Members, weights: Weights, method: Method, rows_N: Mask | None = None) -> dict[str, Floats]:
    """The ensemble's predictions (n, C) a task for the rows of the mask, or all; rounded to float32 as files hold them.

    The members must have been through `prepare` in the method's way.
    """
    predicted = {}
    for task in members.track.tasks:
        x_MNC, share_MC = members.scores[task.name], weights.share[task.name]
        used = np.flatnonzero(share_MC.any(axis=1))
        total_nC = np.zeros((members.rows if rows_N is None else int(rows_N.sum()), x_MNC.shape[2]))
        for member in used:
            x_NC = x_MNC[member] if rows_N is None else x_MNC[member, rows_N]
            total_nC += x_NC * share_MC[member]
        total_nC += weights.bias[task.name]
        if method.name == "stacking":
            total_nC = _as_probability(total_nC, task)
        elif method.logits:
            total_nC = out_of_logits(total_nC, task)
        predicted[task.name] = as_stored(total_nC)
    return predicted


def out_of_logits(x_NC: Floats, task: Task) -> Floats:
    """The probabilities (N, C) of logits: the logistic function for units, softmax for classes."""
    if task.kind == "regression":
        return x_NC
    if task.kind == "binary":
        return np.asarray(1 / (1 + np.exp(-x_NC)))
    power_NC = np.exp(x_NC - x_NC.max(axis=1, keepdims=True))
    return np.asarray(power_NC / power_NC.sum(axis=1, keepdims=True))


def as_stored(x_NC: Floats) -> Floats:
    """The values as a prediction table holds them: rounded to float32."""
    return x_NC.astype(np.float32).astype(np.float64)


def blend_ranks(members: Members, left_out: int | None = None) -> dict[str, Floats]:
    """The mean of the members' ranks, a column at a time, in the values that members have at that rank on average.

    So what is averaged is the order of the frames alone, and the result keeps the spread of the members' values.
    """
    predicted = {}
    kept = [member for member in range(len(members.names)) if member != left_out]
    for task in members.track.tasks:
        x_MNC = members.scores[task.name]
        columns = [_mean_rank([x_MNC[member, :, c] for member in kept]) for c in range(x_MNC.shape[2])]
        found_NC = np.stack(columns, axis=1)
        if task.kind == "classes":
            found_NC = _as_probability(found_NC, task)
        predicted[task.name] = as_stored(found_NC)
    return predicted


def _mean_rank(columns: list[NDArray[np.float32]]) -> Floats:
    rank_N = np.asarray(np.mean([_ranks(x_N) for x_N in columns], axis=0))
    values_N = np.asarray(np.mean([np.sort(x_N) for x_N in columns], axis=0, dtype=np.float64))
    return np.interp(_ranks(rank_N), np.arange(len(values_N)), values_N)


def _ranks(x_N: NDArray[np.floating]) -> Floats:
    """Ranks (N,) from 0; equal values share their mean rank."""
    _, which_N, times = np.unique(x_N, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(times) - (times + 1) / 2)[which_N])


def _as_probability(x_NC: Floats, task: Task) -> Floats:
    """Values kept in the task's range; class values are made positive and sum to 1."""
    if task.kind == "regression":
        return np.clip(x_NC, -1, 1)
    if task.kind == "binary":
        return np.clip(x_NC, 0, 1)
    positive_NC = np.maximum(x_NC, EPSILON)
    return np.asarray(positive_NC / positive_NC.sum(axis=1, keepdims=True))
