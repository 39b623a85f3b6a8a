"""Intervals over videos: the same as scoring the concatenated frames of the resampled videos, and honest in width."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.intervals import draw_videos, resampled_scores, score_interval
from abaw.metrics import TrackStatistics, score
from abaw.tracks import TRACKS, get_track

SEEDS = st.integers(0, 2**32 - 1)


def make_video(rng, track, rows):
    """Frames of one video with a level of their own; some are not annotated, some videos predict a constant."""
    scores, true, mask = {}, {}, {}
    for task in track.tasks:
        scores[task.name] = np.clip(rng.uniform(-0.5, 0.5) + rng.normal(0, 0.2, (rows, len(task.columns))), -1, 1)
        if rng.random() < 0.2:
            scores[task.name][:] = scores[task.name][:1]
        if task.kind == "regression":
            true[task.name] = np.clip(scores[task.name] + rng.normal(0, 0.2, scores[task.name].shape), -1, 1)
        else:
            high = len(task.columns) if task.kind == "classes" else 2
            true[task.name] = rng.integers(0, high, (rows, len(task.label_columns))).astype(float)
        mask[task.name] = rng.random(rows) < rng.choice([0.0, 0.5, 1.0])
    return {task.name: task.decide(scores[task.name]) for task in track.tasks}, true, mask, scores


def statistics_of(track, video):
    counted = TrackStatistics(track)
    counted.update(*video)
    return counted


@given(SEEDS, st.sampled_from(sorted(TRACKS)), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_a_resample_scores_as_its_videos_put_end_to_end(seed, name, count):
    track, rng = get_track(name), np.random.default_rng(seed)
    videos = [make_video(rng, track, int(rows)) for rows in rng.integers(1, 20, count)]
    found = resampled_scores(track, [statistics_of(track, video) for video in videos], seed=seed, resamples=8)
    for value, drawn in zip(found, draw_videos(count, resamples=8, seed=seed), strict=True):
        whole = [
            {task.name: np.concatenate([videos[k][part][task.name] for k in drawn]) for task in track.tasks}
            for part in range(4)
        ]
        if all(whole[2][task.name].any() for task in track.tasks):
            assert value == pytest.approx(score(track, *whole)[track.score], abs=1e-12)
        else:
            assert np.isnan(value)


def test_constant_videos_and_large_means_lose_nothing():
    track = get_track("va")
    videos = [statistics_of(track, make_constant(track, level)) for level in (0.1, 0.1, 0.3, 0.7)]
    found = resampled_scores(track, videos, resamples=50)
    for value, drawn in zip(found, draw_videos(4, resamples=50, seed=0), strict=True):
        levels = {(0.1, 0.1, 0.3, 0.7)[k] for k in drawn}
        assert value == pytest.approx(0.0 if len(levels) == 1 else 1.0, abs=1e-12)


def make_constant(track, level):
    values = {"va": np.full((5, 2), level)}
    return values, values, {"va": np.ones(5, bool)}


def annotated_videos(count, rows, seed=0):
    rng, track = np.random.default_rng(seed), get_track("mtl")
    videos = []
    for _ in range(count):
        decided, true, mask, scores = make_video(rng, track, rows)
        videos.append(statistics_of(track, (decided, true, {name: np.ones(rows, bool) for name in mask}, scores)))
    return track, videos


def test_an_interval_holds_the_score_and_narrows_with_more_videos():
    widths = []
    for count in (8, 128):
        track, videos = annotated_videos(count, 50)
        whole = TrackStatistics(track)
        for video in videos:
            whole.merge(video)
        interval = score_interval(track, videos)
        assert interval.low < whole.compute()["P_MTL"] < interval.high
        assert (interval.level, interval.resamples) == (0.95, 1000)
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 2


def test_an_interval_follows_from_its_seed():
    track, videos = annotated_videos(6, 20)
    assert score_interval(track, videos, seed=3) == score_interval(track, videos, seed=3)
    assert score_interval(track, videos, seed=3) != score_interval(track, videos, seed=4)


def test_resamples_without_a_label_are_left_out_and_counted():
    track = get_track("va")
    labelled, bare = make_constant(track, 0.5), (*make_constant(track, 0.5)[:2], {"va": np.zeros(5, bool)})
    interval = score_interval(track, [statistics_of(track, video) for video in (labelled, bare)])
    drawn = draw_videos(2, resamples=1000, seed=0)
    assert interval.resamples == (drawn == 0).any(axis=1).sum() < 1000


def test_one_video_has_no_interval():
    track, videos = annotated_videos(1, 20)
    with pytest.raises(ValueError, match="needs two of them or more, not 1"):
        score_interval(track, videos)


def test_no_label_for_a_task_is_an_error():
    track = get_track("va")
    bare = statistics_of(track, (*make_constant(track, 0.5)[:2], {"va": np.zeros(5, bool)}))
    with pytest.raises(ValueError, match="no resample has a labelled frame for every task"):
        score_interval(track, [bare, bare])


def test_a_hundred_videos_take_well_under_a_second():
    track, videos = annotated_videos(100, 50)
    started = time.process_time()
    score_interval(track, videos)
    assert time.process_time() - started < 1
