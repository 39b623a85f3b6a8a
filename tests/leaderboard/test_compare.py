"""Comparisons: a better entry is told from a worse one, noise is not, and both must be scored on the same videos."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.compare import Comparison, Contender, compare, holm, warning
from leaderboard.per_video import count, pooled

EXPR = TRACKS["expr"]
VIDEOS = [f"v{k}" for k in range(12)]


def contender(name: str, accuracy: float, *, seed: int, better_on: str = "", videos: Any = VIDEOS) -> Contender:
    """Labels are the same for all; `better_on` names a video that is predicted without an error."""
    true_N = np.random.default_rng(0).integers(0, 8, 60 * len(VIDEOS))[: 60 * len(videos)]
    rng = np.random.default_rng(seed)
    video_N = np.repeat(videos, 60)
    right_N = (rng.random(len(true_N)) < accuracy) | (video_N == better_on)
    decided_N = np.where(right_N, true_N, rng.integers(0, 8, len(true_N)))
    image = pl.Series([f"{video}/{k % 60 + 1:05d}.jpg" for k, video in enumerate(video_N)])
    arrays = [{"expr": values[:, None].astype(float)} for values in (decided_N, true_N)]
    return Contender(name=name, counted=count(EXPR, image, *arrays, {"expr": np.ones(len(true_N), bool)}))


def one(a: Contender, b: Contender) -> Comparison:
    (found,) = compare(EXPR, [a, b])
    return found


def test_a_better_entry_is_better_and_the_difference_is_that_of_the_scores() -> None:
    a, b = contender("a", 0.6, seed=1), contender("b", 0.4, seed=2)
    found = one(a, b)
    scores = [pooled(EXPR, side.counted).compute()["S_EXPR"] for side in (a, b)]
    assert found.score.difference == pytest.approx(scores[0] - scores[1], abs=1e-12)
    assert 0 < found.score.interval.low < found.score.difference < found.score.interval.high
    assert found.p == pytest.approx(2 / 1001)
    back = one(b, a)
    assert back.score.difference == -found.score.difference
    assert back.score.interval.low == pytest.approx(-found.score.interval.high, abs=1e-12)


def test_before_the_reveal_a_tuned_side_is_named_without_its_scores() -> None:
    a, b = contender("a", 0.6, seed=1), contender("b", 0.4, seed=2)
    found = one(a, replace(b, tuned=True))
    assert found.as_json()["tuned"] == [{"name": "b", "compared": "as submitted", "scores": None}]
    assert str(found.tuned[0]).startswith("b was tuned on labels (three scores at reveal); compared is its score as")
    score = pooled(EXPR, a.counted).compute()["S_EXPR"]
    for in_sample, compared in ((score + 1e-5, "in-sample"), (score + 1e-2, "as submitted"), (None, "as submitted")):
        three = {"untuned": 0.1, "in_sample": in_sample, "cross_fitted": None}
        found = one(replace(a, tuned=True, tuning={"expr": three}), b)
        assert found.as_json()["tuned"] == [{"name": "a", "compared": compared, "scores": three}]


def test_equal_entries_do_not_differ() -> None:
    found = one(contender("a", 0.5, seed=1), contender("b", 0.5, seed=1))
    assert (found.score.difference, found.p, set(found.videos.values())) == (0, 1, {0})


def test_pairing_finds_what_two_intervals_hide() -> None:
    """The same errors but for few frames: the intervals of the scores overlap, the one of the difference does not."""
    a = contender("a", 0.5, seed=1)
    b = contender("b", 0.45, seed=1)
    found = one(a, b)
    assert found.score.interval.low > 0


def test_the_video_and_the_classes_that_made_it_come_first() -> None:
    a, b = contender("a", 0.5, seed=1, better_on="v7"), contender("b", 0.5, seed=1)
    found = one(a, b)
    assert next(iter(found.videos)) == "v7"
    assert found.videos["v7"] == pytest.approx(found.score.difference, abs=1e-12), "without it they are equal"
    sizes = [abs(metric.difference) for metric in found.metrics.values()]
    assert sizes == sorted(sizes, reverse=True)
    assert set(found.metrics) == {*(f"F1_{name}" for name in EXPR.columns), "accuracy", "S_EXPR"} - {""}


def test_other_videos_or_labels_are_refused() -> None:
    a, fewer = contender("a", 0.5, seed=1), contender("b", 0.5, seed=1, videos=VIDEOS[:10])
    with pytest.raises(BadInput, match=r"b: was scored on other videos or labels than the first \(v10, v11\)"):
        compare(EXPR, [a, fewer])
    with pytest.raises(BadInput, match="two videos or more"):
        compare(EXPR, [contender("a", 0.5, seed=1, videos=VIDEOS[:1])] * 2)


def test_stills_are_not_resampled_by_their_folders() -> None:
    a, b = contender("FEAR", 0.5, seed=1), contender("ANGER", 0.5, seed=2)
    with pytest.raises(BadInput, match="the images of track lsd are stills: there are no videos to resample"):
        compare(TRACKS["lsd"], [a, b])


def test_several_comparisons_are_adjusted_and_said() -> None:
    others = [contender(f"b{k}", 0.5, seed=k) for k in range(2, 6)]
    found = compare(EXPR, [contender("a", 0.5, seed=1), *others])
    assert [one.adjusted_p for one in found] == holm([one.p for one in found])
    assert "4 comparisons" in warning(4, 0)
    assert "10 entries: if this pair was picked from its 45 pairs" in warning(1, 10)
    assert warning(1, 2) == ""


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(p: list[float]) -> None:
    adjusted = holm(p)
    for raw, ours in zip(p, adjusted, strict=True):
        assert raw <= ours <= min(1.0, raw * len(p)) + 1e-15 or ours == max(adjusted)
    order = np.argsort(p, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
