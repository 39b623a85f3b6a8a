"""One driver at a time in a run folder: a lock that says whose it is, and that ends with its process."""

import getpass
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from abaw.problems import refuse

LOCK = ".driver.json"
UNWRITTEN_S = 10.0
"""A lock that is still empty after this was left by a process that died while it made it."""


@contextmanager
def driving(folder: Path) -> Iterator[None]:
    """Hold the run folder; BadInput names who else does.

    The lock of a dead process of this machine is taken over.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    while True:
        try:
            with path.open("x") as file:
                json.dump(_owner(), file)
            break
        except FileExistsError:
            if not _left_over(path):
                what = "wait, or give another --runs; delete this file if that process has ended"
                raise refuse(path, f"{_named(path)} runs this folder; {what}") from None
            path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _owner() -> dict[str, object]:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return {"user": getpass.getuser(), "host": socket.gethostname(), "pid": os.getpid(), "since": since}


def _read(path: Path) -> dict[str, object]:
    try:
        owner: dict[str, object] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return owner


def _named(path: Path) -> str:
    owner = _read(path)
    return "{user} on {host}, process {pid}, since {since},".format(
        **{"user": "someone", "host": "?", "pid": "?", "since": "?", **owner}
    )


def _left_over(path: Path) -> bool:
    """Whether the process that made the lock is dead; of another machine we cannot know, so it is not."""
    owner = _read(path)
    if not owner:
        return time.time() - _changed(path) > UNWRITTEN_S
    if owner.get("host") != socket.gethostname():
        return False
    try:
        os.kill(int(str(owner["pid"])), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _changed(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else time.time()
