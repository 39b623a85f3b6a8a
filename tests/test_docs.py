"""README and docs are true: commands are read by the parsers that they are meant for, files and links are there.

Here they are parsed; the commands of `abaw` are run, small, by `experiments/test_docs_runs.py`, which also says what
runs those of `python` and `ray`, the commands of `leaderboard` by `leaderboard/test_docs_commands.py`. The examples of
docs/metrics.md and the commands that only tell something are run here, the code of docs/adding.md by `test_adding.py`.
"""

import argparse
import ast
import doctest
import re
import runpy
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import tyro

from experiments import cli as abaw
from experiments.data_commands import COMMANDS as DATA_COMMANDS
from experiments.prepare import SOURCES
from experiments.registry import get_table
from leaderboard import cli as leaderboard

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("sh", "console")
OTHERS = {"cd", "curl", "export", "source"}
"""Programs that are not ours, whose use in a block is not checked further."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def fenced(page):
    """The fenced blocks of a page: language, text."""
    return re.findall(r"^ *```(\w*)\n(.*?)^ *```", page.read_text(), re.M | re.S)


def commands(page):
    """Every command of the page's shell blocks as words, comments and continuations resolved."""
    for language, text in fenced(page):
        if language in SHELL:
            for line in text.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield words


def spans(page):
    """The code within sentences."""
    prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


ALL = [(page, words) for page in PAGES for words in commands(page)]
SPANS = [(page, span) for page in PAGES for span in spans(page)]


def named(page, words):
    return f"{page.name}: {' '.join(words)}"


def of(*programs):
    """The commands that start with one of these words, with names for pytest."""
    return [pytest.param(words, id=named(page, words)) for page, words in ALL if words[0] in programs]


def parse_abaw(words):
    """Read as `abaw` reads it, up to where it would run."""
    arguments, rest = abaw._parser().parse_known_args(words)
    if arguments.command in ("plan", "run", "tune"):
        abaw._stages(arguments, rest)
    elif arguments.command == "prepare" and rest == ["--help"]:
        pass  # asks which sources there are
    elif arguments.command == "prepare":
        tyro.cli(SOURCES[arguments.source], args=rest)
    elif arguments.command == "data":
        tyro.extras.subcommand_cli_from_dict(dict(DATA_COMMANDS), args=rest)
    elif arguments.command == "export":
        assert len([word for word in rest if not word.startswith("--")]) == 2
        assert {word for word in rest if word.startswith("--")} <= {"--overwrite"}
    else:
        assert rest == []
        if arguments.command == "table":
            get_table(arguments.table)


@pytest.mark.parametrize("words", of("abaw"))
def test_abaw_takes_its_commands(words):
    parse_abaw(words[1:])


@pytest.mark.parametrize("command", ["list", "list --rows", "plan demo", "prepare --help"])
def test_commands_that_tell_something_run(command, tmp_path, monkeypatch, capsys):
    words = ["abaw", *command.split()]
    assert words in [one for _, one in ALL]
    monkeypatch.chdir(tmp_path)
    assert exit_code(words[1:]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 10
    assert list(tmp_path.iterdir()) == []


def exit_code(words):
    """Of `abaw`, which ends by itself after some words such as --help."""
    try:
        return abaw.main(words)
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize("words", of("leaderboard"))
def test_leaderboard_takes_its_commands(words):
    assert leaderboard._parser().parse_args(words[1:]).command == words[1]


def targets():
    return re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)[1].split()


