"""The smoothing search on noisy predictions of slow labels, with real Ray; and what a trial computes, without it."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.compute
import pytest

from abaw.folds import fold_group
from abaw.metrics import score
from abaw.postprocess.apply import apply_smoothing
from abaw.postprocess.smoothing import NO_SMOOTHING, Smoothing
from abaw.predictions import LABEL_PREFIX, labels_of, schema, scores_of, write_predictions
from abaw.search.candidates import candidate_at, space_of, start_points
from abaw.search.evaluation import Candidate, Evaluator, search_data
from abaw.search.smoothing import apply_cross_fitted, search_smoothing
from abaw.search.study import complete, open_study
from abaw.search.tuning import Calls, count_points
from abaw.tracks import get_track

MTL = get_track("mtl")
VIDEOS = ("102", "102-30-640x360", "a_left", "a_right", "b", "c", "d")


def predictions(seed=0, frames=150):
    """A table of labels that change slowly and of predictions with noise on each frame; some labels are missing."""
    rng = np.random.default_rng(seed)
    columns = {name: [] for name in schema(MTL).names}
    for video in VIDEOS:
        phase = rng.uniform(0, 2 * np.pi, 21)
        slow_ND = np.sin(np.arange(frames)[:, None] / rng.uniform(10, 25, 21) + phase)
        va, logits, active = slow_ND[:, :2] * 0.8, slow_ND[:, 2:10], slow_ND[:, 9:]
        noisy = np.exp(3 * (logits + rng.normal(0, 0.8, logits.shape)))
        values = {
            "va": np.clip(va + rng.normal(0, 0.4, va.shape), -1, 1),
            "expr": noisy / noisy.sum(axis=1, keepdims=True),
            "au": 1 / (1 + np.exp(-4 * (active + rng.normal(0, 0.8, active.shape)))),
        }
        true = {"va": va, "expr": logits.argmax(axis=1)[:, None], "au": (active > 0).astype(int)}
        columns["video"] += [video] * frames
        columns["frame"] += (1 + 3 * np.arange(frames)).tolist()
        for task in MTL.tasks:
            known = rng.random(frames) < 0.8
            for c, name in enumerate(task.columns):
                columns[name] += values[task.name][:, c].tolist()
            for c, name in enumerate(task.label_columns):
                labels = true[task.name][:, c].tolist()
                columns[LABEL_PREFIX + name] += [
                    one if there else None for one, there in zip(labels, known, strict=True)
                ]
    columns["fold"] = [0] * len(columns["video"])
    columns["checkpoint"] = ["final"] * len(columns["video"])
    return pa.table(columns, schema=schema(MTL)).take(rng.permutation(len(columns["video"])))


def scores_by_task(table):
    """S_VA, S_EXPR and S_AU of a prediction table, by task."""
    labels = {task.name: labels_of(table, task) for task in MTL.tasks}
    metrics = score(
        MTL,
        {task.name: task.decide(scores_of(table, task)) for task in MTL.tasks},
        {name: true for name, (true, _) in labels.items()},
        {name: mask for name, (_, mask) in labels.items()},
    )
    return {task.name: metrics[f"S_{task.name.upper()}"] for task in MTL.tasks}


@pytest.fixture(scope="module")
def found(local_ray, tmp_path_factory):
    """The table and what a search of ten trials finds on it, side by side, in the Ray that is running."""
    table = predictions().sort_by([("video", "ascending"), ("frame", "ascending")])
    with side_by_side():
        return table, search_smoothing(table, MTL, trials=10, seed=0, storage=tmp_path_factory.mktemp("tune"))


@contextmanager
def side_by_side():
    """Trials in batches, as on large tables."""
    from abaw.search import tuning

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "SMALL", 0)
        yield


def test_the_search_beats_no_smoothing_on_every_task(found):
    table, results = found
    untuned = scores_by_task(table)
    assert list(results) == ["va", "expr", "au"]
    for name, result in results.items():
        assert result.untuned == pytest.approx(untuned[name], abs=1e-9)
        assert result.in_sample > result.untuned + 0.03
        assert result.untuned + 0.03 < result.cross_fitted <= result.in_sample + 1e-12
        assert len(result.trials) == 10
        assert result.trials[0].candidate == Candidate(smoothing=NO_SMOOTHING)
        assert result.trials[0].score == result.untuned
        assert result.in_sample == max(trial.score for trial in result.trials)
        best = [trial.candidate.smoothing for trial in result.trials if trial.score == result.in_sample]
        assert result.smoothing in best
        assert len(result.halves) == 2
    json.dumps({name: asdict(result) for name, result in results.items()})


def test_actors_start_side_by_side_unless_the_user_says_otherwise(local_ray, monkeypatch):
    from abaw.search.tuning import PENDING, _starting_at_once

    for before, inside in ((None, ("1", "2")), ("7", ("7", "7"))):
        if before:
            monkeypatch.setenv(PENDING, before)
        for calls, expected in zip((1, 4), inside, strict=True):
            with _starting_at_once(calls):
                assert os.environ[PENDING] == expected
            assert os.environ.get(PENDING) == before


def test_applying_what_was_found_gives_the_score_that_was_told(found):
    table, results = found
    smoothed = apply_smoothing(table, MTL, {name: result.smoothing for name, result in results.items()})
    for name, value in scores_by_task(smoothed).items():
        assert value == pytest.approx(results[name].in_sample, abs=1e-4)


def test_each_half_treated_as_the_other_one_chose_gives_the_cross_fitted_score(found):
    table, results = found
    crossed = apply_cross_fitted(table, MTL, results, seed=0)
    assert crossed.num_rows == table.num_rows
    for name, value in scores_by_task(crossed).items():
        assert value == pytest.approx(results[name].cross_fitted, abs=1e-4)


ONE_CPU = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import ray
from abaw.predictions import read_predictions
from abaw.search import tuning
from abaw.search.smoothing import apply_cross_fitted, search_smoothing
from abaw.tracks import get_track

tuning.SMALL = 0
start = tuning.ray.init
tuning.ray.init = lambda **options: start(**options, num_cpus=1)
mtl, folder = get_track("mtl"), Path(sys.argv[1])
found = search_smoothing(read_predictions(folder / "table.parquet", mtl), mtl, trials=10, seed=0, storage=folder)
assert not ray.is_initialized(), "the search ends the Ray that it started"
print(json.dumps({name: asdict(result) for name, result in found.items()}))
"""


