"""What follows trainings, on made-up tables: what was tuned says so, and what that is worth where it is known."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from abaw.postprocess.smoothing import Smoothing
from abaw.predictions import read_predictions, schema, write_predictions
from abaw.search.evaluation import Candidate
from abaw.search.smoothing import SmoothingResult
from abaw.systems.multitask import MultiTask
from abaw.tracks import get_track
from abaw.training.evaluation import statistics_of
from experiments.outcome_stages import (
    CROSS_FITTED,
    OUT_OF_FOLD,
    TEST,
    Tuned,
    ensemble_stage,
    epochs_stage,
    predictions_stage,
    search_stage,
    write_treated,
)
from experiments.progress import Progress
from experiments.recipe import Recipe
from experiments.run import Run
from experiments.stages import Stage, run_stages
from leaderboard.ensemble import mean_of
from leaderboard.raw import raw_table
from leaderboard.tuned import known_tuning, table_tuning
from leaderboard.tuning import unknown

VA = get_track("va")
WIDE = Smoothing(sigma1=9.0, sigma2=0.0, sigma3=0.0)
FOUND = SmoothingResult(
    smoothing=WIDE, bias=(), thresholds=(), untuned=0.4, in_sample=0.6, cross_fitted=0.5, trials=(),
    halves=(Candidate(smoothing=WIDE), Candidate()),
)  # fmt: skip


def table(seed, videos, *, labels, checkpoint="finetune/a/fold-0"):
    """Noisy predictions of slow labels, the same for every seed."""
    noise, frames = np.random.default_rng(seed), 60
    true = {name: np.sin(np.arange(frames) / 9 + k) for k, name in enumerate(VA.columns)}
    rows = len(videos) * frames
    columns = {"video": np.repeat(videos, frames), "frame": np.tile(np.arange(1, frames + 1), len(videos))}
    for name in VA.columns:
        tiled = np.tile(true[name], len(videos))
        columns[name] = np.clip(tiled + noise.normal(0, 0.5, rows), -1, 1)
        columns[f"label_{name}"] = tiled if labels else [None] * rows
    columns |= {"fold": [0] * rows, "checkpoint": [checkpoint] * rows}
    return pa.table({name: pa.array(columns[name]) for name in schema(VA).names}).cast(schema(VA))


def trained(name, seed):
    """A training of which two epochs were kept."""

    def action(folder):
        for k, epoch in enumerate(("", "epoch-002", "epoch-005")):
            checkpoint = f"{name}/{epoch}" if epoch else name
            held_out = table(seed + k, ["a", "b", "c_left", "c_right"], labels=True, checkpoint=checkpoint)
            write_predictions(held_out, folder / "predictions" / epoch / "held_out.parquet")
            test = table(seed + k + 50, ["x"], labels=False, checkpoint=checkpoint)
            write_predictions(test, folder / "predictions" / epoch / "test.parquet")
        return {"kept": {"epoch-002": 0.5, "epoch-005": 0.4}}

    return Stage(name=name, config=seed, action=action)


@pytest.fixture
def run(tmp_path):
    return Run(recipe=Recipe(name="made-up", system=MultiTask(track="va")), root=tmp_path)


def done(run, *stages):
    run_stages(stages, root=run.root, resources=run.recipe.resources, progress=Progress())


def treated(run, slug, predictions):
    """The stage of a search, but for the search: it has found `FOUND`."""
    stage = search_stage(run, slug, predictions)

    def action(folder):
        tables = {name: read_predictions(run.path(predictions, name), VA) for name in (OUT_OF_FOLD, TEST)}
        write_treated(folder, tables, VA, {"va": FOUND}, seed=0, known=stage.cross_fitted)
        return {}

    return replace(stage, action=action)


def score_of(*paths):
    mean = mean_of({str(path): read_predictions(path, VA) for path in paths}, VA)
    return pytest.approx(statistics_of(mean, VA).compute()["S_VA"], abs=1e-6)


def test_a_mean_over_kept_epochs_is_tuned_and_nobody_knows_what_it_is_worth_elsewhere(run):
    stages = [trained(f"finetune/{slug}/fold-0", seed) for slug, seed in (("a", 0), ("b", 10))]
    plain = [predictions_stage(run, stage.name[9], [stage]) for stage in stages]
    means = [epochs_stage(run, stage.name[9], [stage], one) for stage, one in zip(stages, plain, strict=True)]
    ensemble = ensemble_stage(run, means)
    done(run, *stages, *plain, *means, ensemble)
    held_out = [
        run.path(stages[0], "predictions", epoch, "held_out.parquet") for epoch in ("", "epoch-002", "epoch-005")
    ]
    worth = {"untuned": score_of(held_out[0]), "in_sample": score_of(*held_out), "cross_fitted": None}
    for name in (OUT_OF_FOLD, TEST):
        assert known_tuning([run.path(means[0], name)], None, VA) == {"va": worth}
        assert known_tuning([run.path(plain[0], name)], None, VA) is None
    assert table_tuning(held_out[0], VA) is None
    assert table_tuning(held_out[1], VA) == table_tuning(held_out[1].with_name(TEST), VA) == unknown(VA)
    assert table_tuning(run.path(ensemble, TEST), VA) == {
        "va": {
            "untuned": score_of(*(run.path(one, OUT_OF_FOLD) for one in plain)),
            "in_sample": score_of(*(run.path(one, OUT_OF_FOLD) for one in means)),
            "cross_fitted": None,
        }
    }
    smoothed = treated(run, "a", means[0])
    assert (smoothed.untuned, smoothed.cross_fitted) == (plain[0], False)
    done(run, smoothed)
    assert known_tuning([run.path(smoothed, TEST)], None, VA) == {
        "va": {"untuned": None, "in_sample": 0.6, "cross_fitted": None}
    }
    assert not run.path(smoothed, CROSS_FITTED).exists()


def test_an_ensemble_of_smoothed_rows_is_told_three_ways_and_its_raw_predictions_are_those_of_all(run):
    stages = [trained(f"finetune/{slug}/fold-0", seed) for slug, seed in (("a", 0), ("b", 10))]
    plain = [predictions_stage(run, stage.name[9], [stage]) for stage in stages]
    smoothed = [treated(run, stage.name[9], one) for stage, one in zip(stages, plain, strict=True)]
    assert all(isinstance(one, Tuned) for one in smoothed)
    ensemble, bare = ensemble_stage(run, smoothed), ensemble_stage(run, plain)
    done(run, *stages, *plain, *smoothed, ensemble, bare)
    files = ((plain, OUT_OF_FOLD), (smoothed, OUT_OF_FOLD), (smoothed, CROSS_FITTED))
    ways = [score_of(*(run.path(one, name) for one in rows)) for rows, name in files]
    found = known_tuning([run.path(ensemble, TEST)], None, VA)
    assert found == {"va": dict(zip(("untuned", "in_sample", "cross_fitted"), ways, strict=True))}
    assert len(set(found["va"].values())) == 3
    raw = raw_table([run.path(ensemble, TEST)], VA)
    expected = mean_of({one.name: read_predictions(run.path(one, TEST), VA) for one in plain}, VA)
    assert raw.select(VA.columns).equals(expected.select(VA.columns))
    assert known_tuning([run.path(bare, TEST)], None, VA) is None
    assert json.loads(run.path(smoothed[0], "smoothing.json").read_text())["va"]["cross_fitted"] == 0.5
