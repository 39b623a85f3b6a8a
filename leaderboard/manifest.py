"""The manifest beside a submission file: made of what, by which code."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abaw.tracks import Track
from abaw.version import commit_name, tool_version

if TYPE_CHECKING:
    # Databases take a tenth of a second to import, and whether a file has a manifest needs none.
    from leaderboard.schema import Entry

SCHEMA = 1
"""Version of the manifest's form."""
RUN_DEPTH = 4
"""Folders in which the `result.json` of a table's run is looked for: `run/predictions/epoch/table.parquet`."""


def manifest_path(file: Path) -> Path:
    """The manifest of a submission file: `entry.txt` has `entry.txt.manifest.json`."""
    return file.with_name(file.name + ".manifest.json")


def manifest_of(path: Path, track: Track) -> dict[str, Any]:
    """The manifest beside what `leaderboard export` or `submit` wrote for the track; empty if it has changed since."""
    try:
        manifest = json.loads(manifest_path(path).read_bytes())
        known = manifest["sha256"]
        digests = known if isinstance(known, dict) else {path.name: known}
        same = [
            hashlib.sha256((path / name if path.is_dir() else path).read_bytes()).hexdigest() == digest
            for name, digest in digests.items()
        ]
        of_track = manifest["track"] == track.name
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return manifest if of_track and same and all(same) else {}


def manifest_bytes(
    entry: "Entry",
    *,
    config_hash: str,
    with_score: bool,
    tables: Sequence[str] = (),
    recipe: Mapping[str, Any] | None = None,
) -> bytes:
    """The manifest as JSON: entry, file with its SHA-256, rows, members, their tables and weights, commit, score.

    The score is null where it may not be shown.
    """
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
        "tables": list(tables),
        "recipe": recipe,
        "score": entry.score if with_score else None,
        "metrics": entry.metrics if with_score else {},
        "intervals": entry.intervals if with_score else None,
        "tuning": entry.tuning,
        "commit": entry.commit,
        "tool_version": tool_version(),
        "config_hash": config_hash,
    }
    return (json.dumps(manifest, indent=2) + "\n").encode()


def commit_of(files: Iterable[Path]) -> str:
    """The commit of the code that made the files, with `+` when files differed from it.

    A run folder says it in its `result.json`, which is looked for in the folder of each file and the three above it.
    Several commits are joined by commas. Where no run folder is known: the commit of the checkout that this package
    runs from; empty outside of git.
    """
    found = {run["commit"] + ("+" if run.get("dirty") else "") for run in map(_run_of, files) if run}
    return ",".join(sorted(found - {""})) or commit_name()


def config_hash_of(files: Iterable[Path]) -> str:
    """The hashes of the configs of the runs that made the files, joined by commas; empty where no run is known."""
    return ",".join(sorted({str(run.get("config_hash") or "") for run in map(_run_of, files)} - {""}))


def _run_of(file: Path) -> dict[str, Any]:
    """The nearest `result.json` above the file that names a commit; empty where there is none."""
    for folder in list(file.absolute().parents)[:RUN_DEPTH]:
        try:
            result = json.loads((folder / "result.json").read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(result, dict) and isinstance(result.get("commit"), str):
            return result
    return {}
