"""What a recipe is: one frozen config tree that holds every decision of a run from source files to submission."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from abaw.faces.dataset import FacesConfig
from abaw.models.mae import MaeConfig
from abaw.training.fit import Resources
from abaw.training.optimisation import Optimisation

Start = Literal["scratch", "mae"]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where the organisers' files lie; leave `root` empty for the embedded faces."""

    root: Path | None = None
    """Folder in the official Aff-Wild2 layout, or shards that `abaw prepare affwild2` wrote."""
    pool: Path | None = None
    """Folder of unlabelled face images for pre-training, one folder a person or source, or shards of `abaw prepare`."""
    template: Path | None = None
    """The organisers' file with the rows that a submission must have."""
    truth: Path | None = None
    """Held-out truth, if you have it: then entries are scored and ranked."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Multi-task learning from the organisers' files to a ranked submission."""

    name: str
    """Folder of the run below `--runs`."""
    seed: int = 0
    """Of folds, weights, data order and search; the embedded faces have their own."""
    delivery: Delivery = field(default_factory=Delivery)
    faces: FacesConfig = field(default_factory=FacesConfig)
    """The embedded data set, used when `delivery.root` is empty."""
    slots: int = 10
    """Parts of the shards: an epoch that takes one frame of this many reads one part."""
    folds: int = 5
    """Folds over the labelled videos; 0 takes the official split as the only fold."""
    starts: tuple[Start, ...] = ("scratch", "mae")
    """Where fine-tuning starts from; each is a row of the leaderboard."""
    mae: MaeConfig = field(default_factory=MaeConfig)
    """Network and objective of pre-training; fine-tuning takes its encoder."""
    pretrain: Optimisation = field(default_factory=Optimisation)
    finetune: Optimisation = field(default_factory=Optimisation)
    drop_path: float = 0.1
    """Stochastic depth while fine-tuning."""
    pool: Literal["mean", "spatial"] = "mean"
    """How patches become the feature of the heads, see `abaw.systems.multitask`."""
    weight_power: float = 1.0
    """Classes and action units weigh by inverse frequency in the training labels to this power: 1 as in MAE-Face
    section 3.2.3, 0 not at all."""
    trials: int = 24
    """Smoothing settings that are tried on the out-of-fold predictions."""
    resources: Resources = field(default_factory=Resources)
