"""What follows the trainings: one table of predictions a row, smoothing, ensembles, submission files and the board."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from abaw.predictions import read_predictions, write_predictions
from abaw.runs import plain, read_result, write_json
from abaw.tracks import Track
from abaw.training.evaluation import statistics_of, summary_over_workers
from abaw.training.workers import Worker
from experiments.board import submit_all
from experiments.data_stages import LABELLED_SPLITS, delivery_of, labels_of_split
from experiments.inputs import template_of, truth_of
from experiments.run import Run
from experiments.stages import Stage
from leaderboard.ensemble import mean_of
from leaderboard.tuning import SMOOTHING, TUNING

if TYPE_CHECKING:
    from abaw.search.smoothing import SmoothingResult  # Optuna

OUT_OF_FOLD, CROSS_FITTED, TEST = "out_of_fold.parquet", "cross_fitted.parquet", "test.parquet"


@dataclass(frozen=True, kw_only=True)
class Tuned(Stage):
    """Makes predictions by a choice that saw the labels of the out-of-fold frames."""

    untuned: Stage
    """The predictions without any such choice."""
    cross_fitted: bool
    """Whether it leaves `CROSS_FITTED`: each video predicted by the choice of others."""


def predictions_stage(run: Run, slug: str, trained: Sequence[Stage]) -> Stage:
    """Out-of-fold predictions of all folds in one table, and the mean of the folds on the test frames."""

    def action(folder: Path) -> dict[str, Any]:
        found = [
            {stage.name: _read(run, stage, "predictions", f"{name}.parquet") for stage in trained}
            for name in ("held_out", "test")
        ]
        return _write_both(run, folder, out_of_fold=pa.concat_tables(found[0].values()), test=found[1])

    return Stage(name=f"predict/{slug}", config={}, inputs=tuple(trained), action=action)


def epochs_stage(run: Run, slug: str, trained: Sequence[Stage], untuned: Stage) -> Stage:
    """The same, each fold being the mean over its kept epochs and its last one (EMMA, ensemble over epochs).

    The epochs were chosen by their score on the held-out frames, and the others left no predictions: so nobody knows
    what the choice is worth on videos that it did not see.
    """

    def action(folder: Path) -> dict[str, Any]:
        found: list[dict[str, pa.Table]] = [{}, {}]
        for stage in trained:
            kept = ["", *read_result(run.path(stage))["kept"]]
            for tables, name in zip(found, ("held_out", "test"), strict=True):
                members = {epoch: _read(run, stage, "predictions", epoch, f"{name}.parquet") for epoch in kept}
                tables[stage.name] = mean_of(members, run.recipe.track)
        summary = _write_both(run, folder, out_of_fold=pa.concat_tables(found[0].values()), test=found[1])
        last = pa.concat_tables(_read(run, stage, "predictions", "held_out.parquet") for stage in trained)
        tuning = {"untuned": _score(run, last), "in_sample": summary["score"], "cross_fitted": None}
        write_json(folder / TUNING, tuning)
        return {"tuning": tuning, "in_sample": True, **summary}

    return Tuned(
        name=f"epochs/{slug}", config={}, inputs=tuple(trained), action=action, untuned=untuned, cross_fitted=False
    )


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
    recipe = run.recipe
    untuned = predictions.untuned if isinstance(predictions, Tuned) else predictions
    known = untuned is predictions

    def action(folder: Path) -> dict[str, Any]:
        from abaw.search.smoothing import search_smoothing  # Optuna

        tables = {name: _read(run, predictions, name) for name in (OUT_OF_FOLD, TEST)}
        found = search_smoothing(
            tables[OUT_OF_FOLD], recipe.track, trials=recipe.trials, seed=recipe.seed, storage=folder.absolute()
        )
        told = write_treated(folder, tables, recipe.track, found, seed=recipe.seed, known=known)
        treated = read_predictions(folder / OUT_OF_FOLD, recipe.track)
        summary = summary_over_workers(treated, recipe.track, Worker(), seed=recipe.seed)
        return {"smoothing": told, "in_sample": True, **summary}

    config = {"trials": recipe.trials, "seed": recipe.seed}
    return Tuned(
        name=f"search/{slug}", config=config, inputs=(predictions,), action=action, untuned=untuned, cross_fitted=known
    )


def write_treated(
    folder: Path,
    tables: Mapping[str, pa.Table],
    track: Track,
    found: "Mapping[str, SmoothingResult]",
    *,
    seed: int,
    known: bool = True,
) -> dict[str, Any]:
    """What a search on out-of-fold predictions leaves: `tables` treated as was found, and `smoothing.json`.

    Where it is `known` what the find is worth, so too `CROSS_FITTED`; else the predictions were tuned before, and only
    the in-sample scores are told. `seed` is that of the search. Returns what `smoothing.json` holds.
    """
    from abaw.search.smoothing import apply_cross_fitted, apply_result  # Optuna

    for name, table in tables.items():
        write_predictions(apply_result(table, track, found), folder / name)
    told: dict[str, Any] = plain(found)
    if known:
        crossed = apply_cross_fitted(tables[OUT_OF_FOLD], track, found, seed=seed)
        write_predictions(crossed, folder / CROSS_FITTED)
    else:
        told = {task: {**one, "untuned": None, "cross_fitted": None} for task, one in told.items()}
    write_json(folder / SMOOTHING, told)
    return told


def ensemble_stage(run: Run, members: Sequence[Stage]) -> Stage:
    """Mean of the last predictions of all starts; where these were tuned, what that is worth is told three ways."""
    tuned = [stage for stage in members if isinstance(stage, Tuned)]
    assert len(tuned) in (0, len(members)), "all starts of a recipe are treated alike"

    def action(folder: Path) -> dict[str, Any]:
        tables = {stage.name: _read(run, stage, TEST) for stage in members}
        write_predictions(mean_of(tables, run.recipe.track), folder / TEST)
        result: dict[str, Any] = {"members": list(tables)}
        if tuned:
            known = all(stage.cross_fitted for stage in tuned)
            result["tuning"] = {
                "untuned": _score_of_mean(run, [stage.untuned for stage in tuned], OUT_OF_FOLD),
                "in_sample": _score_of_mean(run, tuned, OUT_OF_FOLD),
                "cross_fitted": _score_of_mean(run, tuned, CROSS_FITTED) if known else None,
            }
            write_json(folder / TUNING, result["tuning"])
        return result

    return Stage(name="ensemble", config={}, inputs=tuple(members), action=action)


def _score_of_mean(run: Run, stages: Sequence[Stage], name: str) -> float:
    """The track's score of the mean of the labelled tables of this name."""
    return _score(run, mean_of({stage.name: _read(run, stage, name) for stage in stages}, run.recipe.track))


def _score(run: Run, table: pa.Table) -> float:
    return statistics_of(table, run.recipe.track).compute()[run.recipe.track.score]


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
