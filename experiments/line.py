"""A recipe as stages: files, shards, folds, pre-training, fine-tuning, search, ensemble, board."""

import re
from pathlib import Path

from experiments.data_stages import folds_stage, prepare_stage, shards_stage
from experiments.inputs import has_board
from experiments.outcome_stages import board_stage, ensemble_stage, epochs_stage, predictions_stage, search_stage
from experiments.recipe import PRETRAINED, SCRATCH, START, Pass, Recipe
from experiments.run import LABELLED, POOL, Run
from experiments.stages import Stage, in_waves
from experiments.temporal_stages import features_stage, temporal_stage
from experiments.training_stages import Lesson, finetune_stage, pretrain_stage
from leaderboard.images import of_stills


class Line:
    """The stages of one recipe below one run folder."""

    def __init__(self, recipe: Recipe, root: Path) -> None:
        self.recipe, self.run = recipe, Run(recipe=recipe, root=root)
        self.prepare = [prepare_stage(self.run)] if recipe.delivery.root is None else []
        self.labelled = shards_stage(self.run, LABELLED, self.prepare)
        self.pool = [shards_stage(self.run, POOL, self.prepare)] if PRETRAINED in recipe.starts else []
        self.folds = folds_stage(self.run, self.labelled)
        self.pretrain = [pretrain_stage(self.run, shards) for shards in self.pool]
        self.chains = {
            start: [self._chain(start, fold) for fold in range(max(1, recipe.folds))] for start in recipe.starts
        }

    def _chain(self, start: str, fold: int) -> list[Stage]:
        """The fine-tunings of one fold, each after those that it starts from or learns from, then its temporal head."""
        recipe, done = self.recipe, dict[str, Stage]()
        last = Pass(name="finetune", system=recipe.system, optimisation=recipe.finetune, init=recipe.init)
        for one in (*recipe.used_passes, last):
            lesson = Lesson(
                this=one,
                start=start,
                slug=slug_of(start),
                fold=fold if one.shards is None else None,
                final=one is last,
                teacher=one is not last and recipe.teacher == one.name,
                taught_by=done[recipe.teacher] if one is last and recipe.teacher else None,
            )
            done[one.name] = finetune_stage(
                self.run,
                lesson,
                labelled=self.labelled,
                folds=self.folds,
                pretrain=self.pretrain[0] if start == PRETRAINED and START in one.init.values() else None,
                earlier={name: stage for name, stage in done.items() if name in one.init.values()},
            )
        return [*done.values(), *(self._head(slug_of(start), fold, done[last.name]) if recipe.temporal else ())]

    def _head(self, slug: str, fold: int, trained: Stage) -> list[Stage]:
        """The features of a fold's last fine-tuning, and the temporal head on them."""
        features = features_stage(self.run, slug, fold, labelled=self.labelled, trained=trained)
        head = temporal_stage(self.run, slug, fold, labelled=self.labelled, folds=self.folds, features=features)
        return [features, head]

    def trainings(self) -> list[Stage]:
        """Everything up to the last training of each fold, each stage after its inputs and once."""
        chains = [stage for folds in self.chains.values() for chain in folds for stage in chain]
        unique = {stage.key: stage for stage in chains}
        return in_waves([*self.prepare, self.labelled, *self.pool, self.folds, *self.pretrain, *unique.values()])

    def finetunings(self) -> dict[str, list[Stage]]:
        """The last fine-tuning of each fold, by start."""
        last = -3 if self.recipe.temporal else -1
        return {start: [chain[last] for chain in folds] for start, folds in self.chains.items()}

    def last_trainings(self) -> dict[str, list[Stage]]:
        """The last training of each fold, by start: that of the temporal head where there is one."""
        return {start: [chain[-1] for chain in folds] for start, folds in self.chains.items()}

    def stages(self) -> list[Stage]:
        """All stages, each after its inputs."""
        run, entries = self.run, dict[str, Stage]()
        last: dict[str, Stage] = {}
        for start, trained in self.finetunings().items():
            slug, title = slug_of(start), title_of(start, self.recipe)
            untuned = predictions_stage(run, slug, trained)
            variants = {title: untuned}
            if self.recipe.finetune.keep:
                variants[f"{title}, epochs"] = epochs_stage(run, slug, trained, untuned)
            if self.recipe.temporal:
                slug, title = f"{slug}/temporal", f"{title}, temporal"
                variants[title] = predictions_stage(run, slug, self.last_trainings()[start])
            entries |= variants
            last[start] = list(variants.values())[-1]
            if not of_stills(self.recipe.track):
                last[start] = entries[f"{title}, smoothed"] = search_stage(run, slug, last[start])
        if len(last) > 1:
            smoothed = "" if of_stills(self.recipe.track) else " smoothed"
            entries[f"ensemble of all{smoothed}"] = ensemble_stage(run, list(last.values()))
        outcomes = list(entries.values())
        if has_board(self.recipe):
            outcomes.append(board_stage(run, self.prepare, self.labelled, entries))
        return [*self.trainings(), *outcomes]


def slug_of(start: str) -> str:
    """What folders call a start: `scratch`, `pretrained`, or letters and digits of the weights' name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", start).strip("-").lower()[-40:]


def title_of(start: str, recipe: Recipe) -> str:
    """What the board calls a start."""
    if start == PRETRAINED:
        return f"from {type(recipe.pretraining).__name__.removesuffix('Pretraining')}".replace("Mae", "MAE")
    return "from scratch" if start == SCRATCH else f"from {start}"
