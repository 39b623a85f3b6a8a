"""`leaderboard show` on a store of 10,000 entries, as a whole command.

    python benchmarks/store.py              10,000 entries of MTL with intervals and members; one line of JSON a case
    python benchmarks/store.py --write      also docs/store-speed.md

Nine of ten entries are ranked; the others are invalid, with ten reasons each. Beside it, as a floor: the time of an
interpreter that only imports what `show` needs, and that of SQLite alone for the best 20. Where the time goes is told
by one more run of `show` within this process.
"""

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from account import Account, account, commit, profiled, quietly, seconds_of, section
from targets import target

sys.path[0] = str(Path(__file__).parents[1])

import numpy as np  # noqa: E402
from sqlalchemy import insert  # noqa: E402

from abaw.tracks import get_track  # noqa: E402
from leaderboard import board, board_command, cli  # noqa: E402
from leaderboard.board_command import SHOWN_ENTRIES  # noqa: E402
from leaderboard.schema import ENTRIES, Entry  # noqa: E402
from leaderboard.store import open_store  # noqa: E402

GOAL = 1.0
"""Seconds."""
MTL = get_track("mtl")
METRICS = [f"F1_{column}" for task in MTL.tasks[1:] for column in task.columns]
METRICS += ["CCC_valence", "CCC_arousal", "S_VA", "S_EXPR", "S_AU", "P_MTL"]


def fill(url: str, entries: int) -> None:
    """Make the store, through its own tables, in one transaction."""
    rng = np.random.default_rng(0)
    with open_store(url, create=True).begin() as connection:
        connection.execute(insert(ENTRIES), [vars(made_up(number, rng)) for number in range(1, entries + 1)])


def made_up(number: int, rng: np.random.Generator) -> Entry:
    metrics = dict(zip(METRICS, rng.uniform(0, 1, len(METRICS)).tolist(), strict=True))
    valid = number % 10 > 0
    return Entry(
        id=number,
        track="mtl",
        name=f"entry {number}",
        author=f"team {number % 40}",
        created_at=datetime(2026, 1, 1) + timedelta(minutes=number),
        status="valid" if valid else "invalid",
        score=metrics["P_MTL"] if valid else None,
        metrics=metrics if valid else {},
        intervals={name: [value - 0.02, value + 0.02] for name, value in metrics.items()} if valid else None,
        reasons=[] if valid else [f"file.txt:{line}: valence is 2; expected a number in [-1, 1]" for line in range(10)],
        rows=51_159,
        videos=228,
        frames=51_000,
        filled=number % 100,
        file=f"submissions/mtl-entry-{number}.txt",
        sha256=f"{number:064x}",
        members=[f"runs/mae/fold-{fold}/val.parquet" for fold in range(5)],
    )


BEST = f"SELECT * FROM entries WHERE status = 'valid' ORDER BY score DESC LIMIT {SHOWN_ENTRIES}"
COMPILED = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
"""Compiled modules are kept, as they are by default: the first run of several writes them."""


def measure(case: str, command: list[str], repeats: int) -> dict[str, Any]:
    """Seconds on the clock of several runs, and the processor time of the one that took the least of it."""
    clock, processor = [], []
    for _ in range(repeats):
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, env=COMPILED)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        clock.append(time.perf_counter() - started)
        processor.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    times = {"seconds": min(clock), "median": sorted(clock)[repeats // 2], "processor": min(processor)}
    return {"case": case, "runs": repeats, **{name: round(value, 2) for name, value in times.items()}}


def account_of(show: list[str], database: Path, results: list[dict[str, Any]]) -> Account:
    """`show` alone: its imports, the store, the board."""
    shown, imports = results[0]["median"], results[-1]["median"]
    parts = {
        "store opened": [open_store],
        "entries read and ranked": [board.top_rows],
        "table made": [board.render],
        "table printed": [board_command.print_table],
    }
    quietly(cli.main, show)
    spent = profiled(lambda: quietly(cli.main, show), parts)
    spent["start and imports"] = imports
    spent["all else"] += max(0.0, shown - sum(spent.values()))
    with closing(sqlite3.connect(database)) as connection:
        sqlite_s = min(seconds_of(lambda: connection.execute(BEST).fetchall()) for _ in range(5))
    limit = f"imports, {imports:.2f} s, and the best {SHOWN_ENTRIES} from SQLite, {1000 * sqlite_s:.1f} ms"
    return account("show", spent, limit=limit, limit_s=imports + sqlite_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/board.sqlite"
        fill(url, arguments.entries)
        show = [sys.executable, "-m", "leaderboard", "show", "--store", url]
        imports = "import leaderboard.cli, leaderboard.commands, leaderboard.board_command, rich.console"
        for case, command in {
            "show": show,
            "show --track mtl --top 10": [*show, "--track", "mtl", "--top", "10"],
            "show --json (every entry)": [*show, "--json"],
            "imports alone": [sys.executable, "-c", imports],
        }.items():
            results.append({"entries": arguments.entries, **measure(case, command, arguments.repeats)})
            most = GOAL if case == "show" else None
            goal = target(f"{case}, {arguments.entries:,} entries", results[-1]["median"], unit="s", most=most)
            print(json.dumps(results[-1] | {"load": round(os.getloadavg()[0], 1), "targets": [goal]}), flush=True)
        found = account_of(show[3:], Path(folder) / "board.sqlite", results)
        print(json.dumps({"targets": [], "accounts": [found]}))
    if arguments.write:
        (Path(__file__).parents[1] / "docs" / "store-speed.md").write_text(page(results, found))


def page(results: list[dict[str, Any]], found: Account) -> str:
    first = results[0]
    lines = [
        "# Speed of the board\n",
        f"Written by `python benchmarks/store.py --write` at commit {commit()}, on {os.cpu_count()} cores, at "
        f"a load of {os.getloadavg()[0]:.1f}.",
        f"A SQLite store of {first['entries']:,} entries of MTL, whole commands, {first['runs']} runs each. The goal: "
        f"`leaderboard show`\nin under {GOAL:g} s. It prints the first 20; `--top` prints more. "
        "Modules\nare compiled, as after a first run.\n",
        "| command | fastest, s | median, s | processor, s |",
        "|---|---:|---:|---:|",
    ]
    names = ("case", "seconds", "median", "processor")
    lines += [f"| {' | '.join(str(one[name]) for name in names)} |" for one in results]
    return "\n".join([*lines, *section([found])]) + "\n"


if __name__ == "__main__":
    main()
