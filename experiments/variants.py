"""Rows of the papers' tables: a recipe with fields replaced, and the figure that the paper gives for it.

A row is a recipe of its own: `abaw run emma_mtl-vit_celeba` runs the row `vit_celeba` of the table that belongs to
`emma_mtl`, and `abaw table NAME` runs all rows of a table on the embedded faces, over several seeds.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from abaw.postprocess.smoothing import Smoothing

Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table: a training, or what is made of the predictions of others."""

    name: str
    """A word, unique among the rows of its recipe; behind the recipe's name it is the name of the variant."""
    title: str
    """What the paper calls it."""
    paper: float | None = None
    """The paper's figure, as the paper writes it; None where it gives none."""
    claimed: str = ""
    """Where the paper gives no figure: "better", if it says that this row is better than the first one."""
    change: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the recipe that differ, by dotted name, such as `system.pool` or `passes.0.optimisation.lr`."""
    small: Mapping[str, Any] | None = field(default_factory=dict)
    """Further changes at the size of the embedded faces; None where the row needs what they do not have."""
    epochs: bool = False
    """The mean over the kept epochs of this training and its last one."""
    members: tuple[str, ...] = ()
    """Other rows of the table, of whose predictions the mean is taken instead of a training."""
    smoothing: Smoothing | None = None
    """Applied to the predictions, with widths that were set beforehand."""


@dataclass(frozen=True, kw_only=True)
class PaperTable:
    """One table of a paper."""

    name: str
    """What `abaw table` takes."""
    title: str
    """Which table, of which paper, on which data."""
    recipe: str
    """The recipe whose variants the rows are."""
    rows: tuple[Row, ...]
    """The first one that runs is what the others are compared with."""
    measure: str
    """Our score beside the paper's figure: a metric of `result.json`, such as S_EXPR."""
    beside: str
    """What the paper's figures are, such as: EXPR F1 (%), ABAW5 validation set."""
    small: Mapping[str, Any] = field(default_factory=dict)
    """Changes of all rows at the size of the embedded faces."""
    remark: str = ""
    """Said below the table: what differs from the paper at this size, and why a sign may disagree."""


def with_fields(config: Config, changes: Mapping[str, Any]) -> Config:
    """The config tree with the fields of these dotted names replaced; ValueError for a name that it does not have."""
    for name, value in changes.items():
        config = _with_field(config, name.split("."), value, whole=name)
    return config


def _with_field(config: Any, path: list[str], value: Any, *, whole: str) -> Any:
    first, *rest = path
    if isinstance(config, tuple) and first.isdecimal() and int(first) < len(config):
        new = _with_field(config[int(first)], rest, value, whole=whole) if rest else value
        return (*config[: int(first)], new, *config[int(first) + 1 :])
    names = [one.name for one in dataclasses.fields(config)] if dataclasses.is_dataclass(config) else []
    if first not in names:
        has = ", ".join(names) or "none"
        raise ValueError(f"{whole}: {type(config).__name__} has no field {first!r}; it has {has}")
    new = _with_field(getattr(config, first), rest, value, whole=whole) if rest else value
    return dataclasses.replace(config, **{first: new})
