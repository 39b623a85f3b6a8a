"""Names and first lines of the recipes, read from their source: importing them would load torch and take seconds."""

import ast
from pathlib import Path


def describe_recipes() -> dict[str, str]:
    """The first line of the docstring of every recipe of this package."""
    paths = sorted(Path(__file__).parent.glob("*.py"))
    return {name: text for path in paths for name, text in recipes_of(str(path)).items()}


def recipes_of(path: str) -> dict[str, str]:
    """The recipes of a module: its public functions without arguments, `-> Recipe`, and their first lines."""
    return {
        function.name: (ast.get_docstring(function) or "").partition("\n")[0]
        for function in ast.parse(Path(path).read_text()).body
        if isinstance(function, ast.FunctionDef) and _makes_a_recipe(function)
    }


def _makes_a_recipe(function: ast.FunctionDef) -> bool:
    returned, arguments = function.returns, function.args
    taken = [*arguments.args, *arguments.kwonlyargs]
    return isinstance(returned, ast.Name) and returned.id == "Recipe" and not taken and function.name[0] != "_"
