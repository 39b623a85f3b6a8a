"""Rows a second of `TrackStatistics` on a million frames, against scikit-learn (F1) and plain NumPy (CCC) in one run.

Ours counts in batches of 8192 as an evaluation does, with masks, and its update checks every value; the others get the
whole arrays at once and no masks. `python benchmarks/metrics.py` prints one line of JSON: seconds and ratio of each
task, both scores agreeing to 1e-12. Nobody can count rows faster than memory gives them.
"""

import json
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from account import account, copy_rate, memory, profiled
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from targets import target

from abaw.metrics import Statistic, TrackStatistics
from abaw.row_rules import checked_rows
from abaw.tracks import Track, get_track

ROWS, BATCH, REPEATS = 1_000_000, 8192, 3
Array = NDArray[np.float64]


def numpy_ccc(predicted_ND: Array, true_ND: Array) -> float:
    """Mean of Lin's concordance over the columns, from NumPy's own mean and variance."""
    gap_D = predicted_ND.mean(axis=0) - true_ND.mean(axis=0)
    covariance_D = ((predicted_ND - predicted_ND.mean(axis=0)) * (true_ND - true_ND.mean(axis=0))).mean(axis=0)
    return float((2 * covariance_D / (predicted_ND.var(axis=0) + true_ND.var(axis=0) + gap_D**2)).mean())


def scikit_f1(predicted_ND: Array, true_ND: Array, labels: int) -> float:
    if predicted_ND.shape[1] == 1:
        return float(
            f1_score(true_ND[:, 0], predicted_ND[:, 0], labels=range(labels), average="macro", zero_division=0)
        )
    return float(f1_score(true_ND, predicted_ND, average="macro", zero_division=0))


def ours(track: Track, predicted_ND: Array, true_ND: Array) -> float:
    name, mask_N = track.tasks[0].name, np.ones(BATCH, dtype=bool)
    statistics = TrackStatistics(track)
    for start in range(0, ROWS, BATCH):
        true = true_ND[start : start + BATCH]
        statistics.update({name: predicted_ND[start : start + BATCH]}, {name: true}, {name: mask_N[: len(true)]})
    return statistics.compute()[track.score]


def fastest(function: Callable[[], float]) -> tuple[float, float]:
    """Seconds of the fastest run, and what the function returns."""
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        value = function()
        seconds.append(time.perf_counter() - started)
    return min(seconds), value


def arrays(track: Track, rng: np.random.Generator) -> tuple[Array, Array]:
    """Predictions and truth that agree on about half of the rows."""
    task = track.tasks[0]
    scores = [rng.normal(0.4, 0.4, (ROWS, len(task.columns))) for _ in range(2)]
    predicted_ND, true_ND = (task.decide(one) for one in scores)
    same_N = rng.random(ROWS) < 0.5
    return np.where(same_N[:, None], true_ND, predicted_ND), true_ND


def main() -> None:
    rng, figures, accounts, rate = np.random.default_rng(0), {}, [], copy_rate()
    for name in ("va", "expr", "au"):
        track = get_track(name)
        predicted_ND, true_ND = arrays(track, rng)
        labels = len(track.tasks[0].columns)
        run = partial(ours, track, predicted_ND, true_ND)
        reference = partial(numpy_ccc if name == "va" else partial(scikit_f1, labels=labels), predicted_ND, true_ND)
        seconds, score = fastest(run)
        other_seconds, other = fastest(reference)
        assert abs(score - other) < 1e-12, (name, score, other)
        figures[name] = {
            "seconds": round(seconds, 3),
            "against": "numpy" if name == "va" else "scikit-learn",
            "their_seconds": round(other_seconds, 3),
            "times_faster": round(other_seconds / seconds, 2),
        }
        parts = {"checks of values": [checked_rows], "counting": [Statistic.count], "scores": [TrackStatistics.compute]}
        spent = profiled(run, parts)
        limit_s = (predicted_ND.nbytes + true_ND.nbytes) / rate
        accounts.append(account(f"{ROWS:,} rows of {name}", spent, limit=memory(rate), limit_s=limit_s))
    targets = [target(f"{name}, against {one['against']}", one["times_faster"]) for name, one in figures.items()]
    print(json.dumps({"rows": ROWS, "batch": BATCH, **figures, "targets": targets, "accounts": accounts}))


if __name__ == "__main__":
    main()
