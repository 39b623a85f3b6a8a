"""The summary of predictions: score with direction and interval, per class, what was counted."""

import numpy as np
import pyarrow as pa
import pytest

from abaw.intervals import score_interval
from abaw.predictions import schema
from abaw.runs import plain
from abaw.tracks import ACTION_UNITS, EXPRESSIONS, get_track
from abaw.training.evaluation import statistics_of, summary_over_workers
from abaw.training.workers import Worker

MTL = get_track("mtl")


def make_table(videos, rows, *, unlabelled=()):
    """Noisy predictions of labels that are all there, but for those of the videos in `unlabelled`."""
    rng, total = np.random.default_rng(0), len(videos) * rows
    video = [name for name in videos for _ in range(rows)]
    bare = np.isin(video, list(unlabelled))
    values = {"video": video, "frame": list(range(1, rows + 1)) * len(videos)}
    for task in MTL.tasks:
        scores = rng.uniform(-1 if task.kind == "regression" else 0, 1, (total, len(task.columns)))
        noisy = np.clip(scores + rng.normal(0, 0.3, scores.shape), -1, 1)
        values |= {name: scores[:, k] for k, name in enumerate(task.columns)}
        true = task.decide(noisy)
        values |= {f"label_{name}": pa.array(true[:, k], mask=bare) for k, name in enumerate(task.label_columns)}
    wanted = schema(MTL)
    arrays = [pa.array(values[name]) if name in values else pa.nulls(total) for name in wanted.names]
    arrays = [array.cast(field.type, safe=False) for array, field in zip(arrays, wanted, strict=True)]
    return pa.table(arrays, schema=wanted)


def test_a_summary_names_the_score_its_direction_the_classes_and_what_was_counted():
    table = make_table(["a", "b", "c", "bare"], 40, unlabelled=["bare"])
    summary = summary_over_workers(table, MTL, Worker(), seed=0)
    assert summary["metrics"] == pytest.approx(statistics_of(table, MTL).compute(), abs=1e-12)
    assert (summary["track"], summary["score_name"], summary["higher_is_better"]) == ("mtl", "P_MTL", True)
    assert summary["score"] == summary["metrics"]["P_MTL"]
    assert (summary["frames"], summary["videos"]) == (120, 3)
    per_class = summary["per_class"]
    assert {name: tuple(values) for name, values in per_class.items()} == {
        "va": ("valence", "arousal"),
        "expr": EXPRESSIONS,
        "au": ACTION_UNITS,
    }
    assert np.mean(list(per_class["au"].values())) == pytest.approx(summary["metrics"]["S_AU"], abs=1e-12)
    interval = summary["interval"]
    assert interval["low"] < summary["score"] < interval["high"]
    assert (interval["level"], interval["resamples"]) == (0.95, 1000)


def test_two_people_of_one_video_are_drawn_together():
    left, right, other = (make_table([name], rows) for name, rows in (("a_left", 40), ("a_right", 50), ("b", 60)))
    together = pa.concat_tables([left, right])
    summary = summary_over_workers(pa.concat_tables([together, other]), MTL, Worker(), seed=0)
    expected = score_interval(MTL, [statistics_of(one, MTL) for one in (together, other)], seed=0)
    assert summary["interval"] == pytest.approx(plain(expected), abs=1e-12)
    assert (summary["videos"], summary["frames"]) == (3, 150)
    assert summary_over_workers(together, MTL, Worker(), seed=0)["interval"] is None, "it is one video"


def test_one_video_has_a_score_and_no_interval():
    summary = summary_over_workers(make_table(["a"], 40), MTL, Worker(), seed=0)
    assert summary["score"] > 0
    assert summary["interval"] is None
