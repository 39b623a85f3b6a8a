"""`abaw tune RECIPE --search smoothing`: what is done with the out-of-fold predictions of a recipe, for each task."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from abaw import runs
from abaw.predictions import read_predictions
from abaw.search.page import write_page
from abaw.search.smoothing import search_smoothing
from abaw.search.study import complete, cut_off, open_study
from experiments.outcome_stages import OUT_OF_FOLD, TEST, write_treated
from experiments.progress import Progress
from experiments.ray_session import ray_session
from experiments.recipe import Recipe
from experiments.search import SMOOTHING
from experiments.stages import run_stages
from experiments.tune_options import Options
from experiments.tune_trial import stages_of


def tune_smoothing(recipe: Recipe, root: Path, url: str, options: Options) -> dict[str, Any]:
    """Train what is missing, then search; writes the treated predictions and `smoothing.json`, for submissions."""
    started, progress, track = time.time(), Progress(), recipe.track
    one_start, folder = replace(recipe, starts=recipe.starts[-1:]), root / "tune" / SMOOTHING
    stages, _ = stages_of(one_start, root)
    config = [stages[-1].key, recipe.seed]
    studies = {
        task.name: open_study(
            f"{recipe.name}/{SMOOTHING}/{task.name}", url, config=config, seed=recipe.seed + place,
            resume=options.resume, overwrite=options.overwrite,
        )
        for place, task in enumerate(track.tasks)
    }  # fmt: skip
    if killed := sum(len(cut_off(study)) for study in studies.values()):
        progress.say(f"{killed} trials were cut off when the search was killed and count as failed")
    with ray_session(options.address):
        run_stages(stages, root=root, resources=recipe.resources, progress=progress)
        tables = {name: read_predictions(stages[-1].folder(root) / name, track) for name in (OUT_OF_FOLD, TEST)}
        found = search_smoothing(
            tables[OUT_OF_FOLD], track, trials=options.budget.trials, seed=recipe.seed, storage=folder.absolute(),
            decisions=True, studies=studies, hours=options.budget.hours,
        )  # fmt: skip
    told = write_treated(folder, tables, track, found, seed=recipe.seed)
    tasks = {name: {key: value for key, value in one.items() if key != "trials"} for name, one in told.items()}
    metrics = {f"cross_fitted {name}": one.cross_fitted for name, one in found.items()}
    runs.finish(
        folder, config=config, started=started, name=f"tune/{SMOOTHING}", inputs=(stages[-1].folder(root).name,),
        score_name=track.score, metrics=metrics, tasks=tasks,
    )  # fmt: skip
    budget = options.budget
    all_tried = all(len(complete(study)) >= budget.trials for study in studies.values())
    page = write_page(
        folder / "index.html", f"{recipe.name}: smoothing, gap limit, thresholds and class bias", studies,
        folder=folder, budget=f"{budget.trials} trials" if all_tried else f"{budget.hours:g} hours",
    )  # fmt: skip
    progress.say(f"page: {page}")
    return runs.read_result(folder)
