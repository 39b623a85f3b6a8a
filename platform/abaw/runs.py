"""Run folders: what a stage is called, when it is done, and what it leaves behind.

A stage's key is the hash of its resolved config and of the keys of its inputs. Its folder is complete only when
`result.json` is there, which is written last and atomically. So a run that was killed is picked up where it stopped,
and a run that is complete is never repeated.
"""

import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from abaw.masking import without_passwords
from abaw.version import commit_and_dirty

SCHEMA_VERSION = 1
_VERSIONED = ("abaw-platform", "torch", "timm", "ray", "numpy", "optuna")


def plain(value: Any) -> Any:
    """A config as JSON types: dataclasses and mappings to dicts, tuples to lists, paths to strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a config cannot hold {type(value).__name__}: {value!r}")


def key_of(config: Any, inputs: Sequence[str] = ()) -> str:
    """Twelve hexadecimal digits that name a stage: the hash of its config and of the keys of its inputs."""
    text = json.dumps([plain(config), list(inputs)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that the file is there whole or not at all; passwords in URLs are left out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(without_passwords(json.dumps(value, indent=1)) + "\n")
    partial.replace(path)


def is_complete(folder: Path) -> bool:
    """Whether the stage in this folder has finished."""
    return (folder / "result.json").is_file()


def start(folder: Path, config: Any) -> None:
    """Make the folder and write the resolved config that the stage is about to run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(without_passwords(yaml.safe_dump(plain(config), sort_keys=False)))


def finish(folder: Path, *, config: Any, started: float, inputs: Sequence[str] = (), **result: Any) -> None:
    """Write `result.json`: the given results and where they come from.

    `started` is `time.time()` at the start of the stage; `inputs` are the names of the stages it read.
    """
    wall_s = time.time() - started
    record = {
        "schema_version": SCHEMA_VERSION,
        "status": "complete",
        **plain(result),
        "config_hash": key_of(config),
        "inputs": list(inputs),
        "wall_s": round(wall_s, 3),
        **provenance(),
    }
    write_json(folder / "result.json", record)


def read_result(folder: Path) -> dict[str, Any]:
    """The `result.json` of a complete stage."""
    loaded: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return loaded


def provenance() -> dict[str, Any]:
    """Commit, dirty flag, versions, command and time, for a result that can be traced."""
    commit, dirty = commit_and_dirty()
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": {name: _version(name) for name in _VERSIONED} | {"python": sys.version.split()[0]},
        "command": " ".join(sys.argv),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str:
    """Version of a package; "source" where it runs from an uploaded folder without being installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "source"
