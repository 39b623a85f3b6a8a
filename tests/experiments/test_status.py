"""`abaw status` says what is complete, what runs, what stopped and what failed, and who drives it."""

import json
import time

import pytest

from abaw import runs
from experiments.cli import run
from experiments.lock import driving
from experiments.status import print_status


@pytest.fixture
def demo(tmp_path):
    """A run with a complete stage, a failed one, one that began, and trials of a search."""
    folder = tmp_path / "demo"
    for name in ("folds-1", "finetune-a", "finetune-b", "tune/lr/trial-000", "tune/lr/trial-001", "tune/lr/trial-002"):
        runs.start(folder / name, {})
    for name in ("folds-1", "tune/lr/trial-000"):
        runs.finish(folder / name, config={}, started=time.time())
    runs.write_json(folder / "finetune-a" / "failed.json", {"job": "a", "reasons": ["a.jpg: is not a JPEG"]})
    runs.write_json(folder / "tune/lr/trial-002/ended.json", {"state": "pruned", "reasons": ["stopped by ASHA"]})
    progress = {"epoch": 2, "epochs": 8, "step": 3, "steps": 9}
    runs.write_json(folder / "finetune-b" / "progress.json", progress)
    return folder


def states(capsys, folder):
    assert run(["status", "--runs", str(folder.parent), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    return found, {stage["stage"]: stage["state"] for stage in found["stages"]}


def test_states_of_stages_and_trials_without_and_with_a_driver(demo, capsys):
    found, by_stage = states(capsys, demo)
    assert by_stage == {"finetune-a": "failed", "finetune-b": "stopped", "folds-1": "complete"}
    assert found["driver"] is None
    assert found["trials"] == {"lr": {"complete": 1, "stopped": 1, "pruned": 1}}
    with driving(demo):
        found, by_stage = states(capsys, demo)
    assert by_stage["finetune-b"] == "running"
    assert "process" in found["driver"]
    assert found["trials"] == {"lr": {"complete": 1, "running": 1, "pruned": 1}}


def test_for_a_person_it_says_where_a_training_stands_and_why_one_failed(demo, capsys):
    assert run(["status", "--runs", str(demo.parent)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("1 failed, 1 stopped", "a.jpg: is not a JPEG", "epoch 2/8 step 3/9", "lr: 1 complete"):
        assert text in printed


def test_what_waits_says_for_what(capsys):
    waiting = [{"what": "actor a", "for": {"CPU": 1.0, "GPU": 2.0}}, {"what": "actor b", "for": {}}]
    print_status({"runs": [], "waiting": waiting})
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[-2:] == ["actor a 1 CPU, 2 GPU", "actor b its process to start"]


def test_no_folder_and_no_cluster_are_told(tmp_path, capsys):
    assert run(["status", "--runs", str(tmp_path / "none")]) == 1
    assert "no such folder of runs; give --runs, or ABAW_RUNS" in capsys.readouterr().err
    assert run(["status", "--runs", str(tmp_path), "--address", "127.0.0.1:1"]) == 1
    assert "nothing answers" in capsys.readouterr().err
    assert run(["status", "--runs", str(tmp_path), "--address", "http://127.0.0.1:1"]) == 1
    assert "expected that of a Ray dashboard" in capsys.readouterr().err
