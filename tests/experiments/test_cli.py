"""The `abaw` command: results on stdout, mistakes on stderr with what to do, exit codes 0, 1 and 2."""

import json
import subprocess
import sys

import pytest

from experiments.cli import run
from experiments.registry import RECIPES


def test_list_describes_every_recipe(capsys):
    assert run(["list", "--json"]) == 0
    described = {name: recipe.__doc__.partition("\n")[0] for name, recipe in RECIPES.items()}
    assert json.loads(capsys.readouterr().out) == described
    assert all(described.values())


def test_help_and_list_load_nothing_heavy():
    heavy = {"torch", "ray", "timm", "polars", "pandas", "tyro", "pyarrow"}
    for command in (["--help"], ["list"]):
        probe = (
            f"import sys, contextlib; from experiments.cli import main\n"
            f"with contextlib.suppress(SystemExit): main({command})\n"
            f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
        assert done.stderr == "[]\n", command


def test_plan_shows_what_will_run_and_runs_nothing(tmp_path, capsys):
    assert run(["plan", "demo", "--runs", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows] == ["will run"] * len(rows)
    assert rows[0]["stage"] == "prepare"
    assert rows[-1]["stage"] == "board"
    assert list(tmp_path.iterdir()) == []


def test_a_nested_field_can_be_set_and_keeps_all_others(tmp_path, capsys):
    def keys(*overrides):
        assert run(["plan", "demo", "--runs", str(tmp_path), "--json", *overrides]) == 0
        return {row["stage"]: row["key"] for row in json.loads(capsys.readouterr().out)}

    plain, changed = keys(), keys("--finetune.lr", "0.5")
    assert plain["pretrain"] == changed["pretrain"]
    assert plain["finetune/pretrained/fold-0"] != changed["finetune/pretrained/fold-0"]


def test_an_unknown_recipe_lists_the_valid_ones_and_the_nearest(capsys):
    assert run(["plan", "dmo"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "unknown recipe 'dmo'. Perhaps you meant demo. Choose one of demo, demo_debug" in printed.err


def test_an_unknown_field_is_a_usage_error_that_names_it(tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(["plan", "demo", "--runs", str(tmp_path), "--finetune.learning-rate", "1"])
    assert stopped.value.code == 2
    assert "--finetune.learning-rate" in capsys.readouterr().err


def test_a_missing_run_says_what_was_expected(tmp_path, capsys):
    assert run(["show", str(tmp_path / "none")]) == 1
    assert "no such folder; expected a run such as runs/demo" in capsys.readouterr().err
    assert run(["show", str(tmp_path)]) == 1
    assert "holds no complete stage (no result.json)" in capsys.readouterr().err


def test_an_unknown_command_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        run(["trian"])
    assert stopped.value.code == 2
    assert "invalid choice: 'trian'" in capsys.readouterr().err


def test_help_of_run_names_its_own_options_with_and_without_a_recipe(capsys):
    for arguments in (["run", "--help"], ["run", "demo", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            run(arguments)
        assert stopped.value.code == 0
        printed = capsys.readouterr().out
        assert all(option in printed for option in ("--runs", "--address", "--json"))
    assert "--finetune.lr" in printed
    with pytest.raises(SystemExit) as stopped:
        run(["plan"])
    assert stopped.value.code == 2
    assert "usage: abaw plan" in capsys.readouterr().err
