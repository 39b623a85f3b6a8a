"""`abaw show`: what a run or a stage gave, by its `result.json`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from abaw.problems import refuse
from abaw.runs import is_complete, read_result
from leaderboard.terminal import print_table


def show(folder: Path, *, as_json: bool) -> int:
    """Print what a stage, or each stage of a run, gave; returns the exit code. BadInput where nothing is complete."""
    if not folder.is_dir():
        raise refuse(folder, "no such folder; expected a run such as runs/demo, or one of its stages")
    stages = [folder] if is_complete(folder) else sorted(path for path in folder.iterdir() if is_complete(path))
    if not stages:
        raise refuse(folder, "holds no complete stage (no result.json); `abaw run` writes them")
    return print_results({stage.name: read_result(stage) for stage in stages}, as_json=as_json)


def print_results(results: Mapping[str, dict[str, Any]], *, as_json: bool) -> int:
    """Print what each stage scored, by its name; returns the exit code."""
    if as_json:
        print(json.dumps(results, indent=1))
        return 0
    table = Table("stage", "finished", "wall", "commit", "scores", "95 % interval", box=None)
    for name, result in results.items():
        shown = {result.get("score_name"), "S_VA", "S_EXPR", "S_AU"}
        scores = {key: value for key, value in result.get("metrics", {}).items() if key in shown}
        table.add_row(
            name,
            result["finished_at"],
            f"{result['wall_s']:.1f} s",
            (result["commit"] or "-")[:8] + ("+" if result["dirty"] else ""),
            "  ".join(f"{key} {value:.3f}" for key, value in scores.items()),
            _interval(result),
        )
    print_table(table)
    return 0


def _interval(result: Mapping[str, Any]) -> str:
    """The ranking score's interval over videos, or nothing where a stage scores nothing."""
    if not result.get("interval"):
        return ""
    return f"{result['score_name']} {result['interval']['low']:.3f} to {result['interval']['high']:.3f}"
