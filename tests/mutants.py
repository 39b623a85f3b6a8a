"""Do the tests notice when the code is broken? Mutants of cosmic-ray, each tried against the tests of its module.

    make mutants                                    every module; writes docs/mutants.md
    python tests/mutants.py platform/abaw/folds.py  that module alone

What was found of a module is kept in .mutants.json, and found again only when the module or its tests have changed: a
run that was ended goes on where it was.

A mutant is a module with one operator, number, condition, loop, decorator or exception changed. Of each place and kind
of change one is drawn, with a fixed seed; changes of annotations are none. A mutant is killed when a test fails; also
when the tests take far longer than on the module as it is, which is counted as well. Hypothesis draws the same each
time. All happens in a copy of the tree. Each mutant is a fork of a process that has imported the libraries and nothing
of ours: one that started anew would mostly import. So nothing may compute before the fork: threads do not survive it.
"""

import argparse
import ast
import contextlib
import difflib
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE, KEPT = ROOT / "docs" / "mutants.md", ROOT / ".mutants.json"
SOURCES = ("platform", "leaderboard", "experiments", "tests")
LEADERBOARD, POSTPROCESS = "tests/leaderboard/test_", "tests/abaw/postprocess/test_"
READING = tuple(LEADERBOARD + name + ".py" for name in ("malformed", "submissions", "templates", "corpus"))
ENSEMBLES = tuple(LEADERBOARD + name + ".py" for name in ("ensemble", "making"))
HOUSE = "tests/test_house.py::test_dataclasses_are_frozen_and_keyword_only"
MODULES = {
    "platform/abaw/tracks.py": ("tests/abaw/test_tracks.py",),
    "platform/abaw/metrics.py": ("tests/abaw/test_metrics.py",),
    "platform/abaw/row_rules.py": ("tests/abaw/test_metrics.py",),
    "platform/abaw/folds.py": ("tests/abaw/test_folds.py",),
    "platform/abaw/postprocess/apply.py": (POSTPROCESS + "smoothing.py", POSTPROCESS + "decisions.py"),
    "platform/abaw/postprocess/crossfit.py": (POSTPROCESS + "crossfit.py",),
    "platform/abaw/postprocess/decisions.py": (POSTPROCESS + "decisions.py",),
    "platform/abaw/postprocess/gaps.py": (POSTPROCESS + "gaps.py",),
    "platform/abaw/postprocess/rows.py": (POSTPROCESS + "gaps.py", POSTPROCESS + "smoothing.py"),
    "platform/abaw/postprocess/smoothing.py": (POSTPROCESS + "smoothing.py", POSTPROCESS + "decisions.py"),
    "leaderboard/submissions.py": READING,
    "leaderboard/templates.py": (LEADERBOARD + "templates.py", LEADERBOARD + "corpus.py"),
    "leaderboard/truth.py": (LEADERBOARD + "truth.py", LEADERBOARD + "scoring.py"),
    "leaderboard/ensemble.py": ENSEMBLES,
    "leaderboard/blending.py": (LEADERBOARD + "blending.py", *ENSEMBLES),
    "leaderboard/greedy.py": ENSEMBLES,
    "leaderboard/moments.py": ENSEMBLES,
    "leaderboard/counts.py": ENSEMBLES,
}
"""Each module and the tests of it, those that find most first."""
GOAL = 0.85
"""Share of the mutants that should be killed."""
SLOWER = 5
"""A mutant has this many times the processor time that the tests take on the module as it is, and some seconds."""
Place = tuple[tuple[int, int], tuple[int, int]]
"""First line and column, last line and column."""


def mutants_of(source: str) -> Iterator[tuple[str, str]]:
    """The kind of change and the changed source, in the order of the places; of each place and kind one, by chance."""
    from cosmic_ray.mutating import mutate_code

    places: dict[tuple[Place, str], list[tuple[Any, int]]] = {}
    for name, operator, number, place in _changes(source):
        places.setdefault((place, name.split("_")[0]), []).append((operator, number))
    drawn, meaning = random.Random(0), _meaning(source)
    for (_, kind), choices in sorted(places.items(), key=lambda item: item[0]):
        for operator, number in drawn.sample(choices, len(choices)):
            changed = mutate_code(source, operator, number)
            if _compiles(changed) and _meaning(changed) != meaning:
                yield kind, changed
                break


def _changes(source: str) -> Iterator[tuple[str, Any, int, Place]]:
    """Each change that cosmic-ray knows: its operator, its number among the operator's changes, and its place."""
    from cosmic_ray.ast import Visitor, get_ast
    from cosmic_ray.operators.provider import OperatorProvider

    # The two that are left out take names to put in, and know none by themselves.
    provider = OperatorProvider()
    operators = {name: provider[name]() for name in provider if name not in ("VariableReplacer", "VariableInserter")}
    found: dict[str, list[Place]] = {name: [] for name in operators}

    class Collect(Visitor):  # type: ignore[misc]
        def visit(self, node: Any) -> Any:
            for name, operator in operators.items():
                found[name].extend(operator.mutation_positions(node))
            return node

    Collect().walk(get_ast(source))
    for name, places in found.items():
        yield from ((name, operators[name], number, place) for number, place in enumerate(places))


def _compiles(source: str) -> bool:
    try:
        compile(source, "mutant", "exec")
    except SyntaxError:
        return False
    return True


