"""The manifest beside a submission file (made of what, by which code), and files that appear whole or not at all."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

from leaderboard.store import Entry

SCHEMA = 1
"""Version of the manifest's form."""


def manifest_path(file: Path) -> Path:
    """The manifest of a submission file: `entry.txt` has `entry.txt.manifest.json`."""
    return file.with_name(file.name + ".manifest.json")


def manifest_bytes(entry: Entry, *, config_hash: str | None) -> bytes:
    """The manifest as JSON: entry, file with its SHA-256, rows, members, commit, versions, score."""
    manifest = {
        "schema": SCHEMA,
        "track": entry.track,
        "name": entry.name,
        "author": entry.author,
        "note": entry.note,
        "baseline": entry.baseline,
        "created_at": entry.created_at.isoformat(timespec="seconds") + "+00:00",
        "file": Path(entry.file).name,
        "sha256": entry.sha256,
        "rows": entry.rows,
        "videos": entry.videos,
        "filled_rows": entry.filled,
        "members": entry.members,
        "score": entry.score,
        "metrics": entry.metrics,
        "commit": entry.commit,
        "tool_version": tool_version(),
        "config_hash": config_hash,
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()


def git_commit() -> str:
    """The commit of the working directory, with `+` when tracked files differ from it; empty outside of git."""
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        dirty = subprocess.run(["git", "diff", "--quiet", "HEAD"], capture_output=True, check=False, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() + ("+" if dirty.returncode else "")


def tool_version() -> str:
    """Version of this package; "source" when it runs without being installed."""
    try:
        return version("abaw-platform")
    except PackageNotFoundError:
        return "source"


class Staged:
    """Files written beside their targets; `publish` puts all in place; leaving by an error takes them away again.

    A context manager. Parent folders are made.
    """

    def __init__(self, contents: Mapping[Path, bytes]) -> None:
        self._contents = contents
        self._partial: dict[Path, Path] = {}
        self._new: list[Path] = []

    def __enter__(self) -> Self:
        for target, content in self._contents.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=target.name, suffix=".partial", dir=target.parent)
            self._partial[target] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(name, 0o644)  # mkstemp makes it private; a submission is handed on
        return self

    def publish(self) -> None:
        """Rename every file to its target."""
        for target, partial in self._partial.items():
            if not target.exists():
                self._new.append(target)
            partial.replace(target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for partial in self._partial.values():
            partial.unlink(missing_ok=True)
        if kind is not None:
            for target in self._new:
                target.unlink(missing_ok=True)
