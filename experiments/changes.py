"""What is said where a run folder is given a recipe with other fields than the last time."""

from pathlib import Path
from typing import Any

import yaml

from abaw.masking import without_passwords
from abaw.runs import plain
from experiments.recipe import Recipe

RECIPE = "recipe.yaml"
"""The recipe that was last run in a folder, all fields resolved."""


def note_recipe(recipe: Recipe, root: Path) -> list[str]:
    """Write the recipe to its run folder; returns the fields that were others the last time, `field: old -> new`."""
    path, text = root / RECIPE, without_passwords(yaml.safe_dump(plain(recipe), sort_keys=False))
    now = yaml.safe_load(text)
    before = yaml.safe_load(path.read_text()) if path.is_file() else now
    partial = path.with_name(RECIPE + ".partial")
    partial.write_text(text)
    partial.replace(path)
    old, new = _flat(before), _flat(now)
    names = dict.fromkeys([*new, *old])
    return [f"{name}: {_cell(old, name)} -> {_cell(new, name)}" for name in names if old.get(name) != new.get(name)]


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Every leaf of a tree by its path, such as finetune.epochs."""
    if isinstance(value, dict) and value:
        parts = {f"{name}.{key}" if name else str(key): part for key, part in value.items()}
        return {path: leaf for key, part in parts.items() for path, leaf in _flat(part, key).items()}
    return {name: value}


def _cell(flat: dict[str, Any], name: str) -> str:
    return repr(flat[name]) if name in flat else "none"
