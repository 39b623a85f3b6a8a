"""Stages run once, in order, again only when their config or their inputs change."""

from dataclasses import replace

import pytest

from abaw import runs
from abaw.training.resources import Resources
from experiments.line import Line
from experiments.progress import Progress, epoch_line
from experiments.registry import RECIPES, get_recipe
from experiments.stages import Stage, run_stages


def counting(name, config, log, inputs=()):
    def action(folder):
        log.append(name)
        (folder / "out.txt").write_text(name)
        return {"value": config}

    return Stage(name=name, config=config, inputs=inputs, action=action)


def run(stages, root):
    run_stages(stages, root=root, resources=Resources(), progress=Progress())


def test_what_is_complete_does_not_run_again(tmp_path):
    log = []
    first = counting("first", 1, log)
    second = counting("second", 2, log, (first,))
    run([first, second], tmp_path)
    run([first, second], tmp_path)
    assert log == ["first", "second"]
    assert runs.read_result(second.folder(tmp_path))["inputs"] == [first.folder(tmp_path).name]


def test_a_change_runs_the_stage_and_all_that_follow_it(tmp_path):
    log = []
    first = counting("first", 1, log)
    run([first, counting("second", 2, log, (first,))], tmp_path)
    changed = counting("first", 3, log)
    run([changed, counting("second", 2, log, (changed,))], tmp_path)
    assert log == ["first", "second", "first", "second"]


def test_a_stage_that_failed_runs_again(tmp_path):
    log = []

    def broken(folder):
        log.append("broken")
        raise ValueError("no space left")

    with pytest.raises(ValueError, match="no space left"):
        run([Stage(name="first", config=1, action=broken)], tmp_path)
    run([counting("first", 1, log)], tmp_path)
    assert log == ["broken", "first"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_stages_after_their_inputs(name, tmp_path):
    recipe = get_recipe(name)
    assert recipe.name == name
    stages = Line(recipe, tmp_path).stages()
    seen = set()
    for stage in stages:
        assert {parent.key for parent in stage.inputs} <= seen
        assert (stage.action is None) != (stage.job is None)
        seen.add(stage.key)
    assert len(seen) == len(stages)


def test_every_recipe_has_a_debug_size():
    assert {name for name in RECIPES if not name.endswith("_debug")} == {
        name.removesuffix("_debug") for name in RECIPES if name.endswith("_debug")
    }


def test_the_seed_changes_trainings_and_not_the_data(tmp_path):
    def keys(recipe):
        return {stage.name: stage.key for stage in Line(recipe, tmp_path).stages()}

    demo = get_recipe("demo")
    one, other = keys(demo), keys(replace(demo, seed=1))
    changed = {name for name in one if one[name] != other[name]}
    assert not changed & {"prepare", "shards/labelled", "shards/pool"}
    assert changed >= {"folds", "pretrain", "finetune/pretrained/fold-0", "board"}


def test_a_pool_or_a_template_repeats_only_what_is_made_of_it(tmp_path):
    def keys(**given):
        recipe = get_recipe("demo")
        delivery = replace(recipe.delivery, root=tmp_path / "root", **given)
        return {stage.name: stage.key for stage in Line(replace(recipe, delivery=delivery), tmp_path).stages()}

    plain = keys()
    for given, same, other in (
        ({"pool": tmp_path / "pool"}, {"shards/labelled", "folds", "finetune/scratch/fold-0"}, {"shards/pool"}),
        ({"template": tmp_path / "list.txt"}, {"shards/pool", "pretrain"}, {"shards/labelled"}),
    ):
        changed = {name for name, key in keys(**given).items() if plain[name] != key}
        assert same <= set(plain)
        assert not changed & same
        assert changed >= other
    assert keys(pool=tmp_path / "root" / "pool") == plain, "that is where it is looked for"


def test_what_a_network_starts_from_is_told_line_by_line():
    values = {
        "job": "finetune",
        "epoch": 1,
        "epochs": 4,
        "started_from": ["encoder: a.pth: loaded 3 of 4", "missing: x"],
    }
    assert epoch_line(values) == "finetune: encoder: a.pth: loaded 3 of 4\nfinetune: missing: x"


def test_an_epoch_is_told_in_one_line():
    values = {
        "job": "pretrain", "epoch": 1, "epochs": 4, "loss": 3.0, "loss/va": 1.0, "loss/au": 2.0,
        "images_per_s": 1234.5, "data_wait": 0.031, "lr": 0.1,
    }  # fmt: skip
    assert epoch_line(values) == "pretrain: epoch 1/4  va 1.000  au 2.000  1,234 images/s  3% waiting for data"
