"""The arguments of `abaw tune`, and what it prints; loads nothing heavy until a search runs."""

import argparse
import json
from typing import Any


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments beside the recipe, `--runs` and `--json`."""
    command.add_argument("--search", help="name of a search of the recipe, such as finetune; smoothing is always there")
    command.add_argument("--trials", type=int, default=20, help="trials in all, those of earlier runs included; 20")
    command.add_argument("--hours", type=float, help="start no trial after this many hours of this run")
    command.add_argument("--device-hours", type=float, help="start no trial after this many device hours in all")
    command.add_argument(
        "--storage", default="", help="database of the study, postgresql+psycopg://... or sqlite:///FILE"
    )
    command.add_argument("--resume", action="store_true", help="go on with the study that is there")
    command.add_argument("--overwrite", action="store_true", help="delete the study and the trials that are there")
    command.add_argument("--workers", type=int, help="processes of a trial; 1 without GPUs, else as the recipe says")
    command.add_argument("--address", help="a Ray cluster; a private local Ray without it")


def tune(arguments: argparse.Namespace, recipe: Any) -> int:
    """Search, and print what was found."""
    from abaw.search.searcher import Budget
    from experiments.registry import searches_of
    from experiments.search import SMOOTHING
    from experiments.tune import tune_recipe
    from experiments.tune_options import Options

    if not arguments.search:
        described = [f"{name}: {one.title}" for name, one in searches_of(recipe.name).items()]
        described.append(f"{SMOOTHING}: widths, gap limit, thresholds and class bias, on out-of-fold predictions")
        raise ValueError("give --search; " + recipe.name + " has\n" + "\n".join(f"  {line}" for line in described))
    budget = Budget(trials=arguments.trials, hours=arguments.hours, device_hours=arguments.device_hours)
    options = Options(
        budget=budget,
        storage=arguments.storage,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        workers=arguments.workers,
        address=arguments.address,
    )
    result = tune_recipe(recipe, arguments.search, arguments.runs, options)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print("\n".join(_lines(result)))
    return 0 if result["metrics"] else 1


def _lines(result: dict[str, Any]) -> list[str]:
    from abaw.search.space import shown

    if not result["metrics"]:
        return ["no trial has a score; the page names the reasons"]
    lines = [f"best {name} {value:.4f}" for name, value in result["metrics"].items()]
    if result.get("best"):
        lines[0] += f", {result['best']['trial']}"
        lines += [f"  {name} = {shown(value)}" for name, value in result["best"]["point"].items()]
    for task, found in result.get("tasks", {}).items():
        ways = "  ".join(
            f"{way.replace('_', '-')} {found[way]:.4f}" for way in ("untuned", "in_sample", "cross_fitted")
        )
        lines.append(f"{task}: {ways}")
    return lines
