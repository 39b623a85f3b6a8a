"""Thresholds of action units and biases of classes, as numbers that are added to log odds and log probabilities.

Both say which way to decide where a network is unsure, and both are kept in the predictions themselves: after the shift
the rules of the tracks (a unit is active from one half on, the class with the highest probability wins) decide as the
thresholds and biases ask for, in every submission, ensemble and score that follows.

    unit:   log p'/(1 - p') = log p/(1 - p) + b        active where p >= 1 / (1 + exp(b))
    class:  log p'_c = log p_c + b_c - log sum_k p_k exp(b_k)

Legend: N rows (frames), C columns of a task.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from abaw.tracks import Task

Floats = NDArray[np.float64]


def shifted(scores_NC: Floats, task: Task, bias_C: Sequence[float]) -> Floats:
    """Probabilities (N, C) in [0, 1] after the shift; those of classes sum to one.

    Raises:
        ValueError: the task has no probabilities, or the bias has not one number a column.
    """
    if task.kind == "regression":
        raise ValueError(f"task {task.name} predicts values; only probabilities can be shifted")
    if len(bias_C) != scores_NC.shape[1]:
        raise ValueError(f"task {task.name}: {len(bias_C)} biases, expected one for each of {', '.join(task.columns)}")
    weighted_NC = scores_NC * np.exp(np.asarray(bias_C, dtype=np.float64))
    rest = 1 - scores_NC + weighted_NC if task.kind == "binary" else weighted_NC.sum(axis=1, keepdims=True)
    return np.asarray(weighted_NC / rest)


def thresholds(bias_C: Sequence[float]) -> tuple[float, ...]:
    """The probabilities from which on units are active, to four digits: one half where the bias is 0."""
    return tuple(round(float(1 / (1 + np.exp(bias))), 4) for bias in bias_C)
