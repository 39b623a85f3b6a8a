"""Counts by video: what is pooled, resampled and kept gives the same scores as the frames themselves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from abaw.intervals import score_interval
from abaw.tracks import TRACKS
from leaderboard.per_video import by_source, count, fold_scores, from_json, intervals, pooled, to_json
from leaderboard.scoring import score_file

VA, LSD = TRACKS["va"], TRACKS["lsd"]


def frames(videos: list[str], rows: int = 40) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    true_ND = rng.uniform(-1, 1, (rows * len(videos), 2))
    level_N1 = np.repeat(rng.uniform(0, 1, len(videos)), rows)[:, None]
    return {
        "image": pl.Series([f"{video}/{k:05d}.jpg" for video in videos for k in range(1, rows + 1)]),
        "decided": {"va": np.clip(true_ND * level_N1, -1, 1)},
        "true": {"va": true_ND},
        "mask": {"va": rng.random(len(true_ND)) < 0.9},
    }


def test_the_order_of_the_rows_does_not_matter() -> None:
    given = frames(["b", "a", "c"])
    shuffled = np.random.default_rng(0).permutation(120)
    other = {"image": given["image"][shuffled]}
    other |= {key: {"va": given[key]["va"][shuffled]} for key in ("decided", "true", "mask")}
    one, two = count(VA, **given), count(VA, **other)
    assert [part.video for part in one] == [part.video for part in two] == ["a", "b", "c"]
    assert pooled(VA, one).compute()["S_VA"] == pytest.approx(pooled(VA, two).compute()["S_VA"], abs=1e-12)


def test_counts_kept_as_json_are_the_same_to_the_last_bit() -> None:
    counted = count(VA, **frames(["a", "b"]), fold=pl.Series([0] * 40 + [1] * 40))
    again = from_json(VA, json.loads(json.dumps(to_json(counted))))
    assert pooled(VA, again).compute() == pooled(VA, counted).compute()
    assert [(one.video, one.fold, one.frames) for one in again] == [("a", 0, 40), ("b", 1, 40)]


def test_two_people_of_one_video_are_drawn_together() -> None:
    counted = count(VA, **frames(["a", "b_left", "b_right", "c"]))
    sources = by_source(VA, counted)
    assert list(sources) == ["a", "b", "c"]
    found = intervals(VA, counted)
    assert found["S_VA"] == score_interval(VA, list(sources.values()))
    assert set(found) == {"CCC_valence", "CCC_arousal", "S_VA"}
    assert intervals(VA, count(VA, **frames(["b_left", "b_right"]))) == {}, "one video has no interval"


def test_a_fold_is_scored_on_its_own_videos() -> None:
    given = frames(["a", "b", "c"])
    counted = count(VA, **given, fold=pl.Series([0] * 40 + [1] * 80))
    alone = count(VA, given["image"][:40], *({"va": given[key]["va"][:40]} for key in ("decided", "true", "mask")))
    scores = fold_scores(VA, counted)
    assert set(scores) == {0, 1}
    assert scores[0] == pytest.approx(pooled(VA, alone).compute()["S_VA"], abs=1e-12)
    assert fold_scores(VA, count(VA, **given)) == {}


def test_a_video_without_a_label_of_one_task_shows_the_others(tmp_path: Path) -> None:
    path, truth = tmp_path / "s.txt", tmp_path / "t.txt"
    head, units = "image,valence,arousal,expression,aus\n", ",0" * 12
    path.write_text(head + f"a/00001.jpg,0,0,1{units}\nb/00001.jpg,0.5,1,2{units}\n")
    truth.write_text(head + f"a/00001.jpg,0,0,1{units}\nb/00001.jpg,0.5,1,-1{',1' * 12}\n")
    a, b = (one.metrics() for one in score_file(path, TRACKS["mtl"], truth).counted)
    assert "P_MTL" in a
    assert set(b) == {"CCC_valence", "CCC_arousal", *(f"F1_{unit}" for unit in TRACKS["mtl"].task("au").columns)}


def test_stills_have_no_interval(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text("image,expression\n0.jpg,1\n1.jpg,2\n")
    result = score_file(path, LSD, path)
    assert (result.intervals, result.labelled) == ({}, {"expr": 2})
