"""MAE-Face (Ma et al., ABAW5): masked pre-training on millions of faces, then fine-tuning, five folds, smoothing.

Paper: "Unified facial affect analysis: the MAE-Face visual representation", sections 3 and 4.1.
"""

from dataclasses import replace
from pathlib import Path

from abaw.data.augment import Augmentation
from abaw.data.sampling import Sampling
from abaw.models.mae import MaeConfig
from abaw.models.vit import VitConfig
from abaw.training.fit import Resources
from abaw.training.optimisation import Optimisation
from experiments.demo import demo_debug
from experiments.recipe import Delivery, Recipe


def mae_face_mtl() -> Recipe:
    """The paper's sizes on Aff-Wild2, all three tasks at once.

    Command: `abaw run mae_face_mtl --delivery.root AFFWILD2 --delivery.pool FACES --delivery.template TEMPLATE`
    Hardware: the paper used 8 NVIDIA A30; this recipe has not been run at full size by us, so it states no score.
    Paper, one network a task, 5-fold average (tables 3-5): AU .5548, EXPR .4403, VA .6321.
    """
    return Recipe(
        name="mae_face_mtl",
        delivery=Delivery(root=Path("data/affwild2"), pool=Path("data/faces")),
        folds=5,
        starts=("mae",),
        mae=MaeConfig(encoder=VitConfig(size="base", image_size=224), loss="l1", mask_ratio=0.75),
        pretrain=Optimisation(
            epochs=800,
            warmup_epochs=40,
            batch_size=4096,
            lr=2.4e-3,
            accumulate=2,
            augmentation=Augmentation(crop_scale=0.5),
        ),
        finetune=Optimisation(
            epochs=50, warmup_epochs=5, batch_size=512, lr=2e-4, sampling=Sampling(one_of=10), evaluate_every=1
        ),
        drop_path=0.1,
        trials=200,
        resources=Resources(workers=8, gpus_per_worker=1, cpus_per_worker=6),
    )


def mae_face_mtl_debug() -> Recipe:
    """The same line at a size that two cores finish in two minutes, on the embedded faces; scores mean nothing."""
    small = demo_debug()
    full = mae_face_mtl()
    return replace(
        full,
        name="mae_face_mtl_debug",
        delivery=Delivery(),
        faces=small.faces,
        folds=2,
        mae=small.mae,
        pretrain=small.pretrain,
        finetune=small.finetune,
        trials=small.trials,
        resources=small.resources,
    )
