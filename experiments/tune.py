"""`abaw tune`: a search over a recipe's fields, or over what is done with its out-of-fold predictions.

A search keeps everything in `<runs>/<recipe>/tune/<search>/`: its study (unless `--storage` names a database), a run
folder a trial, `index.html` and `result.json`.
"""

import shutil
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

from abaw import runs
from abaw.problems import refuse
from abaw.search.page import write_page
from abaw.search.searcher import Ends, StudySearcher, quiet
from abaw.search.space import Space, opposite_points
from abaw.search.study import best_of, cut_off, ended, open_study, try_first
from abaw.training.resources import Resources, room, settled
from experiments.inputs import check_recipe
from experiments.lock import driving
from experiments.progress import Progress
from experiments.ray_session import ray_session
from experiments.recipe import Recipe
from experiments.registry import get_search
from experiments.search import SMOOTHING
from experiments.stages import run_stages
from experiments.status import ENDED
from experiments.tune_options import Options, check_options
from experiments.tune_smoothing import tune_smoothing
from experiments.tune_trial import Plan, RecipeTrial, stages_of

DRIVER_CPUS = 0.02
"""Of a trial whose workers are in a group of their own, so that they have room beside it."""
STATES = {"pruned": "pruned", "fail": "failed"}
"""What `abaw status` calls a trial, by the name that Optuna has for its state."""
NEVER = 10**7
"""More epochs than a trial has: ASHA ends none for having enough."""


def tune_recipe(recipe: Recipe, name: str, runs_folder: Path, options: Options) -> dict[str, Any]:
    """Search, and write the result page; returns what `result.json` holds."""
    check_recipe(recipe)
    check_options(name, options)
    quiet()
    root = runs_folder / recipe.name
    folder = root / "tune" / name
    if name != SMOOTHING:
        get_search(recipe.name, name)
    with driving(root):
        folder.mkdir(parents=True, exist_ok=True)
        url = options.storage or f"sqlite:///{(folder / 'study.db').absolute()}"
        if name == SMOOTHING:
            return tune_smoothing(recipe, root, url, options)
        return _tune_fields(recipe, name, root, url, options)


def _tune_fields(recipe: Recipe, name: str, root: Path, url: str, options: Options) -> dict[str, Any]:
    started, progress, search = time.time(), Progress(), get_search(recipe.name, name)
    space, first = search.sized(recipe.name)
    plan = Plan(
        recipe=_for_trials(recipe, options.workers), search=search, root=root.absolute(), shared=(),
        working_directory=Path.cwd(),
    )  # fmt: skip
    study = open_study(
        f"{recipe.name}/{name}", url, config=[plan.recipe, space], seed=recipe.seed,
        resume=options.resume, overwrite=options.overwrite,
    )  # fmt: skip
    there = sorted(plan.folder.glob("trial-*"))
    if there and not options.overwrite and not study.get_trials(deepcopy=False):
        raise refuse(there[0], "is of another study; give --overwrite to delete it, or the --storage that it is in")
    for old in there if options.overwrite else ():
        shutil.rmtree(old)
    _say_what_is_there(study, progress)
    with ray_session(options.address) as dashboard:
        progress.say(f"Ray is up; dashboard at http://{dashboard}")
        plan = replace(plan, shared=_run_shared(plan, space, recipe.resources, progress))
        try_first(study, first)
        resources = settled(plan.recipe.resources)
        searcher = StudySearcher(
            study, space, budget=options.budget, devices=max(1, resources.workers),
            at_once=lambda: _at_once(resources), say=progress.say, note=partial(_note, plan.folder),
        )  # fmt: skip
        _run_tune(plan, searcher, resources)
    if searcher.reached:
        progress.say(f"budget reached: {searcher.reached}")
    return _finish(study, plan, search.title, started, searcher.reached, progress)


def _for_trials(recipe: Recipe, workers: int | None) -> Recipe:
    """The recipe with one start, its workers a trial, and a score after each epoch, for ASHA."""
    given = recipe.resources
    if workers is None:
        workers = given.workers if given.gpus_per_worker else 1
    return replace(
        recipe,
        starts=recipe.starts[-1:],
        resources=replace(given, workers=workers, least_workers=min(given.least_workers, workers)),
        finetune=replace(recipe.finetune, evaluate_every=recipe.finetune.evaluate_every or 1),
    )


