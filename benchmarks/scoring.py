"""`leaderboard score` against a pandas and scikit-learn script, whole command against whole script, and in memory.

    python benchmarks/scoring.py                EXPR and VA at the size of all their labels; one line of JSON a case
    python benchmarks/scoring.py --write        also docs/scoring-speed.md

Both get the same files in the organisers' form and must give the same score to 1e-12. Ours also checks every name and
value, and gives the interval of every metric, which the script does not. `In memory` is merging and scoring tables that
are read, without intervals: theirs is a data frame, ours holds the names as videos and frame numbers.
They take turns; a ratio is that of two runs that followed one another. The goals are those of an EXPR and a VA file
together. Processor time is user and system together.
Where the time goes is told by one more run within this process; the limits are Arrow's CSV reader, which checks
nothing, and the memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from account import Account, account, commit, copy_rate, memory, profiled, quietly, seconds_of, section
from targets import Target, target

sys.path[0] = str(Path(__file__).parents[1])

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow.csv  # noqa: E402
from sklearn.metrics import f1_score  # noqa: E402

from abaw.tracks import TRACKS  # noqa: E402
from leaderboard import cli  # noqa: E402
from leaderboard.clean_counts import count_clean, read_both  # noqa: E402
from leaderboard.per_video import intervals, pooled  # noqa: E402

ROWS = {"expr": 1_022_655, "va": 927_210}
WHOLE_GOAL, MEMORY_GOAL, PEAK_GOAL_GIB = 4, 20, 1
READ = """
import sys
import pandas as pd
track, predicted, truth = sys.argv[1:]
p, t = pd.read_csv(predicted, skiprows=1, header=None), pd.read_csv(truth, skiprows=1, header=None)
if track == "expr":
    from sklearn.metrics import f1_score
"""
SCORE = """
both = p.merge(t, on=0)
assert len(both) == len(t)
if track == "expr":
    found = f1_score(both["1_y"], both["1_x"], labels=range(8), average="macro", zero_division=0)
else:
    def ccc(x, y):
        gap = x.mean() - y.mean()
        return 2 * ((x - x.mean()) * (y - y.mean())).mean() / (x.var(ddof=0) + y.var(ddof=0) + gap**2)
    found = (ccc(both["1_x"], both["1_y"]) + ccc(both["2_x"], both["2_y"])) / 2
