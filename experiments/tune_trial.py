"""One trial of a search that trains networks: a recipe at a point of its space, fold after fold.

A trial trains in its own process, as a world of one, where its recipe has no GPU or asks for one worker: starting a
worker group takes longer than many trainings, and trials side by side use cores and GPUs better than one trial on all
of them. With more workers each trial has one worker group of Ray Train for all of its trainings.

The score of each epoch that is evaluated, and of each fold that is done, is read from the files that trainings write,
so that it does not matter which process trains.
"""

import json
import os
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import tune

from abaw import runs
from abaw.search.space import Point
from abaw.training.job import TrainingJob
from abaw.training.loop import run_job
from abaw.training.workers import Worker
from experiments.line import Line, slug_of
from experiments.outcome_stages import predictions_stage
from experiments.progress import Progress
from experiments.recipe import Recipe
from experiments.search import Search
from experiments.stages import Stage, run_stages
from experiments.variants import with_fields

POLL_S = 0.1
ERROR = "error.txt"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all trials of a search share."""

    recipe: Recipe
    """With one start, and the workers of a trial."""
    search: Search
    root: Path
    """Run folder of the recipe, where the stages are that no point changes."""
    shared: tuple[str, ...]
    """The names of their folders."""
    working_directory: Path
    """What relative paths of the recipe start from."""

    @property
    def folder(self) -> Path:
        """Where the search keeps its trials."""
        return self.root / "tune" / self.search.name

    def recipe_at(self, point: Point) -> Recipe:
        """The recipe at a point of the space."""
        return with_fields(self.recipe, self.search.fields(self.recipe, point))


class RecipeTrial(tune.Trainable):  # type: ignore[misc]
    """Trains in a thread, and hands on each score as it comes."""

    def setup(self, config: dict[str, Any], plan: Plan) -> None:
        """Begin."""
        os.chdir(plan.working_directory)  # Ray Tune has moved to a folder of its own
        self.name = f"trial-{config['number']:03d}"
        self.title = f"tune/{plan.search.name}/{self.name}"
        self.folder, self.told = plan.folder / self.name, 0
        self.folds: list[Path] = []
        self.work: Future[float] = Future()
        # A daemon: where the trial is stopped early, its process does not wait for the training to end.
        threading.Thread(target=self._work, args=(plan, config["point"]), daemon=True).start()

    def __repr__(self) -> str:
        """What the dashboard calls the trial."""
        return self.title

    def step(self) -> dict[str, Any]:
        """Wait for the next score: of an epoch, of a fold, and at the end that of the out-of-fold predictions."""
        while True:
            over = self.work.done()
            scores = scores_so_far(self.folds, self.score_name) if self.folds else []
            if len(scores) > self.told:
                self.told += 1
                return {"score": scores[self.told - 1], "epochs": self.told, "final": False}
            if over:
                return {"score": self.work.result(), "epochs": self.told + 1, "final": True, "done": True}
            time.sleep(POLL_S)

    def _work(self, plan: Plan, point: Point) -> None:
        try:
            self.work.set_result(self._score(plan, point))
        except BaseException as error:  # told by `step`, whatever it is
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / ERROR).write_text(traceback.format_exc())
            self.work.set_exception(error)

    def _score(self, plan: Plan, point: Point) -> float:
        started = time.time()
        recipe = plan.recipe_at(point)
        runs.start(self.folder, recipe)
        link(plan.shared, plan.root, self.folder)
        stages, last = stages_of(recipe, self.folder)
        self.score_name, self.folds = recipe.track.score, [stage.folder(self.folder) for stage in last]
        run_trial(stages, recipe, self.folder)
        predicted = runs.read_result(stages[-1].folder(self.folder))
        result = {name: predicted[name] for name in ("metrics", "score_name", "interval") if name in predicted}
        runs.finish(self.folder, config=recipe, started=started, name=self.title, point=dict(point), **result)
        return float(predicted["metrics"][recipe.track.score])


def stages_of(recipe: Recipe, root: Path) -> tuple[list[Stage], list[Stage]]:
    """The trainings of a recipe with one start and its table of out-of-fold predictions; the last training by fold."""
    line, (start,) = Line(recipe, root), recipe.starts
    last = line.last_trainings()[start]
    return [*line.trainings(), predictions_stage(line.run, slug_of(start), last)], last


def link(shared: Sequence[str], root: Path, folder: Path) -> None:
    """Make the stages that trials share appear in the folder of a trial."""
    for name in shared:
        (folder / name).symlink_to(os.path.relpath(root / name, folder), target_is_directory=True)


def run_trial(stages: Sequence[Stage], recipe: Recipe, root: Path) -> None:
    """Run what is missing: in this process where there is one worker, else in a worker group."""
    progress = Progress()
    if recipe.resources.workers != 1:
        run_stages(stages, root=root, resources=recipe.resources, progress=progress)
        return
    torch.set_num_threads(recipe.resources.threads)
    for stage in stages:
        if stage.job is None:
            run_stages([stage], root=root, resources=recipe.resources, progress=progress)
        else:
            _alone(stage.job(stage.folder(root).absolute()), recipe)


def _alone(job: TrainingJob, recipe: Recipe) -> None:
    device = "cuda" if recipe.resources.gpus_per_worker and torch.cuda.is_available() else "cpu"
    given = recipe.resources
    run_job(job, Worker(device=torch.device(device), loading=given.loading, checkpoints=given.checkpoints))


def scores_so_far(folds: Sequence[Path], score_name: str) -> list[float]:
    """What is known of a cross-validated score after each evaluated epoch: the mean over the folds that have begun.

    A fold counts with its newest epoch, and once it is done with its final weights. The entries of two trials at the
    same place are of the same folds and epochs, so that they can be compared.
    """
    scores, finished = list[float](), list[float]()
    for fold in folds:
        own = _epoch_scores(fold / "metrics.jsonl", score_name)
        if runs.is_complete(fold):
            own.append(float(runs.read_result(fold)["metrics"][score_name]))
        scores += [(sum(finished) + one) / (len(finished) + 1) for one in own]
        if not runs.is_complete(fold):
            break
        finished.append(own[-1])
    return scores


def _epoch_scores(path: Path, score_name: str) -> list[float]:
    """The score of each evaluated epoch of a training, in order."""
    if not path.is_file():
        return []
    whole, _, _ = path.read_text().rpartition("\n")  # the last line may be half written
    lines = [json.loads(line) for line in whole.splitlines()]
    by_epoch = {int(line["epoch"]): float(line[score_name]) for line in lines if score_name in line}
    return [by_epoch[epoch] for epoch in sorted(by_epoch)]
