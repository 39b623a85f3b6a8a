"""MAE-Face (Ma et al., ABAW5): masked pre-training on millions of faces, then fine-tuning, five folds, smoothing.

Paper: "Unified facial affect analysis: the MAE-Face visual representation", sections 3 and 4. Two-pass pre-training: a
masked autoencoder, then expressions of AffectNet. Two-pass fine-tuning: labels, then labels and the first pass as
teacher.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from abaw.data.augment import Augmentation
from abaw.data.sampling import Sampling
from abaw.models.mae import MaeConfig
from abaw.models.vit import VitConfig
from abaw.postprocess.smoothing import Smoothing
from abaw.search.space import Choice, Float, Point
from abaw.systems.distillation import Distillation
from abaw.systems.mae import MaePretraining
from abaw.systems.multitask import MultiTask
from abaw.training.optimisation import Optimisation
from abaw.training.resources import Resources
from experiments.recipe import START, Delivery, Pass, Recipe
from experiments.search import Search, masked_batch
from experiments.sizes import ONE_PASS_VA, SIDE, debug
from experiments.variants import PaperTable, Row

BASE = VitConfig(size="base", image_size=224)
PRETRAIN = Optimisation(
    epochs=800, warmup_epochs=40, batch_size=4096, lr=2.4e-3, augmentation=Augmentation(crop_scale=0.5)
)
"""800 epochs of batches of 4096 at 2.4e-3 (section 4.1)."""
FINETUNE = Optimisation(
    epochs=50,
    warmup_epochs=5,
    batch_size=512,
    lr=2e-4,
    betas=(0.9, 0.999),
    augmentation=Augmentation(rand_augment=9.0),
)
"""Batch 512, 2e-4, 50 epochs, RandAugment(9, 0.5) (section 4.1). The betas, which it does not give, are those of MAE's
fine-tuning."""
CLUSTER = Resources(workers=8, gpus_per_worker=1, cpus_per_worker=6)


def mae_face_mtl() -> Recipe:
    """The paper's sizes on Aff-Wild2, all three tasks at once, one pass of each.

    Command: `abaw run mae_face_mtl --delivery.root AFFWILD2 --delivery.pool FACES --delivery.template TEMPLATE`
    Hardware: the paper used 8 NVIDIA A30; this recipe has not been run at full size by us, so it states no score.
    Paper, one network a task, 5-fold average (tables 3-5): AU .5548, EXPR .4403, VA .5914. In table 5 the columns of
    the folds are the average, valence and arousal: the mean of the second and third is the first.
    """
    return Recipe(
        name="mae_face_mtl",
        delivery=Delivery(root=Path("data/affwild2"), pool=Path("data/faces")),
        folds=5,
        starts=("pretrained",),
        pretraining=MaePretraining(mae=MaeConfig(encoder=BASE, loss="l1", mask_ratio=0.75)),
        pretrain=replace(PRETRAIN, micro_batch=256),
        system=MultiTask(encoder=replace(BASE, drop_path=0.1)),
        finetune=replace(FINETUNE, sampling=Sampling(one_of=10)),
        trials=200,
        resources=CLUSTER,
    )


def mae_face_mtl_debug() -> Recipe:
    """The same line at a size that two cores finish in two minutes, on the embedded faces; scores mean nothing."""
    return debug(mae_face_mtl())


def _two_pass(name: str, track: str, root: str) -> Recipe:
    """Both passes of pre-training and of fine-tuning for one track."""
    student = MultiTask(track=track, encoder=replace(BASE, drop_path=0.1))
    one = mae_face_mtl()
    sampling = Sampling(one_of=10) if root == "data/affwild2" else Sampling()
    finetune = replace(FINETUNE, sampling=sampling)
    affectnet = Pass(
        name="affectnet",
        system=replace(student, track="affectnet8"),
        optimisation=FINETUNE,
        shards=Path("data/affectnet8"),
    )
    first = Pass(name="first", system=student, optimisation=finetune, init={"encoder": "affectnet"})
    return replace(
        one,
        name=name,
        delivery=replace(one.delivery, root=Path(root)),
        folds=5 if root == "data/affwild2" else 0,
        passes=(affectnet, first),
        system=Distillation(student=student),
        init={"encoder": "affectnet"},
        teacher="first",
        finetune=finetune,
    )


def _one_pass_pretraining(recipe: Recipe) -> Recipe:
    """Without AffectNet between: as the paper's results on AffectNet and Emo135."""
    first = replace(recipe.passes[1], init={"encoder": START})
    return replace(recipe, passes=(first,), init={"encoder": START})


def mae_face_expr() -> Recipe:
    """MAE-Face for expressions on Aff-Wild2: two passes of pre-training, two of fine-tuning, five folds.

    Command: `abaw run mae_face_expr --delivery.root AFFWILD2 --delivery.pool FACES --passes.0.shards AFFECTNET_SHARDS`
    Paper (Table 4): official .4460, 5-fold average .4403. Not run at full size by us.
    """
    return _two_pass("mae_face_expr", "expr", "data/affwild2")


