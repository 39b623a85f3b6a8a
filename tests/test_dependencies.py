"""Each dependency earns its place: it is used where its comment says, and what is imported is declared."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROJECT = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[0]
LINES = [line for line in PROJECT.splitlines() if re.match(r'\s*(\w+ = \[)?"[\w.-]+(\[\w+\])?[<>=\w.,"]*', line)]
BROUGHT = {
    "anyio": "fastapi",
    "fsspec": "universal-pathlib",
    "h11": "uvicorn",
    "markupsafe": "jinja2",
    "pydantic": "fastapi",
    "starlette": "fastapi",
}
"""Packages that the code imports besides the declared one that needs them itself."""


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement(line):
    """The name of a requirement, and its bounds."""
    found = re.search(r'"([A-Za-z0-9_.-]+)(?:\[[\w,]+\])?([^"]*)"', line)
    return normal(found[1]), found[2]


def import_names():
    """What a distribution is imported as, by its normal name."""
    names = {}
    for module, distributions in packages_distributions().items():
        for distribution in distributions:
            names.setdefault(normal(distribution), set()).add(module)
    return names


def named_in(line):
    """The files and folders that the comment of a line names."""
    comment = line.partition("#")[2]
    words = re.findall(r"(?:abaw|experiments|leaderboard|tests|benchmarks|docs)(?:/[\w.]+)+", comment)
    return [ROOT / ("platform" if word.startswith("abaw/") else ".") / word.rstrip(".") for word in words]


def text_of(path):
    return "".join(file.read_text() for file in ([path] if path.is_file() else sorted(path.rglob("*.py"))))


def test_every_dependency_has_both_bounds_and_says_who_needs_it():
    required = PROJECT[PROJECT.index("\ndependencies = [") : PROJECT.index("\ndev = [")].splitlines()
    lines = [line for line in LINES if line in required]
    assert len(lines) > 30
    assert [line for line in lines if "# " not in line or not re.match(r">=[\d.]+,<\d+", requirement(line)[1])] == []


def test_the_files_that_a_dependency_is_for_use_it():
    known, checked, wrong = import_names(), 0, []
    for line in LINES:
        name, _ = requirement(line)
        if name == "abaw-platform":  # its own extras
            continue
        words = {name, name.removesuffix("-skinny"), *known.get(name, ())}
        for path in named_in(line):
            checked += 1
            if not path.exists() or not any(re.search(rf"\b{re.escape(word)}\b", text_of(path)) for word in words):
                wrong.append(f"{name}: {path.relative_to(ROOT)}")
    assert checked > 30
    assert wrong == []


def test_what_the_packages_import_is_declared():
    known = import_names()
    declared = {module for line in LINES for module in known.get(requirement(line)[0], ())} | set(BROUGHT)
    ours = {"abaw", "experiments", "leaderboard"}
    found = {}
    for top in ("platform/abaw", "experiments", "leaderboard"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                for module in modules:
                    found.setdefault(module.partition(".")[0], path.relative_to(ROOT))
    strangers = set(found) - declared - ours - set(sys.stdlib_module_names)
    assert {name: str(found[name]) for name in strangers} == {}
    assert set(BROUGHT) <= set(found), "remove what is no longer imported"