def test_make_lists_every_target():
    listed = subprocess.run(["make", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in listed.splitlines() if not line.startswith("make")]
    assert [line.split()[0] for line in lines] == targets()
    assert max(map(len, lines)) <= 80


def options_of(script):
    """The options that a script adds to its parsers."""
    return {
        argument.value
        for node in ast.walk(ast.parse(script.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".add_argument")
        for argument in node.args
        if isinstance(argument, ast.Constant) and str(argument.value).startswith("--")
    }


def check_other(words):
    """`make TARGET`, `python FILE --option`, `python -m MODULE`, `pytest -m MARKER`, `pip install EXTRA`."""
    program, *rest = words
    if program == "make":
        assert set(rest) <= set(targets())
    elif program == "pytest":
        known = {one.split(":")[0] for one in PROJECT["tool"]["pytest"]["ini_options"]["markers"]}
        assert rest[0] == "-m"
        assert set(rest[1].replace(" and ", " ").replace(" not ", " ").split()) <= known
    elif program == "pip":
        assert rest[0] == "install"
        extras = [one for word in rest for one in re.findall(r"^abaw-platform\[(.*)\]$", word)]
        assert {one for extra in extras for one in extra.split(",")} <= set(PROJECT["project"]["optional-dependencies"])
    elif program == "python" and rest[0] == "-m":
        assert rest[1] == "experiments"
        parse_abaw(rest[2:])
    elif program == "python":
        script = ROOT / rest[0]
        assert script.is_file()
        assert {word for word in rest if word.startswith("--")} <= options_of(script)
    else:
        assert program in OTHERS, f"no check of {program}"


@pytest.mark.parametrize(
    "words", [one for one in of(*{words[0] for _, words in ALL}) if one.values[0][0] not in ("abaw", "leaderboard")]
)
def test_the_other_commands_are_there(words):
    check_other(words)


def test_commands_within_sentences_name_what_is_there():
    abaw_commands = set(subcommands(abaw._parser()))
    board_commands = set(subcommands(leaderboard._parser()))
    checked = 0
    for page, span in SPANS:
        program, *rest = span.split()
        rest = [word for word in rest if not word.startswith("-")]
        where = f"{page.name}: {span}"
        if program == "abaw" and rest:
            assert rest[0] in abaw_commands, where
        elif program == "leaderboard" and rest:
            assert rest[0] in board_commands, where
        elif program in ("make", "python", "pytest") and rest:
            check_other([word for word in shlex.split(span) if word not in ("RECIPE", "...")])
        else:
            continue
        checked += 1
    assert checked > 40


def subcommands(parser):
    (action,) = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return action.choices


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_are_there(page):
    text = page.read_text()
    headings = {}
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", text):
        path = (page.parent / target) if target else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor:
            titles = headings.setdefault(path, re.findall(r"^#+ (.*)$", path.read_text(), re.M))
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, (
                f"{page.name} links to {target}#{anchor}"
            )
    tops = ("platform/", "experiments/", "leaderboard/", "tests/", "benchmarks/", "docs/")
    for span in spans(page):
        if span.startswith(tops) and re.fullmatch(r"[\w/.\-]+", span):
            assert (ROOT / span).exists(), f"{page.name} names {span}"
        if re.fullmatch(r"abaw/[\w/.\-]+", span):
            assert (ROOT / "platform" / span).exists(), f"{page.name} names {span}"


def test_blocks_without_a_language_hold_no_command():
    """A block that nothing checks cannot hide a command."""
    found = [
        f"{page.name}: {line}"
        for page in PAGES
        for language, text in fenced(page)
        if language not in SHELL
        for line in text.splitlines()
        if re.match(r"\s*(abaw|leaderboard|make|python|pytest|pip) ", line)
    ]
    assert found == []


def test_the_file_tree_of_the_readme_is_true():
    (tree,) = [text for _, text in fenced(ROOT / "README.md") if text.startswith("platform/abaw/")]
    rows = [line.split(maxsplit=1)[0] for line in tree.splitlines() if re.match(r"( {2})?\S", line)]
    missing, folder = [], ROOT
    for line in tree.splitlines():
        if not (found := re.match(r"( {2})?(\S+)", line)):
            continue
        inside, name = found[1], found[2]
        path = (folder if inside else ROOT) / name
        missing += [] if path.exists() else [str(path)]
        folder = folder if inside else path
    assert missing == []
    there = {path.name + "/" * path.is_dir() for path in (ROOT / "platform" / "abaw").iterdir()}
    ignored = {"__pycache__/", "__init__.py", "py.typed", "commit.txt"}
    assert {name for name in there if name not in ignored} <= set(rows)


def test_the_examples_of_the_metrics_page_print_what_they_say():
    page = ROOT / "docs" / "metrics.md"
    text = "\n".join(block for language, block in fenced(page) if language == "python")
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    told = []
    found = doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert found.attempted > 40
    assert found.failed == 0, "".join(told)


def test_the_pictures_of_the_systems_are_those_of_their_script():
    pictures = runpy.run_path(str(ROOT / "docs" / "system_pictures.py"))
    drawn = {f"{name}.svg": pictures["draw"](figure) for name, figure in pictures["FIGURES"].items()}
    assert {path.name: path.read_text() for path in (ROOT / "docs" / "systems").iterdir()} == drawn
    text = (ROOT / "docs" / "systems.md").read_text()
    assert sorted(re.findall(r"\(systems/([\w.]+)\)", text)) == sorted(drawn)


def test_the_list_of_the_papers_tables_is_that_of_today():
    script = runpy.run_path(str(ROOT / "docs" / "tables_index.py"))
    text = script["PAGE"].read_text()
    assert text == script["updated"](text), "run: python docs/tables_index.py"
    assert set(re.findall(r"\(tables/(\w+)\.md\)", text)) == {
        path.stem for path in (ROOT / "docs" / "tables").glob("*.md")
    }


def test_pages_of_a_person_name_no_machine():
    """No path of somebody's machine, and no placeholder that was forgotten."""
    for page in PAGES:
        for bad in ("/home/", "/tmp/", "/Users/", "TODO", "FIXME"):
            assert bad not in page.read_text(), f"{page.name} holds {bad}"


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = re.findall(r"\]\((?!https?:)([^)#\s]+\.md)", page.read_text())
        waiting += [path for path in ((page.parent / one).resolve() for one in links) if path not in reached]
    written = {page for page in PAGES if "Written by `python benchmarks/" in page.read_text()}
    assert [page.name for page in PAGES if page not in reached | written] == []