def mae_face_expr_debug() -> Recipe:
    """MAE-Face for expressions at a size for tests; scores mean nothing."""
    return debug(mae_face_expr())


def mae_face_au() -> Recipe:
    """MAE-Face for action units on Aff-Wild2, as `mae_face_expr`. Paper (Table 3): 5-fold average .5548."""
    return _two_pass("mae_face_au", "au", "data/affwild2")


def mae_face_au_debug() -> Recipe:
    """MAE-Face for action units at a size for tests; scores mean nothing."""
    return debug(mae_face_au())


def mae_face_va() -> Recipe:
    """MAE-Face for valence and arousal on Aff-Wild2, as `mae_face_expr`. Paper (Table 5): 5-fold average .5914."""
    return _two_pass("mae_face_va", "va", "data/affwild2")


def mae_face_va_debug() -> Recipe:
    """MAE-Face for valence and arousal at a size for tests; scores mean nothing."""
    return debug(mae_face_va())


def mae_face_cexpr() -> Recipe:
    """MAE-Face for the seven compound expressions of C-EXPR. The paper has no figure for it.

    Command: `abaw run mae_face_cexpr --delivery.root CEXPR_SHARDS --delivery.pool FACES --folds 2`
    """
    recipe = _two_pass("mae_face_cexpr", "cexpr", "data/cexpr")
    return replace(recipe, folds=5)


def mae_face_cexpr_debug() -> Recipe:
    """MAE-Face for compound expressions at a size for tests; needs shards of C-EXPR; scores mean nothing."""
    return debug(mae_face_cexpr())


def mae_face_affectnet8() -> Recipe:
    """MAE-Face on AffectNet, eight classes: one pass of pre-training, two of fine-tuning.

    Command: `abaw run mae_face_affectnet8 --delivery.root AFFECTNET8_SHARDS --delivery.pool FACES`
    Paper (Table 1): top-1 66.65 % (ViT-Base), 65.23 % (ViT-Tiny). Not run at full size by us.
    """
    return _one_pass_pretraining(_two_pass("mae_face_affectnet8", "affectnet8", "data/affectnet8"))


def mae_face_affectnet8_debug() -> Recipe:
    """MAE-Face on AffectNet-8 at a size for tests; needs shards of AffectNet; scores mean nothing."""
    return debug(mae_face_affectnet8())


def mae_face_affectnet7() -> Recipe:
    """MAE-Face on AffectNet, seven classes. Paper (Table 1): top-1 69.51 % (ViT-Base), 68.46 % (ViT-Tiny)."""
    return _one_pass_pretraining(_two_pass("mae_face_affectnet7", "affectnet7", "data/affectnet7"))


def mae_face_affectnet7_debug() -> Recipe:
    """MAE-Face on AffectNet-7 at a size for tests; needs shards of AffectNet; scores mean nothing."""
    return debug(mae_face_affectnet7())


def mae_face_emo135() -> Recipe:
    """MAE-Face on Emo135, 135 emotions: one pass of pre-training, two of fine-tuning.

    Command: `abaw run mae_face_emo135 --delivery.root EMO135_SHARDS --delivery.pool FACES`
    Paper (Table 2): F1 .3753, top-1 38.64, top-5 80.82, top-10 89.71 % (ViT-Base). Not run at full size by us.
    """
    return _one_pass_pretraining(_two_pass("mae_face_emo135", "emo135", "data/emo135"))


def mae_face_emo135_debug() -> Recipe:
    """MAE-Face on Emo135 at a size for tests; needs shards of Emo135; scores mean nothing."""
    return debug(mae_face_emo135())


def _sizes(table: str, title: str, recipe: str, measure: str, beside: str, **paper: float) -> PaperTable:
    """A table by size of the ViT. The embedded faces have one size, and none of these labels."""
    rows = []
    for size, figure in paper.items():
        encoder = VitConfig(size=size, image_size=224)  # type: ignore[arg-type]
        tuned = replace(encoder, drop_path=0.1)
        change = {
            "pretraining.mae.encoder": encoder,
            "passes.0.system.encoder": tuned,
            "system.student.encoder": tuned,
        }
        rows.append(Row(name=size, title=f"Ours (ViT-{size.title()})", paper=figure, change=change, small=None))
    return PaperTable(name=table, title=title, recipe=recipe, measure=measure, beside=beside, rows=tuple(rows))


def _starts(name: str, title: str, remark: str, *, patches: VitConfig | None = None) -> PaperTable:
    """Random against pre-trained weights; `patches` is the tiny encoder, where it is not that of all tables."""
    scratch, pretrained = {"starts": ("scratch",)}, {"starts": ("pretrained",)}
    prefix = "patches_" if patches else ""
    return PaperTable(
        name=name,
        title=title,
        recipe="mae_face_mtl",
        measure="P_MTL",
        beside="none given",
        small={"system.encoder": patches, "pretraining.mae.encoder": patches} if patches else {},
        rows=(
            Row(name=f"{prefix}scratch", title="random start", change=scratch),
            Row(name=f"{prefix}pretrained", title="MAE on the pool", claimed="better", change=pretrained),
        ),
        remark=f"The paper pre-trains 800 epochs on millions of faces, here it is 15 on 4,000 renderings. {remark}",
    )


