"""The house itself: the source root is no package, and every module says what it is."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = [path for top in ("platform", "experiments", "leaderboard") for path in sorted((ROOT / top).rglob("*.py"))]


def test_platform_is_a_source_root_and_never_a_package():
    assert not (ROOT / "platform" / "__init__.py").exists(), "it would shadow the standard library's `platform`"


def test_standard_platform_module_wins_from_the_repository_root():
    code = "import platform, uuid; print(platform.python_version())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sys.version.split()[0]


def test_every_module_has_a_docstring():
    assert SOURCES
    assert [str(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_init_files_hold_a_docstring_and_nothing_else():
    inits = [path for path in SOURCES if path.name == "__init__.py"]
    assert [str(path) for path in inits if len(ast.parse(path.read_text()).body) != 1] == []


def test_the_three_packages_are_typed():
    for folder in ("platform/abaw", "experiments", "leaderboard"):
        assert (ROOT / folder / "py.typed").is_file()


def test_files_and_functions_are_short():
    long = [f"{path}: {lines} lines" for path in SOURCES if (lines := len(path.read_text().splitlines())) > 350]
    for path in SOURCES:
        functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
        long += [f"{path}: {one.name}, over 60 lines" for one in functions if one.end_lineno - one.lineno >= 60]
    assert long == []


def test_dataclasses_are_frozen_and_keyword_only():
    few_fields = {"Choice", "_LocalModel", "Fitter"}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and "Exception" not in [ast.unparse(base) for base in node.bases]:
                calls = [ast.unparse(one) for one in node.decorator_list if "dataclass" in ast.unparse(one)]
                expected = "dataclass(frozen=True" if node.name in few_fields else "dataclass(frozen=True, kw_only=True"
                assert all(call.startswith(expected) for call in calls), f"{path}: {node.name}"
