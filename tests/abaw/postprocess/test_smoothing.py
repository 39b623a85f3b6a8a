"""Smoothing against plain loops over equations 6 to 9 of MAE-Face."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.postprocess.apply import apply_smoothing, in_range
from abaw.postprocess.smoothing import NO_SMOOTHING, Smoothing, smooth
from abaw.tracks import get_track

WIDTHS = st.sampled_from([0.0, 0.4, 1.0, 2.5, 7.0])


def gaussian(points, frame, sigma, truncate):
    """Equation 7 at one frame: weights from true frame distance, normalised over the frames that exist."""
    if sigma == 0:
        return points[frame]
    radius = int(truncate * sigma + 0.5)
    near = [(f, x) for f, x in points.items() if abs(f - frame) <= radius]
    weights = [math.exp(-((f - frame) ** 2) / (2 * sigma**2)) for f, _ in near]
    return math.fsum(w * x for w, (_, x) in zip(weights, near, strict=True)) / math.fsum(weights)


def equation_9(points, frame, smoothing):
    g1, g2, g3 = (
        gaussian(points, frame, sigma, smoothing.truncate)
        for sigma in (smoothing.sigma1, smoothing.sigma2, smoothing.sigma3)
    )
    a, b = points[frame] - g2, points[frame] - g3
    return g1 + (a if abs(a) <= abs(b) else b)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 40),
    widths=st.tuples(WIDTHS, WIDTHS, WIDTHS),
    truncate=st.sampled_from([1.5, 4.0]),
)
def test_smoothing_is_equation_9_of_each_video_whatever_the_row_order(seed, rows, widths, truncate):
    rng = np.random.default_rng(seed)
    sigma2, sigma3, sigma1 = sorted(widths)
    smoothing = Smoothing(sigma1=sigma1, sigma2=sigma2, sigma3=sigma3, truncate=truncate)
    keys = sorted({(("102", "102-30-640x360")[i % 2], int(rng.integers(1, 60))) for i in range(rows)})
    keys = [keys[i] for i in rng.permutation(len(keys))]
    values_NC = rng.normal(size=(len(keys), 3))
    smoothed = smooth(values_NC, [v for v, _ in keys], [f for _, f in keys], smoothing)
    for column in range(3):
        points = {}
        for (video, frame), value in zip(keys, values_NC[:, column], strict=True):
            points.setdefault(video, {})[frame] = value
        expected = [equation_9(points[video], frame, smoothing) for video, frame in keys]
        np.testing.assert_allclose(smoothed[:, column], expected, rtol=0, atol=1e-12)


def test_the_default_widths_are_those_of_the_docs():
    assert Smoothing() == Smoothing(sigma1=12, sigma2=4, sigma3=2, truncate=4, gap_limit=0)


def test_what_overshoots_is_cut_to_the_range_of_its_task():
    va, expr, au = get_track("mtl").tasks
    assert in_range(np.array([[1.5, -1.25], [0.5, -0.5]]), va).tolist() == [[1.0, -1.0], [0.5, -0.5]]
    assert in_range(np.array([[1.5, -0.25, 0.25, *[0.75] * 9]]), au).tolist() == [[1.0, 0.0, 0.25, *[0.75] * 9]]
    assert in_range(np.array([[-0.5, 1.5, 0.5, *[0.0] * 5]]), expr).tolist() == [[0.0, 0.75, 0.25, *[0.0] * 5]]


def test_no_smoothing_changes_nothing():
    values_NC = np.random.default_rng(0).normal(size=(20, 2))
    np.testing.assert_array_equal(smooth(values_NC, ["v"] * 20, np.arange(20), NO_SMOOTHING), values_NC)


def test_a_constant_stays_and_a_step_keeps_its_place():
    frames = np.r_[1:200:3, 400:600]
    video = ["v"] * len(frames)
    np.testing.assert_allclose(smooth(np.full((len(frames), 1), 0.3), video, frames, Smoothing()), 0.3, atol=1e-12)
    step_NC = np.where(np.arange(400) < 200, 0.0, 1.0)[:, None]
    plain = smooth(step_NC, ["v"] * 400, np.arange(400), Smoothing(sigma1=12, sigma2=0, sigma3=0))
    kept = smooth(step_NC, ["v"] * 400, np.arange(400), Smoothing(sigma1=12, sigma2=12, sigma3=9))
    assert np.abs(kept - step_NC).max() < 0.3 * np.abs(plain - step_NC).max()


def test_frames_beyond_a_hole_have_their_true_distance():
    frames = np.array([1, 2, 1000])
    smoothed = smooth([[0.0], [0.0], [1.0]], ["v"] * 3, frames, Smoothing(sigma1=5, sigma2=0, sigma3=0))
    assert smoothed[:, 0].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ({"sigma1": 3.0, "sigma2": 4.0, "sigma3": 1.0}, "sigma1 must be at least sigma2 and sigma3"),
        ({"sigma1": 3.0, "sigma2": 1.0, "sigma3": 4.0}, "sigma1 must be at least sigma2 and sigma3"),
        ({"sigma3": -1.0}, "widths must be 0 or more frames"),
        ({"sigma1": float("nan")}, "widths must be 0 or more frames"),
        ({"sigma1": float("inf")}, "widths must be 0 or more frames"),
        ({"truncate": 0.0}, "truncate must be more than 0 widths"),
    ],
)
def test_widths_that_do_not_fit_are_refused(widths, message):
    with pytest.raises(ValueError, match=message):
        Smoothing(**widths)


def test_bad_rows_are_refused():
    with pytest.raises(ValueError, match="video v has frame 4 more than once"):
        smooth([[0.0], [1.0]], ["v", "v"], [4, 4], Smoothing())
    with pytest.raises(ValueError, match="the prediction in row 0 is not finite"):
        smooth([[np.inf], [1.0]], ["v", "v"], [4, 5], Smoothing())


def mtl_table(rng, rows=120):
    """A prediction table of the MTL track, two videos, rows shuffled."""
    track = get_track("mtl")
    columns = {"video": ["a"] * (rows // 2) + ["b"] * (rows // 2), "frame": pa.array(np.arange(rows), pa.int32())}
    values = {
        "va": rng.uniform(-1, 1, (rows, 2)),
        "expr": rng.dirichlet(np.full(8, 0.1), rows),
        "au": rng.random((rows, 12)),
    }
    for task in track.tasks:
        columns |= {name: pa.array(values[task.name][:, c].astype(np.float32)) for c, name in enumerate(task.columns)}
    return track, pa.table(columns | {"label_valence": [None] * rows}).take(rng.permutation(rows))


def test_a_prediction_table_is_smoothed_task_by_task():
    track, table = mtl_table(np.random.default_rng(1))
    widths = Smoothing(sigma1=9, sigma2=2, sigma3=2)
    smoothed = apply_smoothing(table, track, {"au": NO_SMOOTHING, "va": widths, "expr": widths})
    assert smoothed.schema == table.schema
    for name in ("video", "frame", "label_valence", *track.task("au").columns):
        assert smoothed[name].equals(table[name])
    videos, frames = table["video"].to_pylist(), table["frame"].to_numpy()
    scores_NC = {
        name: np.stack([table[column].to_numpy() for column in track.task(name).columns], axis=1)
        for name in ("va", "expr")
    }
    raw = {name: smooth(values, videos, frames, widths) for name, values in scores_NC.items()}
    np.testing.assert_allclose(smoothed["arousal"].to_numpy(), np.clip(raw["va"][:, 1], -1, 1), atol=1e-6)
    expr_NC = np.stack([smoothed[column].to_numpy() for column in track.task("expr").columns], axis=1)
    assert (raw["expr"] < 0).any(), "the table should put the range to the test"
    assert expr_NC.min() >= 0
    np.testing.assert_allclose(expr_NC.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(expr_NC.argmax(axis=1), raw["expr"].argmax(axis=1))


def test_a_table_that_is_not_smoothed_is_not_cut_to_its_range_either():
    track, table = mtl_table(np.random.default_rng(3), rows=4)
    far = table.set_column(
        table.column_names.index("valence"), "valence", pa.array([1.5, -2.0, 0.0, 1.0], pa.float32())
    )
    assert apply_smoothing(far, track, dict.fromkeys(("va", "expr", "au"), NO_SMOOTHING)) == far


def test_smoothing_of_a_task_that_the_track_lacks_is_refused():
    track, table = mtl_table(np.random.default_rng(2))
    with pytest.raises(ValueError, match="track mtl has no task 'eri'; it has va, expr, au"):
        apply_smoothing(table, track, {"eri": Smoothing()})
