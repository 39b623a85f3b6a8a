"""Build hook: the commit goes into a wheel as `abaw/commit.txt`, and into an sdist, of which a wheel is built later."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NAME = "commit.txt"


class CommitHook(BuildHookInterface):
    """Adds the file; not to an editable install, which asks git."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before the build: write the file to a temporary folder and have it included."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / NAME
        path.write_text(commit_of(self.root) + "\n")
        build_data["force_include"][str(path)] = f"abaw/{NAME}" if self.target_name == "wheel" else NAME


def commit_of(root: str) -> str:
    """The commit of the checkout, with `+` when files differ from it, or of the sdist; empty where neither knows it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", root, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    if (Path(root) / NAME).is_file():
        return (Path(root) / NAME).read_text().strip()
    if not (Path(root) / ".git").exists():
        return ""
    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
