"""The demo with three seeds, from nothing each time: scores with their spread, wall time, peak memory.

    python benchmarks/demo.py            writes docs/demo.md, about 20 minutes on two cores
    python benchmarks/demo.py --seeds 1  one seed, prints only

Memory is the sum over all processes of the run, Ray's included, with shared pages divided among those who share them
(PSS), sampled every three seconds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
COLUMNS = {"VA": "S_VA", "EXPR": "S_EXPR", "AU": "S_AU", "MTL": "P_MTL"}


def run_demo(runs: Path, seed: int) -> dict:
    """One demo; its board entries by name, the seconds it took and its peak memory in GiB."""
    command = [sys.executable, "-m", "experiments", "run", "demo", "--seed", str(seed), "--runs", str(runs), "--json"]
    started = time.time()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    peak: list[float] = [0.0]
    watcher = threading.Thread(target=watch_memory, args=(psutil.Process(process.pid), peak), daemon=True)
    watcher.start()
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"the demo failed with seed {seed}")
    entries = {entry["name"]: entry for entry in json.loads(out)["entries"]}
    return {"entries": entries, "wall_s": time.time() - started, "peak_gib": peak[0]}


def watch_memory(process: psutil.Process, peak: list[float]) -> None:
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        total = 0
        for one in [process, *process.children(recursive=True)]:
            try:
                total += one.memory_full_info().pss
            except psutil.Error:
                continue
        peak[0] = max(peak[0], total / 2**30)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = [run_demo(Path(folder) / str(seed), seed) for seed in range(arguments.seeds)]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    walls = ", ".join(f"{result['wall_s']:.0f}" for result in results)
    peaks = ", ".join(f"{result['peak_gib']:.1f}" for result in results)
    lines = [
        "# The demo, measured",
        "",
        f"Written by `python benchmarks/demo.py` at commit `{commit[:12]}`: `abaw run demo` from nothing with seeds "
        f"0 to {len(results) - 1}, on {psutil.cpu_count()} cores. Scores of the held-out test videos, mean ± standard "
        "deviation over the seeds. The data set is the same each time; folds, weights, order and search follow the "
        "seed.",
        "",
        *table(results),
        "",
        *effects(results),
        "",
        f"Wall time of the whole command in seconds: {walls}. Peak memory of all its processes in GiB: {peaks}.",
    ]
    print("\n".join(lines))
    if arguments.seeds > 1:
        (ROOT / "docs" / "demo.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
