"""What a recipe may be searched over: a space beside its fields, by the name that `abaw tune --search` takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from abaw.search.space import Point, Space
from abaw.systems.cotex import masked_batch_size
from abaw.training.optimisation import Optimisation
from experiments.recipe import Recipe

SMOOTHING = "smoothing"
"""The search that every recipe has: on its out-of-fold predictions, without a network."""
Fields = Callable[[Recipe, Point], Mapping[str, Any]]
"""The fields of a recipe, by dotted name, at a point of a space."""


def as_named(recipe: Recipe, point: Point) -> Mapping[str, Any]:
    """The names of the space are those of the fields."""
    return point


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search of one recipe."""

    name: str
    """What `--search` takes."""
    recipe: str
    """The recipe that it belongs to; `<recipe>_debug` and its variants have it too."""
    title: str
    """What is searched, in one line."""
    space: Space
    """What is chosen from, by dotted name of a field, or by a name that `fields` knows."""
    fields: Fields = as_named
    """What of the recipe follows from a point."""
    first: Point = field(default_factory=dict)
    """What is tried first: the values of the recipe as it stands. Names left out are chosen by Optuna."""
    small: Space = field(default_factory=dict)
    """Other ranges at the size for tests."""

    def sized(self, recipe_name: str) -> tuple[Space, Point]:
        """The space for the recipe of this name, and what is tried first: nothing set at the size for tests."""
        small = recipe_name.partition("-")[0].endswith("_debug")
        return ({**self.space, **self.small}, {}) if small else (self.space, self.first)


def masked_batch(where: str, settings: Optimisation, point: Point, *, ratio: str) -> Mapping[str, Any]:
    """The batch that a mask ratio makes room for, in as many micro-batches as before (EMMA paper, Table 6).

    A point holds `base_batch`, the images of an optimiser step with nothing hidden.
    """
    batch = masked_batch_size(int(point["base_batch"]), mask_ratio=point[ratio], most=16384)
    micro_batch = batch * settings.micro_batch // settings.batch_size
    return {ratio: point[ratio], f"{where}.batch_size": batch, f"{where}.micro_batch": micro_batch}
