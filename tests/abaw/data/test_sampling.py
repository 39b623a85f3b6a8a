from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.data.sampling import OUTSIDE, Sampling, epoch_order, epoch_size, windows

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=5)


def frames_of(lengths: list[int], classes: list[int | None] | None = None) -> pl.DataFrame:
    names = [name for k, length in enumerate(lengths) for name in [f"v{k}"] * length]
    frames = [frame for length in lengths for frame in range(1, length + 1)]
    table = pl.DataFrame({"video": names, "frame": frames}, schema={"video": pl.String, "frame": pl.Int32})
    return table.with_columns(expression=pl.Series(classes, dtype=pl.Int16)) if classes else table


@st.composite
def samplings(draw: st.DrawFn) -> Sampling:
    """Every kind of sampling."""
    kind = draw(st.sampled_from(["all", "class", "balanced", "windows"]))
    if kind == "class":
        return Sampling(per_class=draw(st.integers(1, 40)))
    if kind == "balanced":
        return Sampling(balanced=True)
    window = draw(st.integers(1, 9)) if kind == "windows" else 0
    return Sampling(one_of=draw(st.integers(1, 4)), window=window, stride=draw(st.integers(0, window)))


@settings(deadline=None, max_examples=60)
@given(lengths=LENGTHS, sampling=samplings(), seed=st.integers(0, 1000), epoch=st.integers(0, 30), data=st.data())
def test_every_epoch_is_reproducible_and_holds_at_least_the_size_that_is_promised(
    lengths: list[int], sampling: Sampling, seed: int, epoch: int, data: st.DataObject
) -> None:
    labels = st.lists(st.sampled_from([None, 0, 1, 5]), min_size=sum(lengths), max_size=sum(lengths))
    table = frames_of(lengths, data.draw(labels))
    order = epoch_order(table, seed=seed, epoch=epoch, sampling=sampling)
    assert np.array_equal(order, epoch_order(table, seed=seed, epoch=epoch, sampling=sampling))
    assert len(order) >= epoch_size(table, sampling)
    assert order.dtype == np.int64
    assert (order.shape[1:] == (sampling.window,)) if sampling.window else (order.ndim == 1)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(one_of=3),
        Sampling(per_class=7),
        Sampling(balanced=True),
        Sampling(window=4, stride=2),
        Sampling(one_of=2, window=4),
    ],
)
def test_epochs_and_seeds_differ(sampling: Sampling) -> None:
    table = frames_of([50, 70], [k % 3 for k in range(120)])
    orders = {
        tuple(epoch_order(table, seed=seed, epoch=epoch, sampling=sampling).flatten())
        for seed in (0, 1)
        for epoch in range(6)
    }
    assert len(orders) == 12


@settings(deadline=None, max_examples=40)
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6), per_class=st.integers(1, 70), first=st.integers(0, 6)
)
def test_each_class_comes_exactly_as_often_as_asked_and_no_frame_twice_before_all(
    counts: list[int], per_class: int, first: int
) -> None:
    classes: list[int | None] = [name for name, count in enumerate(counts) for _ in range(count)]
    table = frames_of([len(classes), 9], [*classes, *[None] * 9]).sample(fraction=1, shuffle=True, seed=1)
    sampling = Sampling(per_class=per_class)
    assert epoch_size(table, sampling) == per_class * len(counts)
    for epoch in range(first, first + 2):
        order = epoch_order(table, seed=0, epoch=epoch, sampling=sampling)
        assert table[order]["expression"].value_counts().sort("expression").rows() == [
            (name, per_class) for name in range(len(counts))
        ]
        for name, count in enumerate(counts):
            times = np.bincount(order[table["expression"].to_numpy()[order] == name], minlength=table.height)
            repeats = times[(table["expression"] == name).fill_null(False).to_numpy()]
            assert repeats.max() - repeats.min() <= 1
            assert len(repeats) == count


def test_successive_epochs_draw_other_frames_until_a_class_is_used_up() -> None:
    table = frames_of([40], [0] * 30 + [1] * 10)
    orders = [set(epoch_order(table, seed=3, epoch=epoch, sampling=Sampling(per_class=10))) for epoch in range(6)]
    assert set.union(*orders[:3]) == set(range(40)) == set.union(*orders[3:])
    assert len({frozenset(order) for order in orders}) == 6


def test_a_balanced_epoch_has_as_many_frames_as_are_labelled_each_class_alike() -> None:
    table = frames_of([100, 5], [*([0] * 90), *([4] * 9), 7, *([None] * 5)])
    order = epoch_order(table, seed=0, epoch=0, sampling=Sampling(balanced=True))
    assert table[order]["expression"].value_counts().sort("expression").rows() == [(0, 33), (4, 33), (7, 33)]
    assert epoch_size(table, Sampling(balanced=True)) == 99
    assert set(order[np.isin(order, range(90, 99))]) == set(range(90, 99))


