"""Which version and commit runs: told by git in a checkout, by the build in a wheel, by its driver in a job.

A wheel has no git beside it, or the one of somebody else's project that it is installed in. So the build writes the
commit into the package, see `hatch_build.py`.
"""

import argparse
import os
from pathlib import Path
from typing import Any

BUILT_FROM = Path(__file__).with_name("commit.txt")
"""The commit that a wheel was built from, with `+` when the checkout differed from it; not there in a checkout."""


def tool_version() -> str:
    """Version of this package; "source" when it runs from an uploaded folder without being installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("abaw-platform")
    except PackageNotFoundError:
        return "source"


def commit_and_dirty() -> tuple[str | None, bool]:
    """The commit of the code that runs, None where nobody knows, and whether files differ from it."""
    if BUILT_FROM.is_file():
        built = BUILT_FROM.read_text().strip()
        return built.removesuffix("+") or None, built.endswith("+")
    commit = _git("rev-parse", "HEAD") or os.environ.get("ABAW_COMMIT")  # of a job: what it was submitted from
    return commit, bool(_git("status", "--porcelain") or int(os.environ.get("ABAW_DIRTY", "0")))


def commit_name() -> str:
    """The commit as one word, with `+` when files differ from it; empty where nobody knows."""
    commit, dirty = commit_and_dirty()
    return f"{commit}{'+' * dirty}" if commit else ""


class ShowVersion(argparse.Action):
    """`--version`: the program, its version and its commit on stdout."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print version and commit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print and exit with 0."""
        told = f"commit {commit_name() or 'unknown: installed without git'}"
        print(f"{parser.prog} {tool_version()}, {told}")
        parser.exit()


def _git(*arguments: str) -> str | None:
    """What git says of the checkout that this library runs from; None where there is none, or no git."""
    import subprocess

    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
