"""The whole line at its smallest: from nothing to a board, again without running, and from a delivery of one's own."""

import json
import shutil

import pytest

from abaw.runs import read_result
from experiments.cli import run

ENTRIES = {
    "constant predictor",
    "from scratch",
    "from scratch, smoothed",
    "from MAE",
    "from MAE, smoothed",
    "ensemble of all smoothed",
}


@pytest.fixture(scope="module")
def runs(local_ray, tmp_path_factory):
    """The runs folder of a finished demo_debug."""
    folder = tmp_path_factory.mktemp("line") / "runs"
    assert run(["run", "demo_debug", "--runs", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_the_line_ends_in_a_board_of_valid_entries_and_a_second_run_runs_nothing(runs, capsys):
    results = {path: path.stat().st_mtime_ns for path in runs.rglob("result.json")}
    assert run(["run", "demo_debug", "--runs", str(runs), "--json"]) == 0
    printed = capsys.readouterr()
    entries = {entry["name"]: entry for entry in json.loads(printed.out)["entries"]}
    assert set(entries) == ENTRIES
    assert {entry["status"] for entry in entries.values()} == {"valid"}
    assert entries["constant predictor"]["baseline"]
    assert "all 15 stages are complete; nothing runs" in printed.err
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("result.json")} == results


@pytest.mark.slow
def test_a_run_that_was_moved_shows_its_board(runs, tmp_path, capsys):
    shutil.copytree(runs / "demo_debug", tmp_path / "demo_debug")
    assert run(["run", "demo_debug", "--runs", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "ensemble" in printed
    assert f"{tmp_path.name}/demo_debug/board-" in printed


@pytest.mark.slow
def test_stages_say_what_they_scored(runs):
    for stage in ("finetune-pretrained-fold-0", "predict-pretrained", "search-pretrained"):
        (folder,) = (runs / "demo_debug").glob(f"{stage}-*")
        result = read_result(folder)
        assert (result["score_name"], result["higher_is_better"]) == ("P_MTL", True)
        assert result["interval"]["low"] <= result["score"] <= result["interval"]["high"]
        assert set(result["per_class"]) == {"va", "expr", "au"}


@pytest.mark.slow
def test_what_smoothing_is_worth_to_the_ensemble_is_told_three_ways(runs):
    (folder,) = (runs / "demo_debug").glob("ensemble-*")
    tuning = read_result(folder)["tuning"]
    assert set(tuning) == {"untuned", "in_sample", "cross_fitted"}
    (board,) = (runs / "demo_debug").glob("board-*")
    entries = {entry["name"]: entry for entry in read_result(board)["entries"]}
    assert entries["ensemble of all smoothed"]["tuning"] == {"mtl": tuning}


@pytest.mark.slow
def test_a_delivery_of_ones_own_runs_on_the_official_split(runs, tmp_path, capsys):
    (faces,) = (runs / "demo_debug").glob("prepare-*/faces")
    delivery = tmp_path / "delivery"
    hidden = {"test_templates", "held_out_truth", "pool"}
    shutil.copytree(faces, delivery, ignore=lambda folder, names: hidden & set(names))
    own = {
        "root": delivery,
        "pool": faces / "pool",
        "template": faces / "test_templates" / "mtl.txt",
        "truth": faces / "held_out_truth" / "mtl.txt",
    }
    options = [text for name, path in own.items() for text in (f"--delivery.{name}", str(path))]
    assert run(["run", "mae_face_mtl_debug", "--runs", str(tmp_path), "--folds", "0", "--json", *options]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert {entry["name"] for entry in entries} == {"constant predictor", "from MAE", "from MAE, smoothed"}
    assert all(entry["status"] == "valid" and entry["score"] is not None for entry in entries)


@pytest.mark.slow
def test_prepared_shards_are_trained_on_as_they_are(runs, tmp_path, capsys):
    (faces,) = (runs / "demo_debug").glob("prepare-*/faces")
    (labelled,) = (runs / "demo_debug").glob("shards-labelled-*/data")
    template = faces / "test_templates" / "mtl.txt"
    given = ["--delivery.root", str(labelled), "--delivery.template", str(template), "--starts", "scratch"]
    assert run(["run", "demo_debug", "--runs", str(tmp_path), "--json", *given]) == 0
    entries = json.loads(capsys.readouterr().out)["entries"]
    assert {entry["status"] for entry in entries} == {"valid"}
    assert not list(tmp_path.rglob("slot=*")), "nothing is sharded again"


def test_paths_that_are_not_there_are_refused_before_the_first_stage(tmp_path, capsys):
    root = tmp_path / "delivery"
    root.mkdir()
    assert run(["run", "mae_face_mtl", "--runs", str(tmp_path), "--delivery.root", str(root), "--folds", "1"]) == 1
    lines = capsys.readouterr().err
    assert f"{root / 'test_templates' / 'mtl.txt'}: no such file or folder; give --delivery.template" in lines
    assert "faces: no such file or folder; give --delivery.pool" in lines
    assert "--folds: is 1; expected 2 or more, or 0 for the official split" in lines
    assert not (tmp_path / "mae_face_mtl").exists()