def test_drawing_by_class_where_nothing_is_labelled_gives_nothing() -> None:
    table = frames_of([10], [None] * 10)
    for sampling in (Sampling(per_class=8), Sampling(balanced=True)):
        assert epoch_size(table, sampling) == 0
        assert len(epoch_order(table, seed=0, epoch=0, sampling=sampling)) == 0


@settings(deadline=None, max_examples=60)
@given(lengths=LENGTHS, window=st.integers(1, 20), data=st.data(), one_of=st.integers(1, 3), epoch=st.integers(0, 20))
def test_windows_are_runs_of_one_video_and_cover_every_frame(
    lengths: list[int], window: int, data: st.DataObject, one_of: int, epoch: int
) -> None:
    table = frames_of(lengths)
    stride = data.draw(st.integers(1, window))
    sampling = Sampling(one_of=one_of, window=window, stride=stride)
    order = epoch_order(table, seed=0, epoch=epoch, sampling=sampling)
    for rows in order:
        inside = rows[rows != OUTSIDE]
        places = np.flatnonzero(rows != OUTSIDE)
        assert len(inside) > 0
        assert (np.diff(places) == 1).all(), "places outside are at the ends only"
        taken = table[inside]
        assert taken["video"].n_unique() == 1
        assert (np.diff(taken["frame"].to_numpy()) == one_of).all()
        left, right = taken["frame"][0] - one_of, taken["frame"][-1] + one_of
        assert places[0] == 0 or left < 1
        assert places[-1] == window - 1 or right > lengths[int(taken["video"][0][1:])]
    counts = np.bincount(order[order != OUTSIDE], minlength=table.height)
    wanted = epoch_order(table, seed=0, epoch=epoch, sampling=Sampling(one_of=one_of))
    assert set(np.flatnonzero(counts)) == set(wanted)
    if stride == window:
        assert counts.max() <= 1
    assert counts.max() <= -(-window // stride)


def test_gaps_of_a_video_show_in_frame_numbers_and_do_not_end_a_window() -> None:
    table = frames_of([10]).filter(~pl.col("frame").is_in([3, 4]))
    (first, second) = windows(table, np.arange(8), sampling=Sampling(window=5), generator=None)
    assert table[first]["frame"].to_list() == [1, 2, 5, 6, 7]
    assert table[second[second != OUTSIDE]]["frame"].to_list() == [8, 9, 10]


def test_where_windows_start_is_fresh_for_each_video_and_epoch() -> None:
    table, sampling = frames_of([64] * 10), Sampling(window=8)
    starts = []
    for epoch in range(10):
        order = epoch_order(table, seed=0, epoch=epoch, sampling=sampling)
        whole = order[(order != OUTSIDE).all(axis=1)]
        phases = pl.DataFrame({"video": table[whole[:, 0]]["video"], "phase": whole[:, 0] % 8}).unique().sort("video")
        assert phases.height == 10, "one phase a video"
        starts.append(tuple(phases["phase"]))
    assert all(len(set(phases)) > 2 for phases in starts)
    assert len(set(starts)) == 10


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"one_of": 0}, "one_of is 0; expected 1 to take every frame"),
        ({"per_class": -1}, "per_class is -1, window is 0; expected 0 or more"),
        ({"window": 4, "stride": 5}, "stride is 5; expected 0 to 4, the window"),
        ({"stride": 1}, "stride is 1; expected 0 to 0, the window"),
        ({"per_class": 8000, "one_of": 10}, "choose frames, each in its own way; give one"),
        ({"balanced": True, "window": 4}, "choose frames, each in its own way; give one"),
        ({"balanced": True, "per_class": 4}, "choose frames, each in its own way; give one"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**fields)


@settings(deadline=None, max_examples=30)
@given(lengths=LENGTHS, one_of=st.integers(1, 12), seed=st.integers(0, 1000), cycle=st.integers(0, 5))
def test_k_epochs_of_one_in_k_see_every_frame_once(lengths: list[int], one_of: int, seed: int, cycle: int) -> None:
    table, sampling = frames_of(lengths), Sampling(one_of=one_of)
    epochs = range(cycle * one_of, (cycle + 1) * one_of)
    orders = [epoch_order(table, seed=seed, epoch=epoch, sampling=sampling) for epoch in epochs]
    assert sorted(np.concatenate(orders)) == list(range(table.height))
    assert epoch_size(table, sampling) == min(len(order) for order in orders)
    for order in orders:
        for (_,), rows in table[order].group_by("video"):
            assert (rows["frame"].sort().diff().drop_nulls() == one_of).all()


def test_offsets_are_fresh_for_each_video_and_epoch() -> None:
    table, sampling = frames_of([100] * 20), Sampling(one_of=10)
    first_frames = []
    for epoch in range(40):
        rows = table[epoch_order(table, seed=0, epoch=epoch, sampling=sampling)]
        first_frames.append(tuple(rows.group_by("video").agg(pl.col("frame").min()).sort("video")["frame"]))
    assert all(len(set(frames)) > 3 for frames in first_frames)
    cycles = [tuple(first_frames[start : start + 10]) for start in range(0, 40, 10)]
    assert len(set(cycles)) == 4
