"""Gap filling: linear in time, held at the ends, inside one video only."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.postprocess.gaps import fill
from abaw.problems import BadInput


def reference(known, video, frame):
    """The value of the frame, on the line between its known neighbours, or the end's value."""
    frames = sorted(f for v, f in known if v == video)
    before = [f for f in frames if f <= frame]
    after = [f for f in frames if f >= frame]
    left, right = (before or after[:1])[-1], (after or before[-1:])[0]
    a, b = known[video, left], known[video, right]
    share = 0.0 if left == right else (frame - left) / (right - left)
    return a * (1 - share) + b * share


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), known_rows=st.integers(3, 40), wanted_rows=st.integers(0, 60))
def test_fill_is_linear_interpolation_over_frames(seed, known_rows, wanted_rows):
    rng = np.random.default_rng(seed)
    videos = ["102", "102-30-640x360", "a_left"]
    keys = sorted({(videos[i % 3], int(rng.integers(1, 50))) for i in range(known_rows)})
    keys = [keys[i] for i in rng.permutation(len(keys))]
    values_NC = rng.normal(size=(len(keys), 2))
    known = {key: values_NC[row] for row, key in enumerate(keys)}
    wanted = [(videos[rng.integers(3)], int(rng.integers(-5, 60))) for _ in range(wanted_rows)]
    filled = fill(values_NC, [v for v, _ in keys], [f for _, f in keys], [v for v, _ in wanted], [f for _, f in wanted])
    assert filled.shape == (wanted_rows, 2)
    for row, key in enumerate(wanted):
        np.testing.assert_allclose(filled[row], reference(known, *key), rtol=0, atol=1e-12)
        if key in known:
            np.testing.assert_array_equal(filled[row], known[key])


def test_probabilities_still_sum_to_one():
    rng = np.random.default_rng(0)
    values_NC = rng.dirichlet(np.ones(8), size=20)
    filled = fill(values_NC, ["v"] * 20, np.arange(20) * 7, ["v"] * 200, np.arange(200))
    np.testing.assert_allclose(filled.sum(axis=1), 1, atol=1e-12)


def test_polars_and_numpy_videos_are_the_same():
    values_NC, frames = np.array([[0.0], [1.0]]), np.array([1, 3], dtype=np.int32)
    expected = [[0.5]]
    for make in (list, np.array, pl.Series, lambda names: np.array(names, dtype=object)):
        assert fill(values_NC, make(["v", "v"]), frames, make(["v"]), np.array([2])).tolist() == expected


def test_a_wanted_video_without_predictions_lists_all_such_videos():
    with pytest.raises(BadInput) as refused:
        fill([[1.0]], ["102-30-640x360"], [1], ["102", "102-30-640x360", "7", "7"], [1, 2, 3, 4])
    assert [problem.path for problem in refused.value.problems] == ["102", "7"]
    assert "102: no frame of this video has a prediction" in str(refused.value)


def test_bad_known_rows_are_refused():
    with pytest.raises(ValueError, match="video v has frame 4 more than once"):
        fill([[0.0]] * 5, ["v", "v", "w", "v", "v"], [4, 4, 4, 9, 9], ["v"], [1])
    with pytest.raises(ValueError, match="the prediction in row 1 is not finite"):
        fill([[0.0], [np.nan]], ["v", "v"], [1, 2], ["v"], [1])
    with pytest.raises(ValueError, match=r"predictions have shape \(1, 1\), expected \(2 frames, columns\)"):
        fill([[0.0]], ["v", "v"], [1, 2], ["v"], [1])
    with pytest.raises(ValueError, match="2 videos but 1 frames"):
        fill([[0.0]], ["v", "v"], [1], ["v"], [1])
    with pytest.raises(ValueError, match="frame numbers must be integers, not float64"):
        fill([[0.0]], ["v"], [1.5], ["v"], [1])
