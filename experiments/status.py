"""`abaw status`: the runs and who drives them, trials, and on a cluster its jobs, nodes, and what waits for what."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from abaw.problems import refuse
from abaw.runs import is_complete
from experiments.lock import driver_of
from experiments.ray_session import check_answers

CONFIG, PROGRESS, FAILED, ENDED = "config.yaml", "progress.json", "failed.json", "ended.json"
LIMIT = 1000
"""Entries of a kind that a cluster is asked for."""


def status(runs: Path, address: str | None) -> dict[str, Any]:
    """What there is: `runs`, and with an address `jobs`, `nodes` and `waiting`.

    Raises BadInput where there is no folder `runs`, or nothing answers at the address.
    """
    if not runs.is_dir():
        raise refuse(runs, "no such folder of runs; give --runs, or ABAW_RUNS")
    found: dict[str, Any] = {"runs": [run_status(folder) for folder in run_folders(runs)]}
    return found | (cluster_status(address) if address else {})


def run_folders(runs: Path) -> list[Path]:
    """The folders below `runs` that hold stages, or a driver."""
    folders = sorted(folder for folder in runs.iterdir() if folder.is_dir())
    return [folder for folder in folders if driver_of(folder) or next(_stages(folder), None)]


def _stages(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if (path / CONFIG).is_file())


def run_status(folder: Path) -> dict[str, Any]:
    """A run: who drives it, its stages by name with their state, and its trials by state."""
    driver = driver_of(folder)
    stages = [{"stage": stage.name, **stage_status(stage, driven=driver is not None)} for stage in _stages(folder)]
    trials = {
        search.name: dict(
            Counter(stage_status(one, driven=driver is not None)["state"] for one in sorted(search.glob("trial-*")))
        )
        for search in sorted(folder.glob("tune/*"))
        if search.is_dir()
    }
    return {"run": str(folder), "driver": driver, "stages": stages, "trials": trials}


def stage_status(folder: Path, *, driven: bool) -> dict[str, Any]:
    """`state`: complete, failed, running (its driver lives), or stopped (it goes on when the run is given again).

    A trial may be pruned too; one that was stopped does not go on. Of a training beside it, where it stands.
    """
    if is_complete(folder):
        return {"state": "complete"}
    if (folder / ENDED).is_file():
        return dict(json.loads((folder / ENDED).read_text()))
    failed = sorted(folder.glob(f"*{FAILED}"))
    if failed:
        return {"state": "failed", "reasons": json.loads(failed[0].read_text())["reasons"]}
    try:
        standing = {"progress": json.loads((folder / PROGRESS).read_text())}
    except (OSError, ValueError):
        standing = {}
    return {"state": "running" if driven else "stopped", **standing}


def cluster_status(address: str) -> dict[str, Any]:
    """What the cluster says: jobs, nodes with their resources, and what waits for which resources.

    What asks for no resources waits for its process to start.
    """
    from ray.util import state

    if not address.startswith("http"):
        check_answers(address)
    options: dict[str, Any] = {"address": address.rstrip("/"), "limit": LIMIT, "detail": True}
    try:
        jobs, nodes = state.list_jobs(**options), state.list_nodes(**options)
        groups = state.list_placement_groups(**options, filters=[("state", "=", "PENDING")])
        actors = state.list_actors(**options, filters=[("state", "=", "PENDING_CREATION")])
        tasks = state.list_tasks(**options, filters=[("state", "=", "PENDING_NODE_ASSIGNMENT")])
    except Exception as error:  # one of many kinds, by what is at the address
        expected = "expected that of a Ray dashboard, such as http://HEAD:8265"
        raise refuse(
            f"--address {address}", f"no state of a cluster ({type(error).__name__}: {error}); {expected}"
        ) from None
    waiting = [
        *({"what": f"placement group {one.name}", "for": _summed(one.bundles)} for one in groups),
        *({"what": f"actor {one.name or one.class_name}", "for": one.required_resources} for one in actors),
        *({"what": f"task {one.name}", "for": one.required_resources} for one in tasks),
    ]
    return {
        "jobs": [
            {"job": one.submission_id or one.job_id, "state": str(one.status), "command": one.entrypoint}
            for one in jobs
        ],
        "nodes": [
            {"node": one.node_name, "state": one.state, "head": one.is_head_node, **_shown(one.resources_total)}
            for one in nodes
        ],
        "waiting": [entry | {"for": dict(entry["for"] or {})} for entry in waiting],
    }


def _summed(bundles: list[dict[str, Any]] | None) -> dict[str, float]:
    total: Counter[str] = Counter()
    for bundle in bundles or ():
        total.update(bundle.get("unit_resources") or {})
    return dict(total)


def _shown(resources: dict[str, Any]) -> dict[str, float]:
    """CPUs and GPUs of a node."""
    return {name.lower() + "s": resources.get(name, 0) for name in ("CPU", "GPU")}


def show_status(runs: Path, address: str | None, *, as_json: bool) -> int:
    """Print it; returns the exit code."""
    found = status(runs, address)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print_status(found)
    return 0


def print_status(found: dict[str, Any]) -> None:
    """Tables for a person."""
    console = Console()
    runs = Table("run", "driver", "stages, trials", "now", box=None)
    for run in found["runs"]:
        states = Counter(stage["state"] for stage in run["stages"])
        trials = [f"{name}: {_counts(by_state)}" for name, by_state in run["trials"].items()]
        now = [_now(stage) for stage in run["stages"] if stage["state"] != "complete"]
        runs.add_row(run["run"], run["driver"] or "-", "\n".join([_counts(states), *trials]), "\n".join(now))
    console.print(runs)
    for name in ("jobs", "nodes", "waiting"):
        rows = found.get(name, [])
        if rows:
            table = Table(*rows[0], box=None)
            for row in rows:
                table.add_row(*(_cell(value) for value in row.values()))
            console.print(table)
        elif name in found:
            console.print(f"{name}: none")


def _counts(by_state: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in by_state.items())


def _now(stage: dict[str, Any]) -> str:
    """A stage that is not complete, on a line."""
    if stage["state"] == "failed":
        return f"{stage['stage']}: failed, {stage['reasons'][0]}"
    at = stage.get("progress")
    where = f", epoch {at['epoch']}/{at['epochs']} step {at['step']}/{at['steps']}" if at else ""
    return f"{stage['stage']}: {stage['state']}{where}"


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number:g} {name}" for name, number in value.items()) or "its process to start"
    return str(value)
