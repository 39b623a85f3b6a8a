"""What a command takes before it works: start of Python and imports. Prints a line of JSON.

    python benchmarks/imports.py

Each command is run in a fresh process, in turns with one that only imports the packages of others that it stands on:
the limit. Where the time goes is what `python -X importtime` says, by package.
"""

import json
import os
import re
import statistics
import subprocess
import sys
from collections import Counter

from account import Account, account, seconds_of
from targets import target

ROUNDS = 5
COMMANDS = {
    "abaw list": (["experiments", "list"], "pass", 0.3),
    "abaw plan demo": (["experiments", "plan", "demo"], "import torch, torchvision, timm, polars, tyro, rich", None),
    "leaderboard --help": (["leaderboard", "--help"], "pass", 0.3),
    "leaderboard show": (["leaderboard", "show"], "import numpy, sqlalchemy, rich.console", 1.0),
}
"""The module and its arguments, what alone is held against it, and the most seconds that it may take."""
OWN = {"abaw", "experiments", "leaderboard"}
COMPILED = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
"""Compiled modules are kept, as they are by default: the first run writes them."""


def python(*words: str) -> str:
    """Run Python on `words`, which may fail (a board that is not there); returns what it wrote to stderr."""
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=COMPILED).stderr


def by_package(words: list[str]) -> Counter[str]:
    """Seconds in the modules of each package, without what they import; the standard library is one."""
    seconds: Counter[str] = Counter()
    for own_us, name in re.findall(r"import time: +(\d+) \| +\d+ \| +(\S+)", python("-X", "importtime", "-m", *words)):
        package = name.partition(".")[0]
        part = "ours" if package in OWN else "standard library" if package in sys.stdlib_module_names else package
        seconds[part] += int(own_us) / 1e6
    return seconds


def measured(what: str) -> tuple[list[float], Account]:
    """Seconds of the rounds, and where they go."""
    words, limit, _ = COMMANDS[what]
    python("-m", *words)
    rounds, limits = [], []
    for _ in range(ROUNDS):
        rounds.append(seconds_of(lambda: python("-m", *words)))
        limits.append(seconds_of(lambda: python("-c", limit)))
    spent, took, least = by_package(words), statistics.median(rounds), statistics.median(limits)
    parts = dict(spent.most_common(6))
    parts["all else"] = max(0.0, took - sum(parts.values()))
    alone = "Python alone" if limit == "pass" else f"`{limit}`"
    return rounds, account(what, parts, limit=f"{alone}, {least:.2f} s", limit_s=least)


def main() -> None:
    targets, accounts = [], []
    for what, (_, _, most) in COMMANDS.items():
        rounds, found = measured(what)
        rounds = [round(one, 2) for one in rounds]
        targets.append(target(what, statistics.median(rounds), unit="s", rounds=rounds, most=most))
        accounts.append(found)
    print(json.dumps({"targets": targets, "accounts": accounts}))


if __name__ == "__main__":
    main()
