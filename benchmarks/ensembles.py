"""Greedy selection against the plain loop in one run: the same picks, how many times faster.

    python benchmarks/ensembles.py                  60 members, 300,000 frames, 25 picks; one line of JSON a track
    python benchmarks/ensembles.py --write          also docs/ensembles-speed.md
    python benchmarks/ensembles.py --tracks expr    one of them

The plain loop keeps the sum of the members picked, and for every candidate adds it, decides and scores the mean with
NumPy: concordance from `mean` and `var` of one column at a time, which takes a seventh of the time that both together
take, F1 from `bincount` or sums. Members are made up: the truth changes slowly, and the mistakes of the members go
together, as those of one architecture do. Both get the same arrays; the time of numba's compilation, or of loading what
it kept on disk, counts as ours. Ours runs on all cores and the plain loop on one, so the ratio of the processor's time
is told too. A second run, compiled, says where the time goes: all members' values must be read at least once.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any, TypeVar

from account import account, commit, copy_rate, memory, profiled, section
from targets import target

sys.path[0] = str(Path(__file__).parents[1])  # from any working directory

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from abaw.tracks import Task, get_track  # noqa: E402
from leaderboard.counts import ClassPool, CountPool, UnitPool  # noqa: E402
from leaderboard.greedy import TIE, Pool, Trajectory, select  # noqa: E402
from leaderboard.moments import ConcordancePool, moments  # noqa: E402

PARTS = {
    "sums over all rows": [moments],
    "bounds over the members": [CountPool.__init__],
    "every member tried": [CountPool.with_each, ConcordancePool.with_each],
    "the best one added": [CountPool.pick, ConcordancePool.pick],
}
GOALS = {"va": 10, "expr": 5, "au": 5}
Floats = NDArray[np.float64]
T = TypeVar("T")


def made_up(task: Task, members: int, frames: int) -> tuple[NDArray[np.float32], Floats]:
    """Predictions (M, N, C) and labels (N, D): a slow truth, one shared error, and one of each member."""
    rng = np.random.default_rng(0)
    columns = len(task.columns)
    slow_NC = np.repeat(rng.normal(0, 1, (frames // 30 + 1, columns)), 30, axis=0)[:frames]
    shared_NC = np.repeat(rng.normal(0, 1, (frames // 10 + 1, columns)), 10, axis=0)[:frames]
    true_ND = {
        "regression": lambda: np.clip(slow_NC / 2, -1, 1),
        "classes": lambda: slow_NC.argmax(axis=1)[:, None].astype(np.float64),
        "binary": lambda: (slow_NC > 1).astype(np.float64),
    }[task.kind]()
    x_MNC = np.empty((members, frames, columns), dtype=np.float32)
    for member in range(members):
        skill = rng.uniform(0.6, 1.2)
        z_NC = skill * slow_NC + 0.8 * shared_NC + 0.5 * rng.normal(0, 1, (frames, columns))
        if task.kind == "regression":
            x_MNC[member] = np.clip(z_NC / 2, -1, 1)
        elif task.kind == "classes":
            power_NC = np.exp(2 * z_NC)
            x_MNC[member] = power_NC / power_NC.sum(axis=1, keepdims=True)
        else:
            x_MNC[member] = 1 / (1 + np.exp(-3 * (z_NC - 1)))
    return x_MNC, true_ND


def plain_score(task: Task, mean_NC: Floats, true_ND: Floats) -> float:
    """The score of one mean, in NumPy."""
    decided_ND = task.decide(mean_NC)
    if task.kind == "regression":
        return float(np.mean([plain_concordance(*pair) for pair in zip(decided_ND.T, true_ND.T, strict=True)]))
    if task.kind == "classes":
        classes = len(task.columns)
        pairs = (true_ND * classes + decided_ND).astype(np.int64)[:, 0]
        counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        hits, both = counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1)
    else:
        hits, both = np.einsum("nc,nc->c", decided_ND, true_ND), decided_ND.sum(axis=0) + true_ND.sum(axis=0)
    return float(np.divide(2 * hits, both, out=np.zeros(len(hits)), where=both > 0).mean())


def plain_concordance(x_N: Floats, y_N: Floats) -> Any:
    """Concordance of one column."""
    covariance = ((x_N - x_N.mean()) * (y_N - y_N.mean())).mean()
    return 2 * covariance / (x_N.var() + y_N.var() + (x_N.mean() - y_N.mean()) ** 2)


def plain_loop(task: Task, x_MNC: NDArray[np.float32], true_ND: Floats, picks: int) -> list[int]:
    """The picks of greedy selection, every candidate's mean made and scored."""
    total_NC, chosen = np.zeros(x_MNC.shape[1:]), []
    for pick in range(1, picks + 1):
        scores = [plain_score(task, (total_NC + x_NC) / pick, true_ND) for x_NC in x_MNC]
        tied = [m for m, score in enumerate(scores) if score >= max(scores) - TIE]
        chosen.append(next((m for m in tied if m in chosen), tied[0]))
        total_NC += x_MNC[chosen[-1]]
    return chosen


