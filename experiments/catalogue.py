"""Names and first lines of the recipes, read from their source: importing them would load torch and take seconds."""

import ast
from pathlib import Path


def describe_recipes() -> dict[str, str]:
    """The first line of the docstring of every recipe: a function of this package without arguments, `-> Recipe`."""
    return {
        function.name: (ast.get_docstring(function) or "").partition("\n")[0]
        for path in sorted(Path(__file__).parent.glob("*.py"))
        for function in ast.parse(path.read_text()).body
        if isinstance(function, ast.FunctionDef) and _makes_a_recipe(function)
    }


def _makes_a_recipe(function: ast.FunctionDef) -> bool:
    returned = function.returns
    return isinstance(returned, ast.Name) and returned.id == "Recipe" and not function.args.args
