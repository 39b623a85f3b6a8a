"""The demo: the whole line on the embedded faces, in minutes on two cores."""

from dataclasses import replace

from abaw.data.augment import Augmentation
from abaw.data.sampling import Sampling
from abaw.faces.dataset import FacesConfig
from abaw.models.mae import MaeConfig
from abaw.search.space import Float
from abaw.systems.mae import MaePretraining
from abaw.systems.multitask import MultiTask
from abaw.training.optimisation import Optimisation
from experiments.recipe import Recipe
from experiments.search import Search
from experiments.sizes import MICRO


def demo() -> Recipe:
    """From nothing to a ranked score on rendered faces, in minutes on two cores.

    Command: `abaw run demo`, or `make demo`. `python benchmarks/demo.py` measures its scores over three seeds, its time
    and its memory.
    """
    return Recipe(
        name="demo",
        faces=FacesConfig(videos=100, frames=60, test_videos=24, pool_people=30, pool_frames=40, lsd_people=3),
        folds=2,
        pretraining=MaePretraining(mae=MaeConfig(encoder=MICRO, decoder_width=64, decoder_depth=1, decoder_heads=4)),
        pretrain=Optimisation(epochs=6, warmup_epochs=1, batch_size=64, lr=5e-4, augmentation=Augmentation(resize=64)),
        finetune=Optimisation(
            epochs=12,
            warmup_epochs=1,
            batch_size=64,
            lr=1e-3,
            clip_norm=1.0,
            ema_decay=0.97,
            sampling=Sampling(one_of=2),
            augmentation=Augmentation(resize=64, colour=0.3),
        ),
        system=MultiTask(encoder=MICRO, pool="spatial"),
        weigh_active=True,
    )


def demo_debug() -> Recipe:
    """The demo at a size for tests: every stage runs, scores mean nothing."""
    full = demo()
    return replace(
        full,
        name="demo_debug",
        faces=replace(full.faces, videos=12, frames=30, test_videos=4, pool_people=4, pool_frames=24),
        pretrain=replace(full.pretrain, epochs=1, warmup_epochs=0.5, batch_size=16),
        finetune=replace(full.finetune, epochs=1, warmup_epochs=0.5, batch_size=16, sampling=Sampling(one_of=2)),
        trials=4,
    )


SEARCHES = (
    Search(
        name="finetune",
        recipe="demo",
        title="Learning rate x layer decay x drop path of fine-tuning",
        space={
            "finetune.lr": Float(low=1e-4, high=1e-2, log=True),
            "finetune.layer_decay": Float(low=0.5, high=1.0),
            "system.encoder.drop_path": Float(low=0.0, high=0.4),
        },
        first={"finetune.lr": 1e-3, "finetune.layer_decay": 1.0, "system.encoder.drop_path": 0.0},
    ),
)
