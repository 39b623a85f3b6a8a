"""Every row of every paper's table is a recipe with a name, at the paper's size and at a small one."""

import itertools
from collections import Counter
from pathlib import Path

import pytest

from abaw.problems import BadInput
from abaw.systems.emma import Emma
from abaw.systems.multitask import MultiTask
from abaw.training.optimisation import accumulation
from abaw.training.starts import match
from experiments.cli import run
from experiments.inputs import check_names, check_networks, check_recipe
from experiments.line import Line
from experiments.recipe import PRETRAINED, START, Recipe
from experiments.registry import RECIPES, TABLES, get_recipe, variants
from experiments.table import small_variant, variant_of
from experiments.variants import with_fields

ROWS = [(table, row) for table in TABLES.values() for row in table.rows if not row.members]
IDS = [f"{table.name}-{row.name}" for table, row in ROWS]


def test_names_of_rows_are_unique_and_their_recipes_exist():
    counts = Counter((table.recipe, row.name) for table in TABLES.values() for row in table.rows)
    assert max(counts.values()) == 1
    assert {table.recipe for table in TABLES.values()} <= set(RECIPES)


@pytest.mark.parametrize(("table", "row"), ROWS, ids=IDS)
def test_a_row_has_stages_at_both_sizes(table, row, tmp_path):
    full = variant_of(table, row)
    assert full == with_fields(RECIPES[table.recipe](), {**row.change, "name": f"{table.recipe}-{row.name}"})
    assert not check_names(full)
    assert Line(full, tmp_path).stages()
    if row.small is not None:
        tiny = small_variant(table, row, seed=1)
        trainings = [stage for stage in Line(tiny, tmp_path).trainings() if stage.job is not None]
        assert trainings[-1].name.startswith(("finetune/", "temporal/"))
        assert tiny.delivery.root is None


TINY = [f"{table.recipe}_debug-{row.name}" for table, row in ROWS if row.small is not None]


@pytest.mark.parametrize("name", TINY)
def test_a_row_at_the_size_for_tests_is_tiny_and_starts_from_its_pre_training(name):
    recipe = get_recipe(name)
    assert recipe.name == name
    parts = [(recipe.system.build(), recipe.init), *((one.system.build(), one.init) for one in recipe.passes)]
    sizes = [sum(value.numel() for value in system.parameters()) for system, _ in parts]
    assert max(sizes) < 25e6, "DAN has 20 million"
    if recipe.finetune.keep:
        assert recipe.finetune.evaluate_every
    if PRETRAINED in recipe.starts:
        found = recipe.pretraining.build().state_dict()
        trunks = [system.trunks()["encoder"] for system, init in parts if init.get("encoder") == START]
        assert trunks
        for trunk in itertools.chain(*trunks):
            assert match(trunk.state_dict(), found, source="pretraining")[1].share >= 0.9


def test_rows_of_one_table_differ(tmp_path):
    for table in TABLES.values():
        keys = [
            (
                row.smoothing,
                row.epochs,
                *(stage.key for stage in Line(small_variant(table, row, seed=0), tmp_path).trainings()),
            )
            for row in table.rows
            if row.small is not None and not row.members
        ]
        assert len(set(keys)) == len(keys), table.name


def test_a_row_at_the_size_for_tests_has_the_rows_system():
    assert get_recipe("emma_mtl_debug-vit_celeba").system.va_from == "encoder"
    assert get_recipe("emma_mtl_debug").system.va_from == "vit+dan"


def test_emma_steps_as_its_paper_says():
    """Table 3: batches of 100, four of them accumulated, and a base learning rate, that of 256 images."""
    finetune = get_recipe("emma_mtl").finetune
    assert finetune.batch_size // accumulation(finetune, world=1) == 100
    assert finetune.batch_size == 4 * 100
    assert finetune.lr == pytest.approx(5e-4 * 400 / 256)
    assert get_recipe("emma_mtl-slower").finetune.lr == pytest.approx(finetune.lr / 2)


