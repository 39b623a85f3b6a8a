"""Every recipe by name. A variant is a function that calls another one and replaces fields."""

import difflib
from collections.abc import Callable

from experiments import demo, mae_face
from experiments.recipe import Recipe

RECIPES: dict[str, Callable[[], Recipe]] = {
    "demo": demo.demo,
    "demo_debug": demo.demo_debug,
    "mae_face_mtl": mae_face.mae_face_mtl,
    "mae_face_mtl_debug": mae_face.mae_face_mtl_debug,
}


def get_recipe(name: str) -> Recipe:
    """The recipe of that name, or a ValueError that lists the valid ones and the nearest."""
    if name in RECIPES:
        return RECIPES[name]()
    near = difflib.get_close_matches(name, RECIPES, n=1)
    hint = f" Perhaps you meant {near[0]}." if near else ""
    raise ValueError(f"unknown recipe {name!r}.{hint} Choose one of {', '.join(RECIPES)}; `abaw list` describes them.")