def ours(task: Task, x_MNC: NDArray[np.float32], true_ND: Floats, picks: int) -> Trajectory:
    rows, allowed = np.arange(x_MNC.shape[1]), list(range(len(x_MNC)))
    pools: dict[str, Callable[[], Pool]] = {
        "regression": lambda: ConcordancePool(moments(x_MNC, true_ND, rows)),
        "classes": lambda: ClassPool(x_MNC, true_ND, rows, allowed),
        "binary": lambda: UnitPool(x_MNC, true_ND, rows, allowed, 0.5),
    }
    return select([pools[task.kind]()], picks, allowed)


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """What the work finds, its seconds on the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    found = work()
    return found, time.perf_counter() - clock, time.process_time() - processor


def measure(name: str, members: int, frames: int, picks: int) -> dict[str, Any]:
    (task,) = get_track(name).tasks
    x_MNC, true_ND = made_up(task, members, frames)
    found, seconds, processor = timed(lambda: ours(task, x_MNC, true_ND, picks))
    plain, plain_seconds, plain_processor = timed(lambda: plain_loop(task, x_MNC, true_ND, picks))
    assert list(found.members) == plain, f"{name}: the picks differ: {found.members} and {plain}"
    result = {"track": name, "members": members, "frames": frames, "picks": picks, "different": len(set(plain))}
    result |= {"seconds": round(seconds, 2), "plain_seconds": round(plain_seconds, 2)}
    result |= {"ratio": round(plain_seconds / seconds, 1), "processor_ratio": round(plain_processor / processor, 1)}
    spent, rate = profiled(lambda: ours(task, x_MNC, true_ND, picks), PARTS), copy_rate()
    one = account(f"greedy selection, {name}", spent, limit=memory(rate), limit_s=x_MNC.nbytes / rate)
    return result | {"goal": GOALS[name], "array_GiB": round(x_MNC.nbytes / 2**30, 2), "accounts": [one]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=60)
    parser.add_argument("--frames", type=int, default=300_000)
    parser.add_argument("--picks", type=int, default=25)
    parser.add_argument("--tracks", nargs="+", choices=GOALS, default=list(GOALS))
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    results = []
    for name in arguments.tracks:
        results.append(measure(name, arguments.members, arguments.frames, arguments.picks))
        goal = target(f"greedy selection, {name}, against the plain loop", results[-1]["ratio"], least=GOALS[name])
        print(json.dumps(results[-1] | {"targets": [goal]}), flush=True)
    if arguments.write:
        (Path(__file__).parents[1] / "docs" / "ensembles-speed.md").write_text(page(results))


def page(results: list[dict[str, Any]]) -> str:
    first = results[0]
    lines = [
        "# Speed of greedy selection\n",
        f"Written by `python benchmarks/ensembles.py --write` at commit {commit()}, on {os.cpu_count()} cores.",
        f"One run: {first['members']} members, {first['frames']:,} frames, {first['picks']} picks; the picks are "
        "identical to those of a plain NumPy loop\nthat keeps the running sum and scores every candidate's mean. "
        f"Peak memory of the whole run: {getrusage(RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB.\n",
        "| track | members' arrays | seconds | plain loop, seconds | times faster | goal, at least | "
        "times less processor time | members in it |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in results:
        cells = [one["track"], f"{one['array_GiB']} GiB", one["seconds"], one["plain_seconds"], one["ratio"]]
        cells += [one["goal"], one["processor_ratio"], one["different"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += section(found for one in results for found in one["accounts"])
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
