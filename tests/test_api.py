"""The page of public names is that of the source, and every public function is typed and described."""

import ast
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_the_page_is_that_of_today():
    script = runpy.run_path(str(ROOT / "docs" / "api.py"))
    assert script["PAGE"].read_text() == script["page"](), "run: python docs/api.py"


def public_functions(body, where):
    """Functions and methods without an underscore in front, with their place; those inside functions are not public."""
    for node in body:
        if isinstance(node, FUNCTIONS) and not node.name.startswith("_"):
            yield f"{where}.{node.name}", node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{where}.{node.name}")


def test_every_public_function_is_typed_and_described():
    checked, wrong = 0, []
    for path in sorted((ROOT / "platform" / "abaw").rglob("*.py")):
        for name, node in public_functions(ast.parse(path.read_text()).body, path.stem):
            taken = node.args
            arguments = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, taken.vararg, taken.kwarg]
            untyped = [
                one.arg for one in arguments if one and one.annotation is None and one.arg not in ("self", "cls")
            ]
            checked += 1
            if untyped or node.returns is None or not ast.get_docstring(node):
                wrong.append(f"{name} in {path.relative_to(ROOT)}")
    assert checked > 300
    assert wrong == []