def _meaning(source: str) -> str:
    """The code without what says nothing about what it does: annotations, and how arguments may be given."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.arguments):
            node.args = node.posonlyargs + node.args + node.kwonlyargs
            node.defaults += [default for default in node.kw_defaults if default]
            node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
    return ast.dump(tree)


def run_tests(tree: Path, tests: Sequence[str], told: Path | None = None) -> int:
    """Exit status of pytest, until the first failure, in a process that ends with it; tells what was imported."""
    import pytest
    from hypothesis import Phase, settings

    os.chdir(tree)
    sys.path[:0] = [str(tree / "platform"), str(tree)]
    os.environ["PYTHONPATH"] = f"{tree / 'platform'}:{tree}"
    # A failure is enough: no smaller one is looked for.
    settings.register_profile("mutants", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutants")
    status = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    if told:
        ours = (str(tree), "/proc")
        files = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
        told.write_text(json.dumps([name for name, file in files.items() if not file.startswith(ours)]))
    return status


def in_a_fork(tree: Path, tests: Sequence[str], limit_s: int, told: Path | None = None) -> tuple[str, float]:
    """What became of the tests in a fork: survived, killed or timed out; and their processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        os._exit(run_tests(tree, tests, told))
    # A mutant that waits for ever takes no processor time; on a busy machine a good one may wait for long.
    until = time.monotonic() + 20 * limit_s
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < until:
        time.sleep(0.02)
    if not ended[0]:
        os.killpg(child, signal.SIGKILL)
        ended = os.waitpid(child, 0)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    verdict = "timed out" if os.WIFSIGNALED(ended[1]) else "killed" if ended[1] else "survived"
    return verdict, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def try_module(tree: Path, name: str) -> Counter[str]:
    """How many mutants of the module survived, were killed, timed out; prints each survivor's change."""
    path, source, tests = tree / name, (tree / name).read_text(), (*MODULES[name], HOUSE)
    os.environ["NUMBA_CACHE_DIR"] = str(tree / ".numba")
    sys.dont_write_bytecode = False
    told = tree / "imported.json"
    verdict, taken_s = in_a_fork(tree, tests, 600, told)
    if verdict != "survived":
        raise SystemExit(f"{name}: its tests fail as they are: pytest -x {' '.join(tests)}")
    for library in json.loads(told.read_text()):
        with contextlib.suppress(Exception):  # what cannot be imported ahead is imported by the tests
            importlib.import_module(library)
    sys.dont_write_bytecode = True
    found: Counter[str] = Counter()
    for kind, changed in mutants_of(source):
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()
        if "numba" in source:
            shutil.rmtree(tree / ".numba", ignore_errors=True)
        path.write_text(changed)
        verdict, _ = in_a_fork(tree, tests, int(SLOWER * taken_s) + 5)
        found[verdict] += 1
        if verdict == "survived":
            print(f"{name}: survived {kind}\n{_change(source, changed)}", flush=True)
    path.write_text(source)
    return found


def _change(source: str, changed: str) -> str:
    lines = difflib.unified_diff(source.splitlines(), changed.splitlines(), n=0, lineterm="")
    return "\n".join(f"    {line}" for line in list(lines)[2:])


def key_of(tree: Path, name: str) -> str:
    """What the outcome of a module hangs on: its source, its tests, and how they are tried."""
    tests = sorted({test.partition("::")[0] for test in MODULES[name]})
    texts = [(tree / path).read_bytes() for path in (name, *tests, "tests/mutants.py")]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:16]


def page_of(found: dict[str, Counter[str]]) -> str:
    """The page: what was killed, module by module."""
    from abaw.version import commit_name  # only now: the forks import `abaw` from the copy

    every = sum(found.values(), Counter())
    rows = "".join(_row(name, one) for name, one in found.items())
    killed = 1 - every["survived"] / every.total()
    verdict = "met" if killed >= GOAL else "not met"
    return f"""# Mutants

Written by `make mutants` on {date.today()} at commit {commit_name()}, with
cosmic-ray {version("cosmic-ray")}. Each mutant is a module with one thing changed, and is killed
when its tests fail or take far longer: see `tests/mutants.py`. Of each place and
kind of change one mutant is tried; modules that had not changed, nor their tests,
since an earlier run were not tried again. The goal: {GOAL:.0%} killed, {verdict} with {killed:.1%}.

| module | mutants | killed | of these timed out | share |
|---|---:|---:|---:|---:|
{rows}{_row("**all**", every)}"""


def _row(name: str, found: Counter[str]) -> str:
    killed = found.total() - found["survived"]
    module = name.removeprefix("platform/")
    return f"| {module} | {found.total()} | {killed} | {found['timed out']} | {killed / found.total():.0%} |\n"


def main() -> None:
    """Try the modules named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="modules to try; none: all, and write the page")
    asked = parser.parse_args().modules
    if unknown := set(asked) - set(MODULES):
        parser.error(f"no tests are named for {', '.join(sorted(unknown))}; choose from {', '.join(MODULES)}")
    warnings.simplefilter("error", SyntaxWarning)  # `is` beside a number or a text: nobody would write that
    os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for source in SOURCES:
            shutil.copytree(ROOT / source, tree / source, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", tree)
        found = {}
        for name in asked or MODULES:
            kept = json.loads(KEPT.read_text()) if KEPT.is_file() else {}
            key = key_of(tree, name)
            found[name] = Counter(kept[key]) if key in kept else try_module(tree, name)
            KEPT.write_text(json.dumps(kept | {key: found[name]}, indent=0))
            print(_row(name, found[name]), end="", flush=True)
    if not asked:
        PAGE.write_text(page_of(found))


if __name__ == "__main__":
    main()
