"""What a recipe reads from outside: where it lies, and whether it is there before the first stage runs."""

from pathlib import Path

from abaw.data.manifest import DROPS, MANIFEST
from abaw.problems import BadInput, Problem
from experiments.recipe import Recipe


def check_recipe(recipe: Recipe) -> None:
    """Refuse before the first stage what a later one would trip over: BadInput lists every path that is not there."""
    delivery, problems = recipe.delivery, []
    if (root := delivery.root) is not None:
        needed = {"root": root, "template": template_of(recipe, root)}
        needed |= {"pool": pool_of(recipe, root)} if "mae" in recipe.starts else {}
        needed |= {"truth": delivery.truth} if delivery.truth is not None else {}
        problems = [
            Problem(path=str(path), message=f"no such file or folder; give --delivery.{name}")
            for name, path in needed.items()
            if not path.exists()
        ]
    if recipe.folds == 1 or recipe.folds < 0:
        message = f"is {recipe.folds}; expected 2 or more, or 0 for the official split"
        problems.append(Problem(path="--folds", message=message))
    if problems:
        raise BadInput(problems)


def template_of(recipe: Recipe, root: Path) -> Path:
    """The rows that a submission must have."""
    return recipe.delivery.template or root / "test_templates" / "mtl.txt"


def pool_of(recipe: Recipe, root: Path) -> Path:
    """The unlabelled images."""
    return recipe.delivery.pool or root / "pool"


def is_shards(folder: Path) -> bool:
    """Whether `abaw prepare` has written this folder."""
    return (folder / MANIFEST).is_file() and (folder / DROPS).is_file()
