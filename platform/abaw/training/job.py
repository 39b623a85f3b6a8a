"""What one training is: a system, its frames, its optimisation and its folder. Pure data, shipped to the workers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from abaw.systems.system import SystemConfig
from abaw.training.optimisation import Optimisation


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Some frames of a folder of shards."""

    shards: Path
    videos: tuple[str, ...] | None = None
    """Only these videos, by equal name; None for all."""
    splits: tuple[str, ...] | None = None
    """Only these splits (train, validation, test, unlabelled); None for all."""
    features: Path | None = None
    """Feature cache of these frames, of which windows are then made instead of images."""


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One network to train, and the frames to predict with it afterwards."""

    name: str
    """Shown in progress and in the dashboard, such as finetune/mae/fold-1."""
    folder: Path
    """Run folder of the stage, on storage that all workers see."""
    system: SystemConfig
    optimisation: Optimisation
    seed: int
    train: Frames
    held_out: Frames | None = None
    """Frames of the fold that this training must not see; scored and written as predictions/held_out.parquet."""
    predict: Mapping[str, Frames] = field(default_factory=dict)
    """Further frames to predict, by file name."""
    track: str | None = None
    """Track whose score is computed; None for self-supervised systems."""
    init: Mapping[str, str] = field(default_factory=dict)
    """What the networks of the system start from, by the names of `System.trunks`; see `abaw.training.starts`."""
    at_least: float = 0.9
    """Share of a network that must come in from such weights."""
    soft_targets: tuple[Path, ...] = ()
    """Prediction tables of a teacher; their rows become `soft_va`, `soft_expr` and `soft_au` of the batches."""
    fold: int | None = None
    inputs: tuple[str, ...] = ()
    """Stages that this one reads, for its result."""