SHORT_VIDEOS = "The expressions of the embedded videos change within seconds, and labels are without noise."
TABLES = (
    _sizes(
        "affectnet8", "Sizes (MAE-Face, Table 1)", "mae_face_affectnet8", "top1", "top-1 (%)", tiny=65.23, base=66.65
    ),
    _sizes(
        "affectnet7", "Sizes (MAE-Face, Table 1)", "mae_face_affectnet7", "top1", "top-1 (%)", tiny=68.46, base=69.51
    ),
    _sizes(
        "emo135",
        "Sizes (MAE-Face, Table 2)",
        "mae_face_emo135",
        "S_EMO135",
        "F1",
        tiny=0.3203,
        base=0.3753,
        large=0.3791,
    ),
    _starts(
        "mae",
        "Start from a masked autoencoder against a random start (MAE-Face, section 3.1)",
        "The stem of the tiny encoder is convolutions with batch norm. In pre-training it sees three quarters of each "
        "picture in one colour, in fine-tuning whole pictures: `mae_patches` is the same without it.",
    ),
    _starts(
        "mae_patches",
        "Start from a masked autoencoder against a random start, linear patches of 8 pixels (MAE-Face, section 3.1)",
        "The encoder is a plain ViT, as the paper's.",
        patches=VitConfig(size="micro", image_size=SIDE, patch_size=8),
    ),
    PaperTable(
        name="passes",
        title="One pass of fine-tuning against two, self-distillation (MAE-Face, section 3.2.2)",
        recipe="mae_face_expr",
        measure="S_EXPR",
        beside="none given",
        small={"starts": ("scratch",), "passes.1.init": {"encoder": START}},
        rows=(
            Row(
                name="one_pass",
                title="one pass",
                change={
                    "system": MultiTask(track="expr", encoder=replace(BASE, drop_path=0.1)),
                    "teacher": "",
                },
                small={"init": {"encoder": START}},
            ),
            Row(
                name="cached", title="two passes, cached teacher", claimed="better", small={"init": {"encoder": START}}
            ),
            Row(
                name="live",
                title="two passes, live teacher",
                claimed="better",
                change={"system.teacher": "live", "teacher": "", "init": {"encoder": "affectnet", "teacher": "first"}},
                small={"init": {"encoder": START, "teacher": "first"}},
            ),
        ),
        remark="From scratch, not from MAE: fifteen epochs of it hurt here (`abaw table mae`). The teacher is little "
        "better than the constant predictor, and its errors become targets, which is the likely reason.",
    ),
    PaperTable(
        name="smoothing",
        title="Smoothing over time (MAE-Face, section 3.4)",
        recipe="mae_face_va",
        measure="S_VA",
        beside="none given",
        small=ONE_PASS_VA,
        rows=(
            Row(name="unsmoothed", title="none"),
            Row(name="md", title="Gaussian + MD, widths 12, 4, 2", claimed="better", smoothing=Smoothing()),
            Row(
                name="narrow",
                title="Gaussian + MD, widths 3, 2, 1",
                claimed="better",
                smoothing=Smoothing(sigma1=3, sigma2=2, sigma3=1),
            ),
            Row(
                name="gaussian",
                title="Gaussian, width 3",
                claimed="better",
                smoothing=Smoothing(sigma1=3, sigma2=0, sigma3=0),
            ),
        ),
        remark=SHORT_VIDEOS,
    ),
)


def _masked_batch(recipe: Recipe, point: Point) -> Mapping[str, Any]:
    return masked_batch("pretrain", recipe.pretrain, point, ratio="pretraining.mae.mask_ratio")


SEARCHES = (
    Search(
        name="mask-batch",
        recipe="mae_face_mtl",
        title="Mask ratio x batch size of MAE pre-training; the batch grows by what is hidden",
        space={
            "pretraining.mae.mask_ratio": Choice((0.5, 0.65, 0.75, 0.85, 0.9)),
            "base_batch": Choice((256, 512, 1024)),
        },
        fields=_masked_batch,
        first={"pretraining.mae.mask_ratio": 0.75, "base_batch": 1024},
        small={"base_batch": Choice((4, 8))},
    ),
    Search(
        name="finetune",
        recipe="mae_face_mtl",
        title="Learning rate x layer decay x drop path of fine-tuning",
        space={
            "finetune.lr": Float(low=2e-5, high=2e-3, log=True),
            "finetune.layer_decay": Float(low=0.5, high=1.0),
            "system.encoder.drop_path": Float(low=0.0, high=0.4),
        },
        first={"finetune.lr": 2e-4, "finetune.layer_decay": 1.0, "system.encoder.drop_path": 0.1},
    ),
)
