"""Where the time of a benchmark goes, and the limit that it is held against: both measured in its own run."""

import cProfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from types import FunctionType
from typing import TypedDict

import numpy as np

from abaw.version import commit_name


class Account(TypedDict):
    """What one case spends its time on, and how near it is to its limit."""

    what: str
    shares: dict[str, float]
    """Of its time, by part, the most first."""
    limit: str
    """What it cannot be faster than, with the figure that this run measured."""
    reached: float
    """The time that the limit alone would take, as a share of ours."""


def account(what: str, seconds: Mapping[str, float], *, limit: str, limit_s: float) -> Account:
    """From the seconds of each part, and those that the limit alone would take."""
    total = sum(seconds.values())
    shares = {part: round(one / total, 3) for part, one in sorted(seconds.items(), key=lambda item: -item[1])}
    return Account(what=what, shares=shares, limit=limit, reached=round(limit_s / total, 3))


def profiled(work: Callable[[], object], parts: Mapping[str, Sequence[Callable[..., object]]]) -> dict[str, float]:
    """Seconds of `work` in the functions of each part, with all that they call, and in all else.

    No function of a part may be called by one of another. Python's profiler makes many small calls look longer.
    """
    profile = cProfile.Profile()
    started = time.perf_counter()
    profile.runcall(work)
    total = time.perf_counter() - started
    spent = {entry.code: entry.totaltime for entry in profile.getstats()}
    seconds = {part: sum(spent.get(code_of(one), 0.0) for one in functions) for part, functions in parts.items()}
    return seconds | {"all else": max(0.0, total - sum(seconds.values()))}


def code_of(function: Callable[..., object]) -> object:
    assert isinstance(function, FunctionType), f"{function} is no function written in Python"
    return function.__code__


def quietly(command: Callable[[list[str]], int], words: list[str]) -> None:
    """A command within this process, which must succeed; what it prints is dropped."""
    with redirect_stdout(StringIO()):
        code = command(words)
    assert code == 0, f"exit code {code}: {' '.join(words)}"


def copy_rate(mebibytes: int = 128) -> float:
    """Bytes a second that one core reads and writes where NumPy copies an array: the memory's bandwidth."""
    source = np.ones(mebibytes << 17)
    target = np.zeros_like(source)
    return 2 * source.nbytes / min(seconds_of(lambda: np.copyto(target, source)) for _ in range(5))


def memory(rate: float) -> str:
    """The memory's bandwidth in words."""
    return f"memory, {rate / 1e9:.1f} GB/s"


def seconds_of(work: Callable[[], object]) -> float:
    """Seconds on the clock."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def table(accounts: Iterable[Account]) -> list[str]:
    """As Markdown."""
    lines = ["| what | where its time goes | limit | limit / ours |", "|---|---|---|---:|"]
    for one in accounts:
        shares = ", ".join(f"{part} {share:.0%}" for part, share in one["shares"].items() if share >= 0.005)
        lines.append(f"| {one['what']} | {shares} | {one['limit']} | {one['reached']:.0%} |")
    return lines


def section(accounts: Iterable[Account]) -> list[str]:
    """The table under its heading, for a page."""
    about = "The limit is what was measured in the same run, and what it alone would take as a share of our time."
    return ["", "## Where the time goes", "", about, "", *table(accounts)]


def commit() -> str:
    """The first digits of the commit, with `+` where files differ from it."""
    name = commit_name()
    return name[:7] + "+" * name.endswith("+")