def _say_what_is_there(study: optuna.Study, progress: Progress) -> None:
    if study.get_trials(deepcopy=False):
        killed = cut_off(study)
        lost = f"; {len(killed)} were cut off when the search was killed and count as failed" if killed else ""
        progress.say(f"going on with a study of {len(ended(study))} finished trials{lost}")


def _run_shared(plan: Plan, space: Space, resources: Resources, progress: Progress) -> tuple[str, ...]:
    """Run the stages whose keys no point changes, once for all trials; returns the names of their folders."""
    low, high = (stages_of(plan.recipe_at(point), plan.root)[0] for point in opposite_points(space))
    keys = {stage.key for stage in high}
    shared = [stage for stage in low if stage.key in keys]
    run_stages(shared, root=plan.root, resources=resources, progress=progress)
    return tuple(stage.folder(plan.root).name for stage in shared)


def _at_once(resources: Resources) -> int:
    """Trials that the cluster has room for, as it is now."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return room(machines, _per_worker(resources)) // resources.workers


def _per_worker(resources: Resources) -> dict[str, float]:
    """A process that trains on CPU keeps its threads busy, whatever a worker reserves."""
    cpus = resources.cpus_per_worker if resources.gpus_per_worker else float(resources.threads)
    return {**resources.per_worker, "CPU": cpus}


def _run_tune(plan: Plan, searcher: StudySearcher, resources: Resources) -> None:
    asked = {name.lower(): amount for name, amount in _per_worker(resources).items()}
    alone = resources.workers == 1
    records = plan.folder / ".ray"
    # ASHA compares trials for the first time after a quarter of the epochs of a fold.
    asha = ASHAScheduler(
        time_attr="epochs", metric="score", mode="max", max_t=NEVER,
        grace_period=max(1, plan.recipe.finetune.epochs // 4), reduction_factor=3,
    )  # fmt: skip
    try:
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(RecipeTrial, plan=plan), asked if alone else {"cpu": DRIVER_CPUS}
            ),
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=asha, num_samples=-1,
                trial_name_creator=lambda trial: _title(plan, trial.config["number"]),
                trial_dirname_creator=lambda trial: f"{trial.config['number']:03d}-{trial.trial_id}",
            ),
            run_config=tune.RunConfig(
                storage_path=str(records), name="tune", verbose=0, callbacks=[Ends(searcher)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()  # fmt: skip
    finally:
        shutil.rmtree(records, ignore_errors=True)


def _note(folder: Path, number: int, state: str, reason: str) -> None:
    """For `abaw status`: what became of a trial that leaves no result."""
    runs.write_json(folder / f"trial-{number:03d}" / ENDED, {"state": STATES[state], "reasons": [reason]})


def _title(plan: Plan, number: int) -> str:
    return f"tune/{plan.search.name}/trial-{number:03d}"


def _finish(
    study: optuna.Study, plan: Plan, title: str, started: float, reached: str, progress: Progress
) -> dict[str, Any]:
    """Write the result and its page; say where."""
    best, trials = best_of(study.get_trials(deepcopy=False)), study.get_trials(deepcopy=False)
    score = plan.recipe.track.score
    counts = {state: sum(one.state.name.lower() == state for one in trials) for state in ("complete", "pruned", "fail")}
    result: dict[str, Any] = {
        "name": f"tune/{plan.search.name}",
        "score_name": score,
        "metrics": {score: best.value} if best else {},
        "best": {"trial": f"trial-{best.number:03d}", "point": best.params} if best else None,
        "trials": counts,
        "budget_reached": reached,
    }
    runs.finish(plan.folder, config=plan.recipe, started=started, **result)
    page = write_page(
        plan.folder / "index.html", f"{plan.recipe.name}: {title}", {score: study}, folder=plan.folder, budget=reached
    )
    failed = f"{counts['complete']} complete, {counts['pruned']} pruned, {counts['fail']} failed"
    progress.say(f"{failed}; page: {page}")
    return runs.read_result(plan.folder)
