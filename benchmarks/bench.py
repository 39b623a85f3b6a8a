"""All benchmarks, each at a size that is meant to leave the whole under half an hour: their targets, where time goes.

    python benchmarks/bench.py                 all of them; writes docs/bench.md
    python benchmarks/bench.py data metrics    these alone, prints

The scripts at their full sizes write pages of their own, which say where the time goes. `models` needs two packages
that are not among our dependencies (see there); where they are missing, the table says so. Faults are not a matter of
speed: `chaos.py`.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from account import Account, commit, section

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "bench.md"
SCRIPTS = {
    "data": ("--frames", "50000"),
    "shards": ("--frames", "10000", "50000"),
    "models": ("--device", "cpu", "--rounds", "2"),
    "metrics": (),
    "search": (),
    "ensembles": (),
    "scoring": ("--repeats", "3"),
    "store": ("--repeats", "5"),
    "imports": (),
    "faces": (),
    "demo": ("--seeds", "1"),
}
"""Arguments of the short form of each script."""
MET = {True: "met", False: "**not met**", None: ""}


def lines_of(name: str, arguments: tuple[str, ...]) -> tuple[list[str], list[Account]]:
    """Table rows of the figures that a script found, and where its time went."""
    if name == "models" and not all(map(find_spec, ("transformers", "lightly"))):
        return [f"| {name} | left out: transformers and lightly are not installed | | |"], []
    started = time.perf_counter()
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    print(f"{name}: {seconds:.0f} s, exit code {done.returncode}", file=sys.stderr, flush=True)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr, flush=True)
        return [f"| {name} | failed with exit code {done.returncode} | | **not met** |"], []
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    targets = [target for one in found for target in one["targets"]]
    rows = [f"| {name} | {one['what']}: {one['figure']} | {one['goal']} | {MET[one['met']]} |" for one in targets]
    accounts = [account for one in found for account in one.get("accounts", ())]
    return rows, [account | {"what": f"{name}: {account['what']}"} for account in accounts]


def machine() -> str:
    """Processor, cores and memory, in words."""
    cpu = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in cpu if line.startswith("model name")), "unknown processor")
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores of {model}, {gib:.0f} GiB"


def main() -> int:
    """The exit code: 1 where a script failed or a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCRIPTS)}; without one, all")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(SCRIPTS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; choose of {', '.join(SCRIPTS)}")
    started, load = time.time(), os.getloadavg()[0]
    found = [lines_of(name, SCRIPTS[name]) for name in arguments.names or SCRIPTS]
    rows = [line for lines, _ in found for line in lines]
    minutes = (time.time() - started) / 60
    text = "\n".join(
        [
            "# All benchmarks, in short",
            "",
            f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d} at commit {commit()}, on {machine()}, at a load",
            f"of {load:.1f}, in {minutes:.0f} minutes. Ratios are of one run, ours and theirs in turns; in brackets",
            "the least and the most of the rounds.",
            "",
            "| benchmark | figure | goal | |",
            "|---|---|---|---|",
            *rows,
            *section(account for _, accounts in found for account in accounts),
        ]
    )
    print(text)
    if not arguments.names:
        PAGE.write_text(text + "\n")
    return int(any("**not met**" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
