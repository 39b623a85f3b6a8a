"""Trials a second of the smoothing search, against a bare Optuna loop in one process, both measured in one run.

    python benchmarks/search.py             400 trials of the three tasks on 200,000 frames; JSON
    python benchmarks/search.py --write     also docs/search-speed.md

A trial is one proposal for each task of the track MTL: widths, gap limit, thresholds and class bias. The bare loop asks
Optuna, evaluates and tells, one trial after the other, in one process with one thread; it evaluates with the same code
as the search, and keeps filtered predictions as that does. The search runs on a Ray of `--cores` cores, whose start is
not counted; the start of its actors is. Its processes, the driver and Ray's own among them, are held to these cores,
and so is the loop, to one of them. Predictions are made up: a slow truth, noise on each frame, and gaps. Where the time
goes is told by a second, shorter loop; the loop on as many cores is the limit of the search.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from account import Account, account, commit, profiled, section
from targets import target

sys.path[0] = str(Path(__file__).parents[1])
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")

import numpy as np  # noqa: E402
import optuna  # noqa: E402
import pyarrow as pa  # noqa: E402

from abaw.metrics import TrackStatistics  # noqa: E402
from abaw.predictions import LABEL_PREFIX, schema  # noqa: E402
from abaw.search.smoothing import search_smoothing  # noqa: E402
from abaw.tracks import get_track  # noqa: E402

MTL = get_track("mtl")
GOAL = 0.7
VIDEOS = 100


def made_up(frames: int, seed: int = 0) -> pa.Table:
    """Out-of-fold predictions of 100 videos with a gap in each, nine labels of ten there."""
    rng = np.random.default_rng(seed)
    each = frames // VIDEOS
    phase, speed = rng.uniform(0, 6.28, (VIDEOS, 1, 22)), rng.uniform(20, 80, (VIDEOS, 1, 22))
    slow_NC = np.sin(np.arange(each)[None, :, None] / speed + phase).reshape(-1, 22)
    noisy_NC = slow_NC + rng.normal(0, 0.8, slow_NC.shape)
    power_NC = np.exp(2 * noisy_NC[:, 2:10])
    values = [
        np.clip(noisy_NC[:, :2], -1, 1),
        power_NC / power_NC.sum(axis=1, keepdims=True),
        1 / (1 + np.exp(-3 * noisy_NC[:, 10:])),
    ]
    true = [slow_NC[:, :2], slow_NC[:, 2:10].argmax(axis=1)[:, None], (slow_NC[:, 10:] > 0.3)]
    frame_V = np.arange(each) + 60 * (np.arange(each) > each // 2)
    columns = {
        "video": np.repeat([f"v{k:03d}" for k in range(VIDEOS)], each),
        "frame": np.tile(frame_V, VIDEOS),
        "fold": np.zeros(len(slow_NC), dtype=np.int8),
        "checkpoint": np.repeat("final", len(slow_NC)),
    }
    for task, values_NC, true_ND in zip(MTL.tasks, values, true, strict=True):
        columns |= {name: values_NC[:, c] for c, name in enumerate(task.columns)}
        unknown = rng.random(len(slow_NC)) < 0.1
        columns |= {
            LABEL_PREFIX + name: pa.array(true_ND[:, c], mask=unknown).cast(schema(MTL).field(LABEL_PREFIX + name).type)
            if task.kind == "regression"
            else pa.array(true_ND[:, c].astype(np.int16), mask=unknown)
            for c, name in enumerate(task.label_columns)
        }
    return pa.table({name: columns[name] for name in schema(MTL).names}, schema=schema(MTL))


def bare_loop(table: pa.Table, trials: int) -> tuple[float, dict[str, float]]:
    """Seconds, and the best score of each task."""
    from abaw.postprocess.crossfit import pooled_score
    from abaw.search.candidates import candidate_at, space_of, start_points
    from abaw.search.evaluation import Evaluator, search_data
    from abaw.search.space import suggest
    from abaw.search.study import sampler

    started = time.perf_counter()
    data = search_data(table, MTL, seed=0)
    evaluator, studies, spaces = Evaluator(data), {}, {}
    for place, (name, own) in enumerate(data.tasks.items()):
        spaces[name] = space_of(own, data, decisions=True)
        studies[name] = optuna.create_study(direction="maximize", sampler=sampler(place))
        for point in start_points(spaces[name]):
            studies[name].enqueue_trial(point)
    for _ in range(trials):
        for name, study in studies.items():
            trial = study.ask()
            halves: tuple[TrackStatistics, ...] = evaluator.count(name, candidate_at(suggest(spaces[name], trial)))
            study.tell(trial, pooled_score(data.tasks[name].track, halves))
    return time.perf_counter() - started, {name: study.best_value for name, study in studies.items()}


def account_of(table: pa.Table, result: dict[str, Any]) -> Account:
    """The loop once more with a quarter of the trials, held against the search."""
    from abaw.postprocess.smoothing import filter_rows, put_together
    from abaw.search.evaluation import search_data
    from abaw.search.space import suggest
    from abaw.tracks import Task

    parts = {
        "Optuna": [optuna.Study.ask, optuna.Study.tell, suggest],
        "table taken apart": [search_data],
        "filters": [filter_rows],
        "equation 9": [put_together],
        "decisions": [Task.decide],
        "counting": [TrackStatistics.update],
    }
    trials = max(1, result["trials"] // 4)
    spent = profiled(lambda: bare_loop(table, trials), parts)
    limit = f"of the search: this loop on every core, {result['bare_trials_per_s']} trials/s a core"
    return account(f"{trials} trials of the loop", spent, limit=limit, limit_s=result["ratio"] * sum(spent.values()))


def ours(table: pa.Table, trials: int, cores: int) -> tuple[float, dict[str, float]]:
    """Seconds, and the best score of each task."""
    import ray

    ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level="error")
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        found = search_smoothing(table, MTL, trials=trials, seed=0, storage=Path(folder), decisions=True)
        seconds = time.perf_counter() - started
    ray.shutdown()
    return seconds, {name: one.in_sample for name, one in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--trials", type=int, default=400)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table, allowed = made_up(arguments.frames), sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:1])
    bare_s, bare = bare_loop(table, arguments.trials)
    os.sched_setaffinity(0, allowed[: arguments.cores])
    our_s, best = ours(table, arguments.trials, arguments.cores)
    result = {
        "frames": arguments.frames,
        "trials": arguments.trials,
        "cores": arguments.cores,
        "bare_trials_per_s": round(arguments.trials / bare_s, 2),
        "trials_per_s_per_core": round(arguments.trials / our_s / arguments.cores, 2),
        "ratio": round(bare_s / our_s / arguments.cores, 2),
        "goal": GOAL,
        "bare_best": {name: round(value, 4) for name, value in bare.items()},
        "best": {name: round(value, 4) for name, value in best.items()},
        "load": round(os.getloadavg()[0], 1),
    }
    os.sched_setaffinity(0, allowed[:1])
    found = account_of(table, result)
    goal = target("smoothing search, trials/s a core, against a bare Optuna loop", result["ratio"], least=GOAL)
    print(json.dumps(result | {"targets": [goal], "accounts": [found]}))
    if arguments.write:
        (Path(__file__).parents[1] / "docs" / "search-speed.md").write_text(page(result, found))


def page(result: dict[str, Any], found: Account) -> str:
    lines = [
        "# Speed of the smoothing search\n",
        f"Written by `python benchmarks/search.py --write` at commit {commit()}, one run. A trial is one",
        "proposal for each task of MTL; both sides evaluate with the same code, see the script.\n",
        "| measure | value |",
        "|---|---:|",
        f"| frames | {result['frames']:,} |",
        f"| trials | {result['trials']} |",
        f"| bare Optuna loop, one process, trials/s | {result['bare_trials_per_s']} |",
        f"| Ray Tune on {result['cores']} cores, trials/s per core | {result['trials_per_s_per_core']} |",
        f"| ratio; goal at least {result['goal']} | {result['ratio']} |",
        f"| load of the machine at the end, that of the run included | {result['load']} |",
    ]
    return "\n".join([*lines, *section([found])]) + "\n"


if __name__ == "__main__":
    main()