def test_an_unknown_row_names_the_nearest(capsys):
    assert run(["plan", "emma_mtl-vit_celebb"]) == 1
    assert "Perhaps you meant emma_mtl-vit_celeba" in capsys.readouterr().err
    assert run(["table", "srpp"]) == 1
    assert "unknown table 'srpp'; choose one of" in capsys.readouterr().err
    assert run(["list", "--rows", "--json"]) == 0
    assert '"emma_mtl-vit_celeba": "ViT (CelebA' in capsys.readouterr().out
    assert "emma_mtl-parameters" not in variants()


def test_fields_are_replaced_by_dotted_names():
    recipe = with_fields(get_recipe("mae_face_expr"), {"passes.1.system.pool": "token", "seed": 3})
    assert isinstance(recipe, Recipe)
    system = recipe.passes[1].system
    assert isinstance(system, MultiTask)
    assert (system.pool, recipe.passes[0].system, recipe.seed) == (
        "token",
        get_recipe("mae_face_expr").passes[0].system,
        3,
    )
    with pytest.raises(ValueError, match=r"system\.va: Emma has no field 'va'; it has track"):
        with_fields(Recipe(name="x", system=Emma()), {"system.va": 1})
    with pytest.raises(ValueError, match=r"passes\.2\.name: tuple has no field '2'"):
        with_fields(recipe, {"passes.2.name": "x"})


def test_wrong_names_of_passes_are_all_told():
    recipe = get_recipe("mae_face_expr")
    wrong = with_fields(recipe, {"passes.0.name": "finetune", "teacher": "second"})
    assert check_names(wrong) == [
        "passes: the name 'finetune'; expected a new lower-case word, not finetune or start",
        "teacher: no pass is called 'second'; there are finetune, first",
    ]
    other = with_fields(recipe, {"teacher": "affectnet"})
    assert check_names(other) == ["teacher: affectnet learns affectnet8, not expr"]


def test_a_teacher_that_nobody_hears_and_one_that_is_missing_are_told():
    recipe = get_recipe("mae_face_expr")
    assert check_names(with_fields(recipe, {"teacher": ""})) == [
        "teacher: the system learns from the predictions of a pass; name one, or set its teacher to live"
    ]
    assert check_names(with_fields(recipe, {"system": MultiTask(track="expr")})) == [
        "teacher: the system takes no predictions of first; leave it empty"
    ]
    early = with_fields(recipe, {"passes.0.init": {"encoder": "first"}, "passes.1.system": recipe.system})
    assert check_names(early) == [
        "passes affectnet: starts from first; expected a pass that stands before it",
        "passes first: only the last fine-tuning has a cached teacher; set its own to live",
    ]


def test_a_pass_that_nothing_uses_does_not_run(tmp_path):
    recipe = with_fields(get_recipe("emma_mtl"), {"init": {"encoder": "start", "dan": "weights/affecnet8.pth"}})
    names = [stage.name for stage in Line(recipe, Path(tmp_path)).stages()]
    assert not any(name.startswith("dan/") for name in names)
    with pytest.raises(BadInput) as refused:
        check_recipe(recipe)
    assert "no shards" not in str(refused.value)
    with pytest.raises(BadInput, match="no shards; `abaw prepare` writes those of the pass dan"):
        check_recipe(get_recipe("emma_mtl"))
    # `first`, which nothing uses any more, starts from `affectnet`.
    one_pass = with_fields(get_recipe("mae_face_expr-one_pass"), {"init": {"encoder": START}})
    assert [one.name for one in one_pass.passes] == ["affectnet", "first"]
    assert one_pass.used_passes == ()


def test_where_networks_start_is_checked_before_anything_runs():
    recipe = get_recipe("emma_mtl_debug")
    assert not check_networks(recipe)
    wrong = with_fields(recipe, {"init": {"encoder": "weights/vit.pth", "den": "dan"}})
    assert check_networks(wrong) == [
        ("--init", "no network is called 'den'; there are encoder, dan"),
        ("--init", "dan is frozen and would stay random; give it trained weights"),
        ("--init", "encoder: no such file weights/vit.pth"),
    ]
    frozen = with_fields(get_recipe("dual_view_expr-frozen"), {"starts": ("scratch", "timm:vit_base_patch16_224.mae")})
    assert check_networks(frozen) == [("--init", "encoder is frozen and would stay random; give it trained weights")]
