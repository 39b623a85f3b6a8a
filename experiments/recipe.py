"""What a recipe is: one frozen config tree that holds every decision of a run from source files to submission."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from abaw.faces.dataset import FacesConfig
from abaw.systems.byol import Byol
from abaw.systems.contrawarping import ContraWarping
from abaw.systems.cotex import MaskedCotex
from abaw.systems.dan import DanClassifier
from abaw.systems.distillation import Distillation
from abaw.systems.dual_view import DualView, SingleView
from abaw.systems.emma import Emma
from abaw.systems.mae import MaePretraining
from abaw.systems.multitask import MultiTask
from abaw.systems.simclr import SimClr
from abaw.systems.simsiam import SimSiam
from abaw.systems.supervised import Supervised
from abaw.systems.temporal import Temporal
from abaw.tracks import Track, get_track
from abaw.training.optimisation import Optimisation
from abaw.training.resources import Resources

Pretraining = MaePretraining | ContraWarping | SimSiam | Byol | SimClr
"""Systems that learn without labels."""
Finetuning = MultiTask | SingleView | Emma | MaskedCotex | Supervised | DualView | DanClassifier | Distillation
"""Systems that learn the tasks of a track."""

SCRATCH, PRETRAINED = "scratch", "pretrained"
START = "start"
"""In `init`: what the start of the row gives, nothing from scratch."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where the organisers' files lie; leave `root` empty for the embedded faces."""

    root: Path | None = None
    """Folder in the official Aff-Wild2 layout, or shards that `abaw prepare` wrote."""
    pool: Path | None = None
    """Folder of unlabelled face images for pre-training, one folder a person or source, or shards of `abaw prepare`."""
    template: Path | None = None
    """The organisers' file with the rows that a submission must have."""
    truth: Path | None = None
    """Held-out truth, if you have it: then entries are scored and ranked."""


@dataclass(frozen=True, kw_only=True)
class Pass:
    """A fine-tuning before the last one: later ones start from its weights, or learn from its predictions."""

    name: str
    """What `init` and `teacher` call it; a word."""
    system: Finetuning
    optimisation: Optimisation
    init: Mapping[str, str] = field(default_factory=lambda: {"encoder": START})
    """As `Recipe.init`."""
    shards: Path | None = None
    """Labelled shards of another data set, such as AffectNet, on whose training split this pass is trained, once for
    all folds; empty for the training videos of each fold."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A track from the organisers' files to a ranked submission."""

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
    starts: tuple[str, ...] = (SCRATCH, PRETRAINED)
    """Where fine-tuning starts from, each a row of the leaderboard: scratch, pretrained (on the pool), or weights, as a
    path or a name such as timm:vit_base_patch16_224.mae."""
    pretraining: Pretraining = field(default_factory=MaePretraining)
    """Network and objective of pre-training."""
    pretrain: Optimisation = field(default_factory=Optimisation)
    passes: tuple[Pass, ...] = ()
    """Fine-tunings before the last one, in order."""
    system: Finetuning = field(default_factory=MultiTask)
    """Networks and losses of the (last) fine-tuning; its track is the recipe's."""
    finetune: Optimisation = field(default_factory=Optimisation)
    init: Mapping[str, str] = field(default_factory=lambda: {"encoder": START})
    """What the networks of the system start from, by name: start, the name of a pass, or weights as in `starts`."""
    at_least: float = 0.9
    """Share of a network that must come in from such weights."""
    teacher: str = ""
    """Pass whose predictions of the training frames are soft targets (self-distillation); empty for none."""
    temporal: Temporal | None = None
    """Head over time on the features of each fold's last fine-tuning: one more row of the board; None for none."""
    temporal_optimisation: Optimisation = field(default_factory=Optimisation)
    """Of the head; `sampling.window` says how many frames it sees at a time."""
    weight_power: float = 1.0
    """Classes and action units weigh by inverse frequency in the training labels to this power: 1 as in MAE-Face
    section 3.2.3, 0 not at all."""
    weigh_active: bool = False
    """Let the active frames of an action unit weigh instead of the unit: rarely active ones are then predicted at all,
    at the threshold of one half."""
    trials: int = 24
    """Smoothing settings that are tried on the out-of-fold predictions."""
    resources: Resources = field(default_factory=Resources)

    @property
    def track(self) -> Track:
        """The track of the last fine-tuning."""
        return track_of(self.system)

    @property
    def used_passes(self) -> tuple[Pass, ...]:
        """The passes that the last fine-tuning, or another used pass, starts from or learns from: no other one runs."""
        used = {*self.init.values(), self.teacher}
        for one in reversed(self.passes):
            used |= set(one.init.values()) if one.name in used else set()
        return tuple(one for one in self.passes if one.name in used)


def track_of(system: Finetuning) -> Track:
    """The track whose tasks a system learns."""
    return get_track((system.student if isinstance(system, Distillation) else system).track)
