"""Any recipe at a size for two cores: the same systems and stages with tiny networks, on the embedded faces.

`small` is what the tables of `abaw table` are run at, minutes a training; `debug` is what tests run, seconds.
"""

import dataclasses
from dataclasses import replace
from typing import Any, TypeVar

from abaw.data.augment import Augmentation
from abaw.data.sampling import Sampling
from abaw.faces.dataset import FacesConfig
from abaw.models.backbones import BackboneConfig
from abaw.models.mae import MaeConfig
from abaw.models.vit import VitConfig
from abaw.systems.byol import Byol
from abaw.systems.dan import DanClassifier
from abaw.systems.emma import Emma
from abaw.systems.multitask import MultiTask
from abaw.systems.simsiam import SimSiam
from abaw.systems.temporal import Temporal
from abaw.training.optimisation import Optimisation
from abaw.training.resources import Resources
from experiments.recipe import START, Delivery, Pass, Recipe

Config = TypeVar("Config")
SIDE = 64
"""Side of what the tiny networks see, in pixels."""
MICRO = VitConfig(size="micro", image_size=SIDE, stem="conv")
"""The encoder that two cores train in a minute."""
EMBEDDED = ("mtl", "expr", "au", "va", "lsd")
"""Tracks whose labels the embedded faces have."""
FACES = FacesConfig(videos=160, frames=40, test_videos=5, pool_people=100, pool_frames=40, lsd_people=50)
DEBUG_FACES = FacesConfig(videos=12, frames=30, test_videos=4, pool_people=4, pool_frames=24, lsd_people=7)
ONE_PASS_VA = {
    "system": MultiTask(track="va", encoder=MICRO, pool="spatial"),
    "passes": (),
    "teacher": "",
    "init": {"encoder": START},
    "starts": ("scratch",),
}
"""The small size of a table about what follows the network: one training for valence and arousal."""


def small(recipe: Recipe) -> Recipe:
    """The recipe with tiny networks on the embedded faces and their official split.

    A track whose labels these do not have keeps its shards, which serve as the unlabelled pool too.
    """
    delivery = (
        Delivery() if recipe.track.name in EMBEDDED else Delivery(root=recipe.delivery.root, pool=recipe.delivery.root)
    )
    tiny = shrink(recipe)
    labels = "expr" if recipe.track.name in EMBEDDED else recipe.track.name
    return replace(
        tiny,
        name=f"{recipe.name}_small",
        passes=tuple(_tiny_pass(one, labels) for one in recipe.passes),
        pretrain=replace(tiny.pretrain, epochs=15, batch_size=128, sampling=Sampling()),
        delivery=delivery,
        faces=FACES,
        folds=0,
        weigh_active=True,
        trials=24,
        resources=Resources(),
    )


def debug(recipe: Recipe) -> Recipe:
    """The recipe at a size for tests, every training an epoch or less; scores mean nothing."""
    tiny = small(recipe)
    return replace(
        tiny,
        name=f"{recipe.name}_debug",
        faces=DEBUG_FACES,
        folds=2 if recipe.folds else 0,
        pretrain=_hurried(tiny.pretrain),
        finetune=_hurried(tiny.finetune),
        temporal_optimisation=_hurried(tiny.temporal_optimisation),
        passes=tuple(replace(one, optimisation=_hurried(one.optimisation)) for one in tiny.passes),
        trials=4,
    )


def shrink(config: Config) -> Config:
    """A config tree with every network made tiny, and every optimisation made short."""
    tiny: Any = _tiny(config)
    if tiny is not None:
        return tiny  # type: ignore[no-any-return]
    if isinstance(config, tuple):
        return tuple(shrink(one) for one in config)  # type: ignore[return-value]
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return replace(config, **{one.name: shrink(getattr(config, one.name)) for one in dataclasses.fields(config)})
    return config


def _tiny(config: Any) -> Any:
    """The tiny form of a network or an optimisation; None for everything else."""
    if isinstance(config, VitConfig):
        return MICRO
    if isinstance(config, MaeConfig):
        encoder = shrink(config.encoder)
        return replace(config, encoder=encoder, decoder_width=64, decoder_depth=1, decoder_heads=4)
    if isinstance(config, BackboneConfig):
        name = "vit-micro" if config.name.startswith("vit") else "resnet-micro"
        return replace(config, name=name, image_size=SIDE, vit_stem="conv")
    if isinstance(config, Byol):
        return replace(config, backbone=shrink(config.backbone), hidden=256, output=64)
    if isinstance(config, SimSiam):
        return replace(config, backbone=shrink(config.backbone), output=256, bottleneck=64)
    if isinstance(config, DanClassifier):
        return replace(config, image_size=SIDE, track="expr")
    if isinstance(config, Emma):
        return replace(config, encoder=shrink(config.encoder), dan_track="expr", pool="mean")
    if isinstance(config, MultiTask) and config.pool == "mean":
        return replace(config, encoder=shrink(config.encoder), pool="spatial")
    if isinstance(config, Temporal):
        return replace(config, width=64, depth=min(3, config.depth), heads=4)
    return _short(config) if isinstance(config, Optimisation) else None


def _tiny_pass(one: Pass, labels: str) -> Pass:
    """The pass made tiny; one on another data set learns the `labels` (a track) of the training frames instead."""
    tiny = shrink(one)
    if one.shards is None:
        return tiny
    system = replace(tiny.system, track=labels) if isinstance(tiny.system, MultiTask) else tiny.system
    return replace(tiny, system=system, shards=None)


def _short(settings: Optimisation) -> Optimisation:
    """12 epochs of every fourth frame, or of 150 frames a class; 24 of a temporal head, over windows of 20 frames."""
    sampling = Sampling(one_of=4)
    if settings.sampling.per_class:
        sampling = Sampling(per_class=150)
    if settings.sampling.window:
        sampling = replace(settings.sampling, window=20, stride=min(10, settings.sampling.stride))
    return replace(
        settings,
        epochs=24 if sampling.window else 12,
        iterations=0,
        warmup_epochs=1,
        batch_size=16 if sampling.window else 32,
        micro_batch=0,
        lr=2e-2 if settings.optimiser == "sgd" else 1e-3,
        layer_decay=1.0,
        clip_norm=1.0,
        ema_decay=0.97,
        sampling=sampling,
        augmentation=Augmentation(resize=SIDE, colour=0.3),
        evaluate_every=4 if settings.keep else 0,
    )


def _hurried(settings: Optimisation) -> Optimisation:
    all_or_windows = settings.sampling.window or settings.sampling == Sampling()
    sampling = settings.sampling if all_or_windows else Sampling(one_of=2)
    evaluate, epochs = (1, 2) if settings.keep else (0, 1)
    batch = 4 if sampling.window else 16
    return replace(
        settings, epochs=epochs, warmup_epochs=0.5, batch_size=batch, sampling=sampling, evaluate_every=evaluate
    )
