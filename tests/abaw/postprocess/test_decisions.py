"""Thresholds and class biases as shifts of probabilities, and the gap that smoothing does not reach across."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from abaw.postprocess.apply import apply_bias
from abaw.postprocess.decisions import shifted, thresholds
from abaw.postprocess.smoothing import Smoothing, smooth
from abaw.predictions import schema
from abaw.tracks import get_track

AU, EXPR, VA = (get_track(name).tasks[0] for name in ("au", "expr", "va"))
BIAS = st.lists(st.floats(-3, 3), min_size=12, max_size=12)


@given(arrays(np.float64, (5, 12), elements=st.floats(0, 1)), BIAS)
def test_a_shifted_unit_is_active_from_its_threshold_on(scores_NC, bias_C):
    shifted_NC = shifted(scores_NC, AU, bias_C)
    threshold_C = 1 / (1 + np.exp(np.array(bias_C)))
    clear_NC = np.abs(scores_NC - threshold_C) > 1e-9
    assert ((shifted_NC >= 0) & (shifted_NC <= 1)).all()
    assert (AU.decide(shifted_NC) == (scores_NC >= threshold_C))[clear_NC].all()
    assert thresholds(bias_C) == pytest.approx(threshold_C, abs=1e-4)


@given(arrays(np.float64, (4, 8), elements=st.floats(0.01, 1)), st.lists(st.floats(-2, 2), min_size=8, max_size=8))
def test_shifted_classes_are_probabilities_in_which_the_biased_one_wins(scores_NC, bias_C):
    scores_NC = scores_NC / scores_NC.sum(axis=1, keepdims=True)
    shifted_NC = shifted(scores_NC, EXPR, bias_C)
    assert shifted_NC.sum(axis=1) == pytest.approx(1)
    biased_NC = np.log(scores_NC) + np.array(bias_C)
    winner_N1 = EXPR.decide(shifted_NC).astype(int)
    assert np.take_along_axis(biased_NC, winner_N1, axis=1)[:, 0] == pytest.approx(biased_NC.max(axis=1))


def test_values_have_no_odds_and_a_bias_has_one_number_a_column():
    with pytest.raises(ValueError, match="task va predicts values"):
        shifted(np.zeros((1, 2)), VA, [1.0, 1.0])
    with pytest.raises(ValueError, match="task au: 2 biases, expected one for each of AU1, "):
        shifted(np.zeros((1, 12)), AU, [1.0, 1.0])


def test_a_table_is_shifted_in_its_task_alone():
    track = get_track("mtl")
    columns = {name: [0.25, 0.5] for name in track.columns} | {"video": ["a", "a"], "frame": [1, 2]}
    empty = {name: [None, None] for name in schema(track).names if name not in columns}
    table = pa.table({name: {**columns, **empty}[name] for name in schema(track).names}, schema=schema(track))
    changed = apply_bias(table, track, {"au": (np.log(3.0),) + (0.0,) * 11, "expr": ()})
    assert changed["AU1"].to_pylist() == pytest.approx([0.5, 0.75])
    assert changed.drop_columns(["AU1"]) == table.drop_columns(["AU1"])


@pytest.mark.parametrize(("gap_limit", "reaches"), [(0, True), (9, True), (8, False)])
def test_smoothing_reaches_across_gaps_up_to_the_limit(gap_limit, reaches):
    frames, values = np.array([1, 2, 3, 13, 14, 15]), np.array([[0.0]] * 3 + [[1.0]] * 3)
    widths = Smoothing(sigma1=5, sigma2=0, sigma3=0, gap_limit=gap_limit)
    smoothed = smooth(values, ["a"] * 6, frames, widths)
    assert (smoothed[2, 0] > 0) == reaches
    assert (smoothed == values).all() != reaches
    with pytest.raises(ValueError, match="gap_limit must be 0"):
        Smoothing(gap_limit=-1)
