"""Which table of those given to a replay is which member's of the recipe: by name, by folder, or by the order.

A recipe names its members by the tables that it was made with, `a/out_of_fold.parquet`; replayed are others of the same
runs, `a/test.parquet`. So a table belongs to the member in whose folder it lies. Tables beside those of the members,
such as of runs to which the recipe gave no weight, are told and left: `*/test.parquet` may be given as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from abaw.problems import BadInput, Problem, refuse
from leaderboard.checks import check_once
from leaderboard.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Matched:
    """The tables of a replay."""

    tables: Mapping[str, Path]
    """By member, in the recipe's order."""
    unused: Mapping[str, str]
    """Tables that were given and are not used -> why."""


def match_tables(recipe: Recipe, given: Sequence[str], path: Path) -> Matched:
    """Find the table of each member of the recipe in `path`. `given` are tables, or all of them MEMBER=TABLE.

    BadInput says which members lack a table, which have two, and what to give.
    """
    names = (*recipe.members, *recipe.left_out)
    check_once(given, "table")
    named = {text: name for text in given for name in names if text.startswith(f"{name}=")}
    if named and len(named) < len(given):
        others = ", ".join(text for text in given if text not in named)
        raise refuse(path, f"some tables are given as MEMBER=TABLE and others are not ({others}); name all, or none")
    owners = named or {text: owner for text in given if (owner := _owner(text, names))}
    if not owners and len(given) == len(recipe.members):
        return Matched(tables=dict(zip(recipe.members, map(Path, given), strict=True)), unused={})
    _check(recipe, owners, given, path)
    tables = {name: Path(text[len(name) + 1 :] if named else text) for text, name in owners.items()}
    unused = {text: _reason(owners.get(text), path) for text in given if owners.get(text) not in recipe.members}
    return Matched(tables={name: tables[name] for name in recipe.members}, unused=unused)


def _owner(table: str, names: Sequence[str]) -> str | None:
    """The member of this file, or the only one that lies in its folder."""
    place = Path(table).absolute()
    near = [name for name in names if Path(name).absolute().parent == place.parent]
    same = [name for name in near if Path(name).absolute() == place]
    return (same or near)[0] if same or len(near) == 1 else None


def _check(recipe: Recipe, owners: Mapping[str, str], given: Sequence[str], path: Path) -> None:
    """Refuse tables of which some member has none or several."""
    problems = []
    for name in recipe.members:
        own = [text for text, owner in owners.items() if owner == name]
        if len(own) > 1:
            message = f"the member {name} has several tables: {', '.join(own)}; give one of them"
            problems.append(Problem(path=str(path), message=message))
    lacking = [name for name in recipe.members if name not in owners.values()]
    if lacking:
        which = "; a table belongs to a member in its folder" if owners else ""
        message = f"no table is given for {', '.join(lacking)} (given: {', '.join(given)}){which}"
        wanted = f"{len(recipe.members)} tables in this order, or each as MEMBER=TABLE: {', '.join(recipe.members)}"
        none = f"; leave out those of {', '.join(recipe.left_out)}, which have no weight" if recipe.left_out else ""
        problems.append(Problem(path=str(path), message=f"{message}; give {wanted}{none}"))
    if problems:
        raise BadInput(problems)


def _reason(owner: str | None, path: Path) -> str:
    return f"{path} gives {owner} no weight" if owner else f"{path} has no member in its folder"
