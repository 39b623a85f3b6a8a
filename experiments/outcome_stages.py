"""What follows the trainings: one table of predictions a row, smoothing, ensembles, submission files and the board."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from abaw.postprocess.apply import apply_smoothing
from abaw.predictions import read_predictions, write_predictions
from abaw.runs import plain, read_result, write_json
from abaw.training.evaluation import statistics_of, summary_over_workers
from abaw.training.workers import Worker
from experiments.board import submit_all
from experiments.data_stages import LABELLED_SPLITS, delivery_of, labels_of_split
from experiments.inputs import template_of, truth_of
from experiments.run import Run
from experiments.stages import Stage
from leaderboard.ensemble import mean_of
from leaderboard.tuning import SMOOTHING

OUT_OF_FOLD, CROSS_FITTED, TEST = "out_of_fold.parquet", "cross_fitted.parquet", "test.parquet"

SEARCH = "search/"
"""What the names of searches begin with."""


def predictions_stage(run: Run, slug: str, trained: Sequence[Stage]) -> Stage:
    """Out-of-fold predictions of all folds in one table, and the mean of the folds on the test frames."""

    def action(folder: Path) -> dict[str, Any]:
        found = [
            {stage.name: _read(run, stage, "predictions", f"{name}.parquet") for stage in trained}
            for name in ("held_out", "test")
        ]
        return _write_both(run, folder, out_of_fold=pa.concat_tables(found[0].values()), test=found[1])

    return Stage(name=f"predict/{slug}", config={}, inputs=tuple(trained), action=action)


def epochs_stage(run: Run, slug: str, trained: Sequence[Stage]) -> Stage:
    """The same, each fold being the mean over its kept epochs and its last one (EMMA, ensemble over epochs)."""

    def action(folder: Path) -> dict[str, Any]:
        found: list[dict[str, pa.Table]] = [{}, {}]
        for stage in trained:
            kept = ["", *read_result(run.path(stage))["kept"]]
            for tables, name in zip(found, ("held_out", "test"), strict=True):
                members = {epoch: _read(run, stage, "predictions", epoch, f"{name}.parquet") for epoch in kept}
                tables[stage.name] = mean_of(members, run.recipe.track)
        # In-sample: the epochs were chosen by their score on the held-out frames.
        out_of_fold = pa.concat_tables(found[0].values())
        return {"in_sample": True, **_write_both(run, folder, out_of_fold=out_of_fold, test=found[1])}

    return Stage(name=f"epochs/{slug}", config={}, inputs=tuple(trained), action=action)


def _read(run: Run, stage: Stage, *parts: str) -> pa.Table:
    return read_predictions(run.path(stage, *parts), run.recipe.track)


def _write_both(run: Run, folder: Path, *, out_of_fold: pa.Table, test: Mapping[str, pa.Table]) -> dict[str, Any]:
    """Write both tables, `test` as the mean of its members; returns the score of the out-of-fold frames."""
    track = run.recipe.track
    write_predictions(out_of_fold, folder / OUT_OF_FOLD)
    write_predictions(mean_of(test, track), folder / TEST)
    return summary_over_workers(out_of_fold, track, Worker(), seed=run.recipe.seed)


def search_stage(run: Run, slug: str, predictions: Stage) -> Stage:
    """Smoothing widths found on the out-of-fold predictions, applied to the test predictions."""
    recipe, track = run.recipe, run.recipe.track

    def action(folder: Path) -> dict[str, Any]:
        from abaw.search.smoothing import apply_cross_fitted, search_smoothing  # Optuna

        out_of_fold = _read(run, predictions, OUT_OF_FOLD)
        found = search_smoothing(
            out_of_fold, track, trials=recipe.trials, seed=recipe.seed, storage=(folder / "ray").absolute()
        )
        smoothing = {task: result.smoothing for task, result in found.items()}
        test = _read(run, predictions, TEST)
        write_predictions(apply_smoothing(test, track, smoothing), folder / TEST)
        smoothed = apply_smoothing(out_of_fold, track, smoothing)
        write_predictions(smoothed, folder / OUT_OF_FOLD)
        write_predictions(apply_cross_fitted(out_of_fold, track, found, seed=recipe.seed), folder / CROSS_FITTED)
        write_json(folder / SMOOTHING, plain(found))
        # In-sample: the widths were chosen on these frames; `cross_fitted` beside it says what they are worth.
        summary = summary_over_workers(smoothed, track, Worker(), seed=recipe.seed)
        return {"smoothing": plain(found), "in_sample": True, **summary}

    config = {"trials": recipe.trials, "seed": recipe.seed}
    return Stage(name=f"{SEARCH}{slug}", config=config, inputs=(predictions,), action=action)


def ensemble_stage(run: Run, members: Sequence[Stage]) -> Stage:
    """Mean of the last predictions of all starts; where these were smoothed, what that is worth is told three ways."""

    def action(folder: Path) -> dict[str, Any]:
        tables = {stage.name: _read(run, stage, TEST) for stage in members}
        write_predictions(mean_of(tables, run.recipe.track), folder / TEST)
        result: dict[str, Any] = {"members": list(tables)}
        if all(stage.name.startswith(SEARCH) for stage in members):
            result["tuning"] = {
                "untuned": _score_of_mean(run, [(stage.inputs[0], OUT_OF_FOLD) for stage in members]),
                "in_sample": _score_of_mean(run, [(stage, OUT_OF_FOLD) for stage in members]),
                "cross_fitted": _score_of_mean(run, [(stage, CROSS_FITTED) for stage in members]),
            }
            write_json(folder / SMOOTHING, result["tuning"])
        return result

    return Stage(name="ensemble", config={}, inputs=tuple(members), action=action)


def _score_of_mean(run: Run, tables: Sequence[tuple[Stage, str]]) -> float:
    """The track's score of the mean of labelled tables."""
    mean = mean_of({stage.name: _read(run, stage, name) for stage, name in tables}, run.recipe.track)
    return statistics_of(mean, run.recipe.track).compute()[run.recipe.track.score]


def board_stage(run: Run, prepare: Sequence[Stage], labelled: Stage, entries: Mapping[str, Stage]) -> Stage:
    """Official submission files of every entry, and the leaderboard of those with truth."""
    recipe = run.recipe

    def action(folder: Path) -> dict[str, Any]:
        root = delivery_of(run, prepare)
        training = labels_of_split(run.data(labelled), LABELLED_SPLITS)
        return submit_all(
            {name: run.path(stage, TEST) for name, stage in entries.items()},
            track=recipe.track,
            training=training,
            template=template_of(recipe, root),
            truth=truth_of(recipe, root),
            folder=folder.absolute(),
            author=recipe.name,
        )

    config = {"template": recipe.delivery.template, "truth": recipe.delivery.truth}
    return Stage(name="board", config=config, inputs=(labelled, *entries.values()), action=action)
