"""A recipe and the folder of its run: where stages find each other's files."""

from dataclasses import dataclass
from pathlib import Path

from experiments.inputs import is_shards
from experiments.recipe import Recipe
from experiments.stages import Stage

LABELLED, POOL = "shards/labelled", "shards/pool"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One recipe below one run folder."""

    recipe: Recipe
    root: Path

    def path(self, stage: Stage, *parts: str) -> Path:
        """A file of a stage."""
        return stage.folder(self.root).absolute().joinpath(*parts)

    def data(self, shards: Stage) -> Path:
        """The shards that a stage gave: below its folder, or those that `abaw prepare` wrote before."""
        given = self.recipe.delivery.root if shards.name == LABELLED else self.recipe.delivery.pool
        return given.absolute() if given is not None and is_shards(given) else self.path(shards, "data")

    def names(self, stages: tuple[Stage, ...]) -> tuple[str, ...]:
        """The folders of stages, for results to say what they were made from."""
        return tuple(stage.folder(self.root).name for stage in stages)
