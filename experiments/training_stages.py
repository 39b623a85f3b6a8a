"""The trainings of a recipe: pre-training on the pool, and every pass of fine-tuning on every fold."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.folds import Folds
from abaw.systems.distillation import Distillation
from abaw.systems.multitask import MultiTask
from abaw.systems.temporal import Temporal
from abaw.tracks import AU, get_track
from abaw.training.job import Frames, TrainingJob
from experiments.data_stages import LABELLED_SPLITS, labels_of_split
from experiments.inputs import is_file_name
from experiments.recipe import PRETRAINED, SCRATCH, START, Finetuning, Pass, track_of
from experiments.run import Run
from experiments.stages import Stage

Weighted = TypeVar("Weighted", MultiTask, Temporal)
FINAL = ("checkpoints", "final.safetensors")


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One pass of one row of the board on one fold."""

    this: Pass
    start: str
    slug: str
    """The start's name in folders."""
    fold: int | None
    """None for a pass on another data set."""
    final: bool
    """Whether this is the fine-tuning whose predictions count."""
    teacher: bool
    """Whether a later pass learns from its predictions of the training frames."""
    taught_by: Stage | None
    """The pass whose predictions are its soft targets."""

    @property
    def name(self) -> str:
        """Name of the stage, such as finetune/scratch/fold-0."""
        fold = "" if self.fold is None else f"/fold-{self.fold}"
        return f"{self.this.name}/{self.slug}{fold}"


def pretrain_stage(run: Run, pool: Stage) -> Stage:
    """Learning without labels from the pool."""
    recipe = run.recipe

    def job(folder: Path) -> TrainingJob:
        return TrainingJob(
            name="pretrain",
            folder=folder,
            system=recipe.pretraining,
            optimisation=recipe.pretrain,
            seed=recipe.seed,
            train=Frames(shards=run.data(pool)),
            inputs=run.names((pool,)),
        )

    config = [recipe.pretraining, recipe.pretrain, recipe.seed]
    return Stage(name="pretrain", config=config, inputs=(pool,), job=job)


def finetune_stage(
    run: Run,
    lesson: Lesson,
    *,
    labelled: Stage,
    folds: Stage,
    pretrain: Stage | None,
    earlier: Mapping[str, Stage],
) -> Stage:
    """One pass of fine-tuning on one fold; or, where it has shards of its own, on their training split.

    `pretrain` is given where the pass starts from it; `earlier` are the passes that it starts from.
    """
    recipe, this = run.recipe, lesson.this
    parents = [pretrain, *earlier.values(), lesson.taught_by, *((labelled, folds) if this.shards is None else ())]
    inputs = tuple({stage.key: stage for stage in parents if stage is not None}.values())

    def job(folder: Path) -> TrainingJob:
        train, held_out, predict = _frames(run, lesson, labelled, folds)
        frames = labels_of_split(train.shards, train.splits or LABELLED_SPLITS)
        if train.videos is not None:
            frames = frames.filter(pl.col("video").is_in(train.videos))
        return TrainingJob(
            name=lesson.name,
            folder=folder,
            system=_weighted(this.system, frames, power=recipe.weight_power, active=recipe.weigh_active),
            optimisation=this.optimisation,
            seed=recipe.seed,
            train=train,
            held_out=held_out,
            predict=predict,
            track=track_of(this.system).name,
            init=_init(run, lesson, pretrain, earlier),
            at_least=recipe.at_least,
            soft_targets=(run.path(lesson.taught_by, "predictions", "train.parquet"),) if lesson.taught_by else (),
            fold=lesson.fold,
            inputs=run.names(inputs),
        )

    literal = [source for source in {**this.init, "": lesson.start}.values() if source not in (SCRATCH, PRETRAINED)]
    config = [this, recipe.weight_power, recipe.weigh_active, recipe.seed, literal, lesson.teacher, recipe.at_least]
    return Stage(name=lesson.name, config=config, inputs=inputs, job=job)


