"""One meaning of `--address`: http:// runs a job, everything else drives from here; what is wrong with one is told."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from abaw.problems import BadInput
from experiments.changes import note_recipe
from experiments.cli import run
from experiments.demo import demo_debug
from experiments.jobs import runtime_env
from experiments.ray_session import check_answers, is_job_address

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("address", "job"),
    [
        ("http://head:8265", True),
        ("https://ray.example.org", True),
        ("head:6379", False),
        ("auto", False),
        (None, False),
    ],
)
def test_what_an_address_means(address, job):
    assert is_job_address(address) is job


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("127.0.0.1:1", "nothing answers (Connection refused)"),
        ("no-such-host.invalid:6379", "nothing answers ("),
        ("head", "is no address; expected HEAD:6379 to drive a cluster from here"),
        ("http://127.0.0.1:1", "no Ray dashboard answers; expected such as http://HEAD:8265"),
    ],
)
def test_an_address_where_no_cluster_is_is_told_at_once(tmp_path, capsys, address, told):
    assert run(["run", "demo_debug", "--runs", str(tmp_path), "--address", address]) == 1
    printed = capsys.readouterr().err
    assert f"abaw: --address {address}: " in printed
    assert told.replace("(Connection", "([Errno 111] Connection") in printed
    assert "Traceback" not in printed


def test_what_does_not_run_as_a_job_says_so():
    with pytest.raises(BadInput, match=r"http://h:8265: only `abaw run` becomes a job; give HEAD:6379 to drive"):
        check_answers("http://h:8265")


def test_a_job_needs_a_folder_that_the_cluster_sees(capsys):
    assert run(["run", "demo_debug", "--runs", "runs", "--address", "http://127.0.0.1:1"]) == 1
    assert "give a folder that all its nodes see, such as --runs /shared/runs" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(["run", "demo_debug", "--runs", str(tmp_path / "file"), "--address", "127.0.0.1:1"]) == 1
    assert "cannot be written (Not a directory); give --runs a folder that you may write to" in capsys.readouterr().err


def test_changed_fields_of_a_run_are_named(tmp_path):
    recipe = demo_debug()
    assert note_recipe(recipe, tmp_path) == []
    assert note_recipe(recipe, tmp_path) == []
    changed = replace(recipe, seed=1, finetune=replace(recipe.finetune, epochs=7))
    assert note_recipe(changed, tmp_path) == ["seed: 0 -> 1", "finetune.epochs: 1 -> 7"]


def test_a_checkout_sends_its_files_and_the_library_and_keeps_data_at_home():
    sent = runtime_env()
    assert sent["working_dir"] == str(ROOT)
    assert sent["py_modules"] == [str(ROOT / "platform" / "abaw")]
    assert "excludes" not in sent, "they would take `data` from the module too"
    assert {"/data/", "/runs/", ".venv/"} <= set((ROOT / ".gitignore").read_text().split()), "Ray leaves these out"


def test_an_installed_wheel_sends_the_three_packages(tmp_path):
    for package in ("platform/abaw", "experiments", "leaderboard"):
        shutil.copytree(ROOT / package, tmp_path / Path(package).name, ignore=shutil.ignore_patterns("__pycache__"))
    code = "import json; from experiments.jobs import runtime_env; print(json.dumps(runtime_env()))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    sent = json.loads(done.stdout)
    assert sent["py_modules"] == [str(tmp_path / name) for name in ("abaw", "experiments", "leaderboard")]
    assert "working_dir" not in sent
