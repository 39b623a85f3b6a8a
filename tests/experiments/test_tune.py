"""`abaw tune`: a search for real at a tiny size, what is refused, and what a search starts from."""

import json

import numpy as np
import optuna
import pytest

from abaw.predictions import read_predictions
from abaw.runs import read_result, write_json
from abaw.search.space import Choice, opposite_points
from abaw.systems.cotex import masked_batch_size
from experiments import mae_face
from experiments.cli import run
from experiments.registry import MODULES, get_recipe, searches_of
from experiments.search import Search
from experiments.tune_command import _lines
from experiments.tune_trial import scores_so_far
from experiments.variants import with_fields

NAME = "mae_face_mtl_debug"
TINY = ["--starts", "scratch", "--faces.videos", "6", "--faces.frames", "16", "--faces.test-videos", "2"]
KINDS = ("good", "memory", "broken")


def search_of_kinds():
    """Points of which one trains, one asks for more frames than there are, and one needs more memory than there is."""

    def fields(recipe, point):
        if point["kind"] == "memory":
            np.zeros(10**15)
        return {"finetune.batch_size": 10**6 if point["kind"] == "broken" else 8}

    return Search(name="kinds", recipe="mae_face_mtl", title="Kinds", space={"kind": Choice(KINDS)}, fields=fields)


def tune(runs, *options):
    return run(["tune", NAME, "--search", "kinds", "--runs", str(runs), *options, *TINY])