@pytest.mark.slow
def test_a_ray_of_its_own_with_one_cpu_finds_the_same(found, tmp_path):
    table, results = found
    write_predictions(table, tmp_path / "table.parquet")
    done = subprocess.run(
        [sys.executable, "-c", ONE_CPU, str(tmp_path)], capture_output=True, text=True, check=True, timeout=200
    )
    expected = {name: asdict(result) for name, result in results.items()}
    assert json.loads(done.stdout.splitlines()[-1]) == json.loads(json.dumps(expected))


def test_trials_one_by_one_begin_with_the_same_points_and_leave_ray_running(found, tmp_path):
    import ray

    table, results = found
    one_by_one = search_smoothing(table, MTL, trials=7, seed=0, storage=tmp_path)
    assert ray.is_initialized(), "the search leaves the caller's Ray alone"
    assert list(tmp_path.iterdir()) == [], "what Ray Tune keeps is removed"
    for name, result in one_by_one.items():
        assert len(result.trials) == 7
        assert [one.candidate for one in result.trials[:5]] == [one.candidate for one in results[name].trials[:5]]
        assert result.in_sample > result.untuned + 0.03


def test_a_search_that_was_killed_in_its_first_call_still_begins_with_nothing(tmp_path):
    data = search_data(predictions(frames=20), MTL, seed=0)
    spaces = {name: space_of(own, data, decisions=True) for name, own in data.tasks.items()}

    def calls(**options):
        url = f"sqlite:///{tmp_path / 'study.db'}"
        studies = {name: open_study(name, url, config=1, seed=0, **options) for name in data.tasks}
        return Calls(data, studies, spaces, trials=6, hours=None)

    assert calls(resume=False).suggest("killed")["call"] == 0
    again, evaluator = calls(resume=True), Evaluator(data)
    for number in range(2):
        asked = again.suggest(f"call {number}")
        again.on_trial_complete(f"call {number}", {"counted": [count_points(evaluator, asked["points"])]})
    assert again.suggest("call 2") == "FINISHED"
    for name, study in again.studies.items():
        scored = [one.params for one in complete(study)]
        assert len(scored) == 6
        assert scored[:5] == start_points(spaces[name])
        assert candidate_at(scored[0]).smoothing == NO_SMOOTHING
        assert not any(candidate_at(scored[0]).bias)


def test_a_call_that_fails_is_the_last_one(tmp_path):
    data = search_data(predictions(frames=20), MTL, seed=0)
    spaces = {name: space_of(own, data, decisions=False) for name, own in data.tasks.items()}
    calls = Calls(data, {name: optuna.create_study() for name in spaces}, spaces, trials=40, hours=None)
    calls.suggest("a")
    assert calls.suggest("b") is None, "it waits for the first"
    calls.on_trial_complete("a", error=True)
    assert calls.suggest("b") == "FINISHED"


def test_the_halves_keep_both_people_of_a_video_together():
    table = predictions(frames=20)
    data = search_data(table, MTL, seed=0)
    half_of = {}
    for video, half in zip(table["video"].to_pylist(), data.half_N.tolist(), strict=True):
        assert half_of.setdefault(fold_group(video), half) == half
    assert set(half_of.values()) == {0, 1}


def test_a_trial_counts_each_half_as_a_smoothed_table_would():
    table = predictions(frames=30)
    data = search_data(table, MTL, seed=0)
    widths = {"va": Smoothing(sigma1=9, sigma2=2, sigma3=1), "expr": Smoothing(), "au": NO_SMOOTHING}
    counted = {name: Evaluator(data).count(name, Candidate(smoothing=one)) for name, one in widths.items()}
    smoothed = apply_smoothing(table, MTL, widths)
    for half in (0, 1):
        expected = scores_by_task(smoothed.filter(pa.array(data.half_N == half)))
        for name, halves in counted.items():
            assert halves[half].compute()[f"S_{name.upper()}"] == pytest.approx(expected[name], abs=1e-4)


def test_a_search_on_nothing_is_refused(tmp_path):
    table = predictions(frames=5)
    with pytest.raises(ValueError, match="at least 1 trial, not 0"):
        search_smoothing(table, MTL, trials=0, seed=0, storage=tmp_path)
    one_video = table.filter(pa.compute.is_in(table["video"], pa.array(["a_left", "a_right"])))
    with pytest.raises(ValueError, match="k = 2 folds of 1 videos"):
        search_smoothing(one_video, MTL, trials=3, seed=0, storage=tmp_path)
    place = table.schema.get_field_index("label_AU4")
    unlabelled = table.set_column(place, table.schema.field(place), pa.nulls(table.num_rows, pa.int16()))
    with pytest.raises(ValueError, match="track mtl: no labelled frame for task au; nothing to search on"):
        search_smoothing(unlabelled, MTL, trials=3, seed=0, storage=tmp_path)
