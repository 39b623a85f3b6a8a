"""Every recipe, table and search by name. A variant is a recipe with the fields of a table's row replaced."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType

from experiments import contrawarping, cotex, demo, dual_view, emma, mae_face, temporal
from experiments.catalogue import recipes_of
from experiments.recipe import Recipe
from experiments.search import SMOOTHING, Search
from experiments.sizes import debug
from experiments.variants import PaperTable, with_fields

MODULES: tuple[ModuleType, ...] = (demo, mae_face, emma, cotex, contrawarping, dual_view, temporal)
RECIPES: dict[str, Callable[[], Recipe]] = {
    name: getattr(module, name) for module in MODULES for name in recipes_of(str(module.__file__))
}
TABLES: dict[str, PaperTable] = {table.name: table for module in MODULES for table in getattr(module, "TABLES", ())}


def variants() -> dict[str, str]:
    """Every row of every table that is a training of its own, as `<recipe>-<row>`, and what it is."""
    return {
        f"{table.recipe}-{row.name}": f"{row.title}: {table.title}"
        for table in TABLES.values()
        for row in table.rows
        if not row.members
    }


def get_recipe(name: str) -> Recipe:
    """The recipe or variant of that name; `<recipe>_debug-<row>` is a variant at the size for tests.

    Raises ValueError with the valid names and the nearest.
    """
    base, _, row_name = name.partition("-")
    if base in RECIPES and not row_name:
        return RECIPES[base]()
    full = base.removesuffix("_debug")
    row = next((row for one in _tables_of(full) for row in one.rows if row.name == row_name and not row.members), None)
    if base in RECIPES and row is not None:
        if base == full:
            return with_fields(RECIPES[full](), {**row.change, "name": name})
        # What a row changes is made tiny with the rest: it may be a network of the paper's size.
        tiny = debug(with_fields(RECIPES[full](), {**row.change, **(row.small or {})}))
        return dataclasses.replace(tiny, name=name)
    hint = _nearest(name, [*RECIPES, *variants()])
    raise ValueError(
        f"unknown recipe {name!r}.{hint} Choose one of {', '.join(RECIPES)}, or a row of a paper's table, such as "
        f"{next(iter(variants()))}; `abaw list` describes them, `abaw list --rows` the rows."
    )


def get_table(name: str) -> PaperTable:
    """The table of that name, or a ValueError that lists the valid ones."""
    if name in TABLES:
        return TABLES[name]
    raise ValueError(f"unknown table {name!r}; choose one of {', '.join(TABLES)}")


def searches_of(recipe_name: str) -> dict[str, Search]:
    """The searches of a recipe that train networks, by name."""
    base = recipe_name.partition("-")[0].removesuffix("_debug")
    found: list[Search] = [one for module in MODULES for one in getattr(module, "SEARCHES", ())]
    return {one.name: one for one in found if one.recipe == base}


def get_search(recipe_name: str, name: str) -> Search:
    """The search of this name; ValueError with those that the recipe has."""
    found = searches_of(recipe_name)
    if name not in found:
        valid = sorted([*found, SMOOTHING])
        hint = _nearest(name, valid)
        raise ValueError(f"{recipe_name} has no search {name!r}.{hint} Choose one of {', '.join(valid)}.")
    return found[name]


def _tables_of(recipe: str) -> Iterable[PaperTable]:
    return (table for table in TABLES.values() if table.recipe == recipe)


def _nearest(name: str, valid: Sequence[str]) -> str:
    """What may have been meant, where a valid name is near."""
    near = difflib.get_close_matches(name, valid, n=1)
    return f" Perhaps you meant {near[0]}." if near else ""