def _frames(run: Run, lesson: Lesson, labelled: Stage, folds: Stage) -> tuple[Frames, Frames | None, dict[str, Frames]]:
    """What a pass trains on, is scored on, and predicts besides."""
    if lesson.this.shards is not None:
        return Frames(shards=lesson.this.shards.absolute(), splits=("train",)), None, {}
    assert lesson.fold is not None
    shards, split = run.data(labelled), Folds.load(run.path(folds, "folds.json"))
    train = Frames(shards=shards, videos=tuple(split.train(lesson.fold)), splits=LABELLED_SPLITS)
    held_out = Frames(shards=shards, videos=tuple(split.held_out(lesson.fold)), splits=LABELLED_SPLITS)
    predict = {"test": Frames(shards=shards, splits=("test",))} if lesson.final else {}
    return train, held_out, predict | ({"train": train} if lesson.teacher else {})


def _init(run: Run, lesson: Lesson, pretrain: Stage | None, earlier: Mapping[str, Stage]) -> dict[str, str]:
    """The weights of each network, as paths or names; a network that starts from scratch is left out."""
    found: dict[str, str] = {}
    for network, source in lesson.this.init.items():
        if source in earlier:
            found[network] = str(run.path(earlier[source], *FINAL))
        elif source not in (START, SCRATCH):
            found[network] = _named(source)
        elif source == SCRATCH:
            continue
        elif pretrain is not None:
            found[network] = str(run.path(pretrain, *FINAL))
        elif lesson.start not in (SCRATCH, PRETRAINED):
            found[network] = _named(lesson.start)
    return found


def _named(source: str) -> str:
    """Weights as workers find them, wherever they run."""
    return str(Path(source).absolute()) if is_file_name(source) else source


def _weighted(system: Finetuning, frames: pl.DataFrame, *, power: float, active: bool) -> Finetuning:
    """The system with weights from the labels of `frames`, if it takes some."""
    if isinstance(system, Distillation):
        return replace(system, student=weighted(system.student, frames, power=power, active=active))
    return weighted(system, frames, power=power, active=active) if isinstance(system, MultiTask) else system


def weighted(system: Weighted, frames: pl.DataFrame, *, power: float, active: bool) -> Weighted:
    """The system with weights from the labels of `frames`, for the tasks that were given none.

    Classes and action units: (1 / frames of it) ** power, scaled to mean 1 (MAE-Face eq. 2-3); 1 where no frame has it.
    With `active`, instead of a unit its active frames weigh, (inactive / active frames) ** power, at most 10.
    """
    tasks = {task.name: task for task in get_track(system.track).tasks}
    if "expr" in tasks and not system.expression_weight:
        counts_C = np.bincount(frames["expression"].drop_nulls().to_numpy(), minlength=len(tasks["expr"].columns))
        system = replace(system, expression_weight=_inverse(counts_C, power))
    if "au" in tasks and not (system.au_weight or system.au_active_weight):
        shares = [frames["au"].arr.get(unit).mean() or 0.0 for unit in range(len(AU.columns))]
        if active:
            active_A = np.array(shares).clip(min=1e-3)
            ratio_A = (((1 - active_A) / active_A) ** power).clip(max=10.0)
            system = replace(system, au_active_weight=tuple(ratio_A.round(4).tolist()))
        else:
            system = replace(system, au_weight=_inverse(np.array(shares), power))
    return system


def _inverse(often_C: NDArray[Any], power: float) -> tuple[float, ...]:
    """(1 / how often) ** power, with mean 1 over what occurs; 1 for what does not, which must not outweigh the rest."""
    occurs_C = often_C > 0
    weight_C = np.ones(len(often_C))
    if occurs_C.any():
        inverse_C = often_C[occurs_C].astype(np.float64) ** -power
        weight_C[occurs_C] = inverse_C / inverse_C.mean()
    return tuple(weight_C.round(4).tolist())