@pytest.mark.slow
def test_a_search_keeps_every_trial_and_says_what_became_of_it(local_ray, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(mae_face, "SEARCHES", (search_of_kinds(),))
    folder = tmp_path / NAME / "tune" / "kinds"
    folder.mkdir(parents=True)
    url = f"sqlite:///{folder / 'study.db'}"
    for kind in KINDS:
        study = optuna.create_study(study_name=f"{NAME}/kinds", storage=url, direction="maximize", load_if_exists=True)
        study.enqueue_trial({"kind": kind})

    assert tune(tmp_path, "--resume", "--trials", "3", "--json") == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["trials"] == {"complete": 1, "pruned": 1, "fail": 1}
    assert result["best"] == {"trial": "trial-000", "point": {"kind": "good"}}
    assert result["budget_reached"] == "3 trials"
    said = " ".join(printed.err.split())
    assert "trial-002: fail: ValueError" in said
    assert "trial-001: pruned: MemoryError: Unable to allocate" in said
    assert "budget reached: 3 trials" in said
    assert "1 complete, 1 pruned, 1 failed; page:" in said

    trial = folder / "trial-000"
    assert read_result(trial)["metrics"]["P_MTL"] == result["metrics"]["P_MTL"]
    (predicted,) = trial.glob("predict-scratch-*/out_of_fold.parquet")
    assert set(read_predictions(predicted, get_recipe(NAME).track)["fold"].to_pylist()) == {0, 1}
    assert all(path.is_symlink() for kind in ("prepare", "shards", "folds") for path in trial.glob(f"{kind}-*"))
    assert "do not fill one batch" in (folder / "trial-002" / "error.txt").read_text()
    assert run(["status", "--runs", str(tmp_path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["trials"] == {"kinds": {"complete": 1, "pruned": 1, "failed": 1}}
    page = (folder / "index.html").read_text()
    assert "1 complete, 1 pruned, 1 failed" in page
    assert 'href="trial-000/"' in page
    assert not (folder / ".ray").exists()

    assert tune(tmp_path, "--trials", "3") == 1
    assert "holds 3 trials; give --resume to go on, or --overwrite to begin anew" in capsys.readouterr().err
    assert tune(tmp_path, "--trials", "3", "--resume", "--finetune.lr", "0.5") == 1
    assert "is of other fields or another space; give --overwrite" in capsys.readouterr().err


@pytest.mark.slow
def test_smoothing_is_searched_on_predictions_that_are_there(local_ray, tmp_path, capsys):
    command = ["tune", NAME, "--search", "smoothing", "--runs", str(tmp_path), *TINY, "--resources.workers", "1"]
    assert run([*command, "--trials", "8", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    folder = tmp_path / NAME / "tune" / "smoothing"
    assert list(result["tasks"]) == ["va", "expr", "au"]
    for found in result["tasks"].values():
        assert found["in_sample"] >= found["untuned"]
    assert len(result["tasks"]["au"]["thresholds"]) == 12
    assert len(result["tasks"]["expr"]["bias"]) == 8
    assert result["tasks"]["va"]["bias"] == []
    left = {path.name for path in folder.iterdir()}
    tables = {"out_of_fold.parquet", "cross_fitted.parquet", "test.parquet"}
    assert left == tables | {"smoothing.json", "study.db", "index.html", "result.json"}
    page = (folder / "index.html").read_text()
    assert [page.count(f"<h2>{task}</h2>") for task in result["tasks"]] == [1, 1, 1]
    assert page.count("8 complete, 0 pruned, 0 failed") == 3
    assert run([*command, "--trials", "8"]) == 1
    assert "holds 8 trials; give --resume" in capsys.readouterr().err
    assert run([*command, "--trials", "9", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"]["va"]["in_sample"] >= result["tasks"]["va"]["in_sample"]
    assert all(len(one["trials"]) == 9 for one in json.loads((folder / "smoothing.json").read_text()).values())


def test_mistakes_are_named_before_anything_runs(tmp_path, capsys):
    command = ["tune", NAME, "--runs", str(tmp_path)]
    assert run(command) == 1
    shown = capsys.readouterr().err
    assert "give --search" in shown
    assert "finetune: Learning rate x layer decay x drop path" in shown
    assert "smoothing: " in shown
    assert run([*command, "--search", "fine"]) == 1
    assert "has no search 'fine'. Perhaps you meant finetune. Choose one of" in capsys.readouterr().err
    wrong = ["--trials", "0", "--hours", "-1", "--workers", "0", "--resume", "--overwrite"]
    assert run([*command, "--search", "finetune", *wrong]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[1].strip() for line in lines] == ["--trials", "--hours", "--resume", "--workers"]
    assert run([*command, "--search", "smoothing", "--device-hours", "1"]) == 1
    assert "trains nothing; give --trials or --hours" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_trials_of_a_study_that_is_elsewhere_are_not_mixed_with_new_ones(tmp_path, capsys):
    trial = tmp_path / NAME / "tune" / "finetune" / "trial-000"
    trial.mkdir(parents=True)
    assert run(["tune", NAME, "--search", "finetune", "--runs", str(tmp_path)]) == 1
    assert f"abaw: {trial}: is of another study; give --overwrite" in capsys.readouterr().err
    assert trial.is_dir()


def test_what_was_found_is_printed_whatever_its_values_are():
    point = {"system.pool": "mean", "finetune.lr": 0.00123456, "passes": 2, "system.shared": None}
    result = {"metrics": {"P_MTL": 1.25}, "best": {"trial": "trial-001", "point": point}}
    assert _lines(result) == [
        "best P_MTL 1.2500, trial-001",
        "  system.pool = mean",
        "  finetune.lr = 0.001235",
        "  passes = 2",
        "  system.shared = None",
    ]


def test_every_declared_search_fits_its_recipe_at_both_sizes():
    declared = [one for module in MODULES for one in getattr(module, "SEARCHES", ())]
    assert {(one.recipe, one.name) for one in declared} >= {
        ("cotex_lsd", "mask-batch"), ("mae_face_mtl", "mask-batch"), ("mae_face_mtl", "finetune"),
    }  # fmt: skip
    for search in declared:
        for name in (search.recipe, f"{search.recipe}_debug"):
            recipe, (space, first) = get_recipe(name), search.sized(name)
            assert searches_of(name)[search.name] is search
            for point in (*opposite_points(space), {**opposite_points(space)[0], **first}):
                assert with_fields(recipe, search.fields(recipe, point)) != recipe or point == first
        full, (_, first) = get_recipe(search.recipe), search.sized(search.recipe)
        assert with_fields(full, search.fields(full, first)) == full, "the first trial is the recipe as it stands"


def test_the_batch_grows_with_what_is_hidden():
    recipe = get_recipe("cotex_lsd")
    search = searches_of("cotex_lsd")["mask-batch"]
    for ratio, base in ((0.0, 64), (0.5, 256), (0.95, 1024)):
        changed = with_fields(recipe, search.fields(recipe, {"system.mask_ratio": ratio, "base_batch": base}))
        assert changed.finetune.batch_size == masked_batch_size(base, mask_ratio=ratio, most=16384)
        pieces = recipe.finetune.batch_size // recipe.finetune.micro_batch
        assert changed.finetune.batch_size == pieces * changed.finetune.micro_batch
        assert changed.system.mask_ratio == ratio


def test_scores_so_far_are_the_mean_over_the_folds_that_have_begun(tmp_path):
    folds = [tmp_path / "fold-0", tmp_path / "fold-1"]
    assert scores_so_far(folds, "S") == []
    folds[0].mkdir()
    lines = [{"epoch": 1, "loss": 2.0}, {"epoch": 1, "S": 0.2}, {"epoch": 2, "S": 0.4}]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folds[0] / "metrics.jsonl").write_text(text + '{"epoch": 3, "S"')
    assert scores_so_far(folds, "S") == [0.2, 0.4]
    write_json(folds[0] / "result.json", {"metrics": {"S": 0.6}})
    folds[1].mkdir()
    (folds[1] / "metrics.jsonl").write_text('{"epoch": 1, "S": 0.0}\n')
    assert scores_so_far(folds, "S") == pytest.approx([0.2, 0.4, 0.6, 0.3])
