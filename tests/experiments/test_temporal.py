"""A recipe with a temporal head ends in a board with one more row, and each fold keeps its own features."""

import hashlib
import json
from dataclasses import replace

import pytest
import yaml

from abaw.data.features import FeatureSource, read_feature_manifest
from abaw.data.sampling import Sampling
from abaw.folds import Folds
from abaw.problems import BadInput
from abaw.runs import read_result
from abaw.systems.dan import DanClassifier
from experiments.cli import run
from experiments.inputs import check_recipe
from experiments.line import Line
from experiments.registry import get_recipe, get_table
from experiments.stages import in_waves
from experiments.table import small_variant

FOLDS = 2


@pytest.fixture(scope="module")
def finished(local_ray, tmp_path_factory):
    """The folder of a run from scratch, and the entries of its board by name."""
    folder = tmp_path_factory.mktemp("temporal") / "runs"
    assert run(["run", "temporal_mtl_debug", "--starts", "scratch", "--runs", str(folder), "--json"]) == 0
    (board,) = folder.glob("*/board-*")
    return folder / "temporal_mtl_debug", {entry["name"]: entry for entry in read_result(board)["entries"]}


@pytest.mark.systems
def test_the_board_has_the_head_beside_its_network(finished):
    _, entries = finished
    own = {"from scratch", "from scratch, temporal", "from scratch, temporal, smoothed"}
    assert set(entries) == {"constant predictor", *own}
    assert {entry["status"] for entry in entries.values()} == {"valid"}


@pytest.mark.systems
def test_each_fold_has_its_own_features_and_is_scored_on_videos_that_neither_network_saw(finished):
    folder, _ = finished
    (folds,) = folder.glob("folds-*/folds.json")
    for fold in range(FOLDS):
        (trained,), (features,), (head,) = (
            folder.glob(f"{stage}-scratch-fold-{fold}-*") for stage in ("finetune", "features", "temporal")
        )
        weights = (trained / "checkpoints" / "final.safetensors").read_bytes()
        manifest = read_feature_manifest(features / "data")
        assert manifest.made_of["weights_sha256"] == hashlib.sha256(weights).hexdigest()
        settings = [yaml.safe_load((stage / "config.yaml").read_text()) for stage in (trained, head)]
        held_out = set(Folds.load(folds).held_out(fold))
        assert all(not held_out & set(one["train"]["videos"]) for one in settings)
        assert settings[1]["train"]["features"] == str(features / "data")
        assert settings[1]["system"]["features"] == manifest.features
        assert len(settings[1]["system"]["expression_weight"]) == 8, "weights of the classes, as in fine-tuning"
        assert read_result(head)["videos"] == len(held_out)
        assert set(FeatureSource(features / "data").table["split"]) == {"train", "validation", "test"}


def test_features_wait_for_all_fine_tunings_and_heads_for_all_features(tmp_path):
    stages = Line(get_recipe("temporal_mtl_debug"), tmp_path).stages()
    kinds = [stage.name.split("/")[0] for stage in stages if "/fold-" in stage.name]
    assert kinds == ["finetune"] * FOLDS + ["features"] * FOLDS + ["temporal"] * FOLDS


def test_rows_of_the_table_share_their_fine_tuning(tmp_path):
    table = get_table("temporal")
    lines = [Line(small_variant(table, row, seed=0), tmp_path) for row in table.rows]
    names = [{stage.name.split("/")[0]: stage.key for stage in line.trainings()} for line in lines]
    assert len({one["finetune"] for one in names}) == len({one["features"] for one in names[1:]}) == 1
    assert names[1]["temporal"] != names[2]["temporal"]
    assert "features" not in names[0]
    shared = {stage.key: stage for line in lines for stage in line.trainings()}
    ordered = in_waves(list(shared.values()))
    place = {stage.key: k for k, stage in enumerate(ordered)}
    assert all(place[parent.key] < place[stage.key] for stage in ordered for parent in stage.inputs)


def test_what_a_head_cannot_do_is_refused_before_the_first_stage():
    recipe = get_recipe("temporal_mtl_debug")
    head = replace(recipe.temporal, track="va")
    settings = replace(recipe.temporal_optimisation, sampling=Sampling())
    with pytest.raises(BadInput) as refused:
        check_recipe(replace(recipe, temporal=head, temporal_optimisation=settings))
    assert [str(problem) for problem in refused.value.problems] == [
        "--temporal: track is va; expected mtl, that of the system",
        "--temporal: it sees windows of frames; give --temporal_optimisation.sampling.window, such as 300",
    ]
    dan = replace(recipe, system=DanClassifier(track="expr"), init={}, temporal=replace(head, track="expr"))
    with pytest.raises(BadInput, match="--temporal: DanClassifier gives no feature of a frame"):
        check_recipe(dan)
    with pytest.raises(ValueError, match="width is 30; expected an even multiple of the 4 heads"):
        check_recipe(replace(recipe, temporal=replace(recipe.temporal, width=30)))


def test_a_field_of_the_head_can_be_set(capsys, tmp_path):
    given = ["--temporal.kind", "tcn", "--temporal.depth", "5", "--runs", str(tmp_path), "--json"]
    assert run(["plan", "temporal_va_debug", *given]) == 0
    stages = json.loads(capsys.readouterr().out)
    assert any(stage["stage"].startswith("temporal/") for stage in stages)
