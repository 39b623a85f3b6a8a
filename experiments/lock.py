"""One driver at a time in a run folder: a lock that says whose it is, and that ends with its process."""

import getpass
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from abaw.problems import BadInput, refuse

LOCK = ".driver.json"
UNWRITTEN_S = 10.0
"""A lock that is still empty after this was left by a process that died while it made it."""


@contextmanager
def driving(folder: Path) -> Iterator[None]:
    """Hold the run folder; BadInput names who else does.

    The lock of a dead process of this machine is taken over. What is half-written is removed at the end.
    """
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
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
        except OSError as error:
            raise _unwritable(folder, error) from None
    try:
        yield
    finally:
        _sweep(folder)
        path.unlink(missing_ok=True)


def _unwritable(folder: Path, error: OSError) -> BadInput:
    return refuse(folder, f"cannot be written ({error.strerror}); give --runs a folder that you may write to")


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half-written, and Ray's own records of trainings."""
    for partial in list(folder.rglob("*.partial")):
        shutil.rmtree(partial, ignore_errors=True) if partial.is_dir() else partial.unlink(missing_ok=True)
    shutil.rmtree(folder / ".ray", ignore_errors=True)


def driver_of(folder: Path) -> str | None:
    """Who drives a run now, as far as can be known; None where nobody does."""
    path = folder / LOCK
    return None if not path.exists() or _left_over(path) else _named(path).rstrip(",")


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
