"""Which runs a prediction table stands on, from the folders that they left: `result.json` and `config.yaml`.

A table's run is found in the folders above it; where there is none, the table may be an ensemble and name its members.
A run names the stages that it read, which lie beside its own folder or beside one above it, and the weights that it
started from, which lie in folders of runs or come from elsewhere, or are a soup of such. All are followed to their
ends.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from leaderboard.ensemble import members_in
from leaderboard.manifest import RUN_DEPTH
from leaderboard.soup import ingredients


@dataclass(frozen=True, kw_only=True)
class Run:
    """One stage that a member stands on."""

    folder: Path
    name: str
    member: str
    """A member that stands on it."""
    commit: str
    """With `+` when tracked files differed from it; empty outside of git."""
    config_hash: str
    trains: bool
    """Whether it made weights, and did not only predict or prepare."""
    track: str | None
    """Whose labels its weights were trained on; None for self-supervised ones and for stages that train nothing."""
    sources: tuple[str, ...]
    """Where its training frames come from: the folder of shards, and what the shards say themselves."""
    foreign: tuple[str, ...]
    """Weights that it started from and that no run made: files, or names such as timm:vit_base_patch16_224.mae."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """All runs that the members stand on."""

    runs: tuple[Run, ...]
    unknown: tuple[str, ...]
    """Members and stages of which no run folder was found, in words."""


def provenance_of(members: Sequence[str]) -> Provenance:
    """The runs of these members, which are paths of prediction tables; each run once."""
    found: dict[Path, Run] = {}
    unknown: dict[str, None] = {}
    for member in (leaf for one in members for leaf in _leaves(one, frozenset())):
        folder = run_folder(Path(member))
        if folder is None:
            unknown[f"member {member}"] = None
            continue
        waiting = [folder]
        while waiting:
            folder = waiting.pop()
            if folder in found:
                continue
            found[folder], inputs = _read(folder, member)
            there = [one for one in inputs if (one / "result.json").is_file()]
            unknown |= dict.fromkeys(
                f"stage {one.name}, which {folder.name} read" for one in inputs if one not in there
            )
            waiting += there
    return Provenance(runs=tuple(found.values()), unknown=tuple(unknown))


def _leaves(member: str, above: frozenset[str]) -> Iterator[str]:
    """The member; or, of an ensemble's table that lies in no run's folder, the leaves of its members."""
    inner = [] if member in above or run_folder(Path(member)) else _members_in(Path(member))
    for one in inner:
        yield from _leaves(one, above | {member})
    if not inner:
        yield member


def _members_in(table: Path) -> list[str]:
    try:
        return members_in(pq.read_schema(table))
    except (OSError, ValueError):
        return []


def stage_folder(folder: Path, name: str) -> Path:
    """The folder of a stage that the run in `folder` read: beside it, or beside a folder above it (`tune/SEARCH`)."""
    places = [above / name for above in list(folder.parents)[:RUN_DEPTH]]
    return next((place for place in places if (place / "result.json").is_file()), places[0])


def run_folder(file: Path) -> Path | None:
    """The folder of the run that wrote this file; None where there is none."""
    folders = list(file.absolute().parents)[:RUN_DEPTH]
    return next((folder for folder in folders if (folder / "result.json").is_file()), None)


def member_table(member: str, ensemble: Path) -> Path:
    """The table of a member, which an ensemble names by its path, and a stage by the stage that it read."""
    folder = run_folder(ensemble)
    if folder is not None:
        for name in mapping(folder / "result.json").get("inputs") or ():
            stage = stage_folder(folder, str(name))
            if mapping(stage / "result.json").get("name") == member:
                return stage / ensemble.name
    return Path(member)


def _read(folder: Path, member: str) -> tuple[Run, list[Path]]:
    """The run of this folder, and the folders of the runs that it stands on."""
    result, config = mapping(folder / "result.json"), mapping(folder / "config.yaml")
    inputs = [stage_folder(folder, str(name)) for name in result.get("inputs") or ()]
    foreign = []
    for path in (one for start in _starts(config) for one in _unmixed(start, frozenset())):
        made_by = run_folder(Path(path))
        if made_by is None:
            foreign.append(path)
        elif made_by not in inputs:
            inputs.append(made_by)
    trains = "optimisation" in config
    run = Run(
        folder=folder,
        name=str(result.get("name") or folder.name),
        member=member,
        commit=f"{result.get('commit') or ''}{'+' if result.get('dirty') else ''}",
        config_hash=str(result.get("config_hash") or ""),
        trains=trains,
        track=config.get("track") if trains else None,
        sources=tuple(_sources(config)) if trains else (),
        foreign=tuple(foreign),
    )
    return run, inputs


def _starts(config: Mapping[str, Any]) -> Iterator[str]:
    """The weights and the teachers' predictions that a training started from."""
    init = config.get("init")
    yield from map(str, (init if isinstance(init, dict) else {}).values())
    yield from map(str, config.get("soft_targets") or ())


def _unmixed(weights: str, above: frozenset[str]) -> Iterator[str]:
    """The checkpoints that a soup was made of in the end; any other weights themselves."""
    inner = [] if weights in above else ingredients(Path(weights))
    for one in inner:
        yield from _unmixed(str(one), above | {weights})
    if not inner:
        yield weights


def _sources(config: Mapping[str, Any]) -> Iterator[str]:
    train = config.get("train")
    shards = train.get("shards") if isinstance(train, dict) else None
    if shards:
        yield str(shards)
        if source := mapping(Path(shards) / "manifest.json").get("source"):
            yield str(source)


def mapping(path: Path) -> dict[str, Any]:
    """What a JSON or YAML file holds; empty where it is not there or holds something else."""
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else yaml.load(text, yaml.CSafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