"""


def write(path: Path, track: str, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels_ND = rng.uniform(-1, 1, (rows, 2)) if track == "va" else rng.integers(0, 8, (rows, 1)).astype(float)
    images = (f"video{row // 4000}-1920x1080/{row % 4000 + 1:05d}.jpg" for row in range(rows))
    lines = map(TRACKS[track].format_row, images, labels_ND)
    path.write_text("\n".join([",".join(TRACKS[track].submission_header), *lines]) + "\n")


COMPILED = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
"""Compiled modules are kept, as they are by default: both run once before they are timed."""
Run = tuple[float, float, float, str]
"""Seconds on the clock and of the processor, peak memory (GiB) and what was found."""


def run(command: list[str]) -> Run:
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, env=COMPILED)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        assert status == 0, command
        output.seek(0)
        return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20, output.read().decode()


def whole(track: str, predicted: Path, truth: Path, repeats: int) -> dict[str, Any]:
    """The command against the script, in turns."""
    command = [sys.executable, "-m", "leaderboard", "score", str(predicted), "--track", track]
    command += ["--truth", str(truth), "--json"]
    script = [sys.executable, "-c", READ + SCORE + "print(repr(float(found)))", track, str(predicted), str(truth)]
    for one in (command, script):
        run(one)
    turns = [(run(command), run(script)) for _ in range(repeats)]
    difference = abs(json.loads(turns[0][0][3])["score"] - float(turns[0][1][3]))
    assert difference <= 1e-12, f"{track}: the scores differ by {difference}"
    case, found = f"{track}, whole command", compared(turns)
    found |= {"peak_GiB": round(max(one[2] for one, _ in turns), 2), "difference": difference}
    return {
        "case": case,
        "turns": turns,
        **found,
        "accounts": [account_of(case, command[3:], found["seconds"], (predicted, truth))],
    }


def account_of(case: str, words: list[str], seconds: float, files: tuple[Path, Path]) -> Account:
    """One more run of the command within this process, which has imported everything."""
    parts = {"reading and checking": [read_both], "counting": [count_clean], "intervals": [intervals]}
    spent = profiled(lambda: quietly(cli.main, words), parts)
    spent["start and imports"] = max(0.0, seconds - sum(spent.values()))
    arrow_s = sum(min(seconds_of(lambda: read_arrow(file)) for _ in range(3)) for file in files)  # noqa: B023
    return account(case, spent, limit=f"Arrow's CSV reader on both files, {arrow_s:.2f} s", limit_s=arrow_s)


def read_arrow(path: Path) -> None:
    """Rows of a file as columns, nothing checked."""
    pyarrow.csv.read_csv(path, pyarrow.csv.ReadOptions(skip_rows=1, autogenerate_column_names=True))


def in_memory(track: str, predicted: Path, truth: Path, repeats: int) -> dict[str, Any]:
    """Merging and scoring of tables that both have read."""
    tables = read_both(predicted, truth, TRACKS[track])
    assert tables is not None
    p, t = (pd.read_csv(path, skiprows=1, header=None) for path in (predicted, truth))
    code, names = compile(SCORE, "script", "exec"), {"p": p, "t": t, "track": track, "f1_score": f1_score}

    def ours() -> float:
        counted = count_clean(*tables, TRACKS[track])
        assert counted is not None
        return pooled(TRACKS[track], counted).compute()[TRACKS[track].score]

    def theirs() -> float:
        exec(code, names)
        return float(names["found"])

    turns = [(timed(ours), timed(theirs)) for _ in range(repeats)]
    difference = abs(float(turns[0][0][3]) - float(turns[0][1][3]))
    assert difference <= 1e-12, f"{track}: the scores differ by {difference}"
    case, rate = f"{track}, in memory", copy_rate()
    spent = profiled(ours, {"counting": [count_clean], "one score": [pooled]})
    size = sum(one.values_DN.nbytes + one.frame_N.nbytes for one in tables)
    accounts = [account(case, spent, limit=memory(rate), limit_s=size / rate)]
    return {"case": case, "turns": turns, **compared(turns), "difference": difference, "accounts": accounts}


def both(case: str, results: list[dict[str, Any]], goal: int) -> dict[str, Any]:
    """The files of both tracks, one after the other."""
    turns = [
        tuple(
            (one[0] + other[0], one[1] + other[1], max(one[2], other[2]), "") for one, other in zip(*pair, strict=True)
        )
        for pair in zip(*(one["turns"] for one in results), strict=True)
    ]
    rows = sum(one["rows"] for one in results)
    return {"case": f"both, {case}", **compared(turns, goal), "rows": rows, "accounts": []}


def timed(function: Callable[[], float]) -> Run:
    clock, processor = time.perf_counter(), time.process_time()
    found = function()
    return time.perf_counter() - clock, time.process_time() - processor, 0.0, repr(found)


def compared(turns: list[Any], goal: int | None = None) -> dict[str, Any]:
    """Medians of both, of the ratio on the clock with its spread, and of the ratio of processor time."""
    ratios = sorted(theirs[0] / ours[0] for ours, theirs in turns)
    return {
        "seconds": round(median(ours[0] for ours, _ in turns), 3),
        "their_seconds": round(median(theirs[0] for _, theirs in turns), 3),
        "processor": round(median(ours[1] for ours, _ in turns), 3),
        "their_processor": round(median(theirs[1] for _, theirs in turns), 3),
        "times_faster": round(median(ratios), 1),
        "least": round(ratios[0], 1),
        "most": round(ratios[-1], 1),
        "less_processor": round(median(theirs[1] / ours[1] for ours, theirs in turns), 1),
        "goal": goal,
        "met": None if goal is None else median(ratios) >= goal,
    }


def targets(result: dict[str, Any]) -> list[Target]:
    """How many times faster ours is, and its memory."""
    rounds = (result["least"], result["most"])
    what = f"scoring, {result['case']}, against pandas and scikit-learn"
    found = [target(what, result["times_faster"], rounds=rounds, least=result["goal"])]
    if "peak_GiB" in result:
        what = f"scoring, {result['case']}, peak memory"
        found.append(target(what, result["peak_GiB"], unit="GiB", most=PEAK_GOAL_GIB))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="of both tracks; without it as many as they have labels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        # The commands first: the peak of a child counts the memory of this process when it forked.
        for measure, case, goal in ((whole, "whole command", WHOLE_GOAL), (in_memory, "in memory", MEMORY_GOAL)):
            found = []
            for track, most in ROWS.items():
                predicted, truth = Path(folder) / f"{track}.txt", Path(folder) / f"{track}_truth.txt"
                rows = arguments.rows or most
                if measure is whole:
                    write(predicted, track, rows, 0)
                    write(truth, track, rows, 1)
                found.append(measure(track, predicted, truth, arguments.repeats) | {"rows": rows})
            for one in [*found, both(case, found, goal)]:
                one.pop("turns", None)
                results.append(one)
                print(json.dumps(one | {"load": round(os.getloadavg()[0], 1), "targets": targets(one)}), flush=True)
    if arguments.write:
        (Path(__file__).parents[1] / "docs" / "scoring-speed.md").write_text(page(results, arguments.repeats))


def page(results: list[dict[str, Any]], repeats: int) -> str:
    lines = [
        "# Speed of scoring\n",
        f"Written by `python benchmarks/scoring.py --write` at commit {commit()}, on {os.cpu_count()} cores,",
        f"at a load of {os.getloadavg()[0]:.1f}. Reading, checking and scoring a file, against pandas and",
        f"scikit-learn: medians of {repeats} runs each, in turns; least and most of their ratios. The scores",
        "agree to 1e-12. Ours also checks every row and gives the intervals of all metrics;",
        "the script does neither. Both find their modules compiled, as they are after a first run.",
        f"The goals, for both files together: {WHOLE_GOAL} times for the whole command, {MEMORY_GOAL} times in memory;",
        f"less than {PEAK_GOAL_GIB} GiB at the peak of each.\n",
        "| case | rows | ours, s | theirs, s | times faster | goal |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for one in results:
        times = f"{one['times_faster']} ({one['least']} to {one['most']})"
        goal = "" if one["goal"] is None else f"{one['goal']}, {'met' if one['met'] else 'not met'}"
        cells = [one["case"], f"{one['rows']:,}", one["seconds"], one["their_seconds"], times, goal]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += [
        "\nProcessor time, which other programs on the machine disturb less:\n",
        "| case | ours, s | theirs, s | times less | peak, GiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for one in results:
        cells = [one["case"], one["processor"], one["their_processor"], one["less_processor"], one.get("peak_GiB", "")]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += section(found for one in results for found in one["accounts"])
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
