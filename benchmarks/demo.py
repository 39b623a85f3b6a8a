"""The demo with three seeds, from nothing each time: scores with their spread, wall time, peak memory.

    python benchmarks/demo.py            writes docs/demo.md, about 20 minutes on two cores
    python benchmarks/demo.py --seeds 1  one seed, a line of JSON only

Memory is the sum over all processes of the run, Ray's included, with shared pages divided among those who share them
(PSS), sampled every three seconds. Where the time goes is read from the run folder: a stage has the seconds of its
`result.json`, and what passed before it began is counted apart: imports, the start of Ray, the start of its workers.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
from account import Account, account, commit, section
from targets import Target, target

ROOT = Path(__file__).parent.parent
MOST_S = 300
COLUMNS = {"VA": "S_VA", "EXPR": "S_EXPR", "AU": "S_AU", "MTL": "P_MTL"}


def run_demo(runs: Path, seed: int) -> dict:
    """One demo; its board entries by name, the seconds it took and its peak memory in GiB."""
    command = [sys.executable, "-m", "experiments", "run", "demo", "--seed", str(seed), "--runs", str(runs), "--json"]
    started = time.time()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    seen = {"peak_gib": 0.0, "processor_s": 0.0}
    watcher = threading.Thread(target=watch, args=(psutil.Process(process.pid), seen), daemon=True)
    watcher.start()
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the demo failed with seed {seed}")
    entries = {entry["name"]: entry for entry in json.loads(out)["entries"]}
    ended = time.time()
    spent = stage_seconds(runs / "demo", started, ended)
    return {"entries": entries, "wall_s": ended - started, "accounts": [account_of(seed, spent, seen)], **seen}


def stage_seconds(run: Path, started: float, ended: float) -> dict[str, float]:
    """Seconds of each kind of stage, of what passed before stages of this kind, and of the end."""
    spans = []
    for path in run.glob("*/result.json"):
        finished = path.stat().st_mtime
        spans.append((finished - json.loads(path.read_text())["wall_s"], finished, path.parent.name.split("-")[0]))
    spent, now = Counter[str](), started
    for begun, finished, kind in sorted(spans):
        spent[f"before {kind}"] += max(0.0, begun - now)
        spent[kind] += max(0.0, finished - max(begun, now))
        now = max(now, finished)
    return {**spent, "end": ended - now}


def account_of(seed: int, spent: dict[str, float], seen: dict[str, float]) -> Account:
    """The least time is that in which every core works all the time."""
    cores = psutil.cpu_count() or 1
    limit = f"processor time of all processes / {cores} cores, {seen['processor_s'] / cores:.0f} s"
    return account(f"the demo, seed {seed}", spent, limit=limit, limit_s=seen["processor_s"] / cores)


def watch(process: psutil.Process, seen: dict[str, float]) -> None:
    """Keep the largest sum of memory, and the processor time of each process as it was seen last."""
    processor: dict[psutil.Process, float] = {}
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        total = 0
        for one in [process, *process.children(recursive=True)]:
            try:
                total += one.memory_full_info().pss
                processor[one] = sum(one.cpu_times()[:2])
            except psutil.Error:
                continue
        seen["peak_gib"] = max(seen["peak_gib"], total / 2**30)
        seen["processor_s"] = sum(processor.values())
        time.sleep(3)  # asking costs a tenth of a second of a core


def table(results: list[dict]) -> list[str]:
    lines = ["| entry | " + " | ".join(COLUMNS) + " |", "|---|" + "---|" * len(COLUMNS)]
    names = sorted(
        results[0]["entries"],
        key=lambda name: -statistics.mean(r["entries"][name]["metrics"]["P_MTL"] for r in results),
    )
    for name in names:
        cells = []
        for key in COLUMNS.values():
            values = [result["entries"][name]["metrics"][key] for result in results]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):.3f} ± {spread:.3f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def effects(results: list[dict]) -> list[str]:
    """What pre-training and smoothing were worth, seed by seed."""

    def differences(better: str, worse: str) -> str:
        pairs = [r["entries"][better]["score"] - r["entries"][worse]["score"] for r in results]
        return ", ".join(f"{difference:+.3f}" for difference in pairs)

    return [
        "MTL score, seed by seed:",
        "",
        f"- pre-training (from MAE minus from scratch): {differences('from MAE', 'from scratch')}",
        f"- smoothing (from MAE, smoothed minus from MAE): {differences('from MAE, smoothed', 'from MAE')}",
        f"- ensemble minus its better member: {ensemble_gain(results)}",
    ]


def ensemble_gain(results: list[dict]) -> str:
    gains = []
    for result in results:
        scores = {name: entry["score"] for name, entry in result["entries"].items()}
        best = max(scores["from scratch, smoothed"], scores["from MAE, smoothed"])
        gains.append(f"{scores['ensemble of all smoothed'] - best:+.3f}")
    return ", ".join(gains)


def targets(result: dict) -> list[Target]:
    """What a demo may take, as its issue says, and what it took of memory."""
    return [
        target("the demo, from nothing to a board", round(result["wall_s"]), unit="s", most=MOST_S),
        target("peak memory of all its processes", round(result["peak_gib"], 1), unit="GiB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [run_demo(Path(folder) / str(seed), seed) for seed in range(arguments.seeds)]
    if arguments.seeds == 1:
        print(json.dumps(results[0] | {"targets": targets(results[0])}))
        return
    walls = ", ".join(f"{result['wall_s']:.0f}" for result in results)
    peaks = ", ".join(f"{result['peak_gib']:.1f}" for result in results)
    lines = [
        "# The demo, measured",
        "",
        f"Written by `python benchmarks/demo.py` at commit `{commit()}`: `abaw run demo` from nothing with seeds "
        f"0 to {len(results) - 1}, on {psutil.cpu_count()} cores. Scores of the held-out test videos, mean ± standard "
        "deviation over the seeds. The data set is the same each time; folds, weights, order and search follow the "
        "seed.",
        "",
        *table(results),
        "",
        *effects(results),
        "",
        f"Wall time of the whole command in seconds: {walls}. Peak memory of all its processes in GiB: {peaks}.",
        *section(found for result in results for found in result["accounts"]),
        "",
        "`before STAGE` is what passed before stages of this kind began: imports, the start of Ray and of its workers.",
    ]
    print("\n".join(lines))
    (ROOT / "docs" / "demo.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
