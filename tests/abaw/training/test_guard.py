"""Gradients that are no numbers or explode are not followed; after ten in a row training has diverged."""

import math

import pytest

from abaw.training.guard import MOST_IN_A_ROW, SETTLED, DivergedError, Guard


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_is_skipped_and_counted(norm):
    guard = Guard()
    assert guard.allows(1.0)
    assert not guard.allows(norm)
    assert guard.allows(1.0)
    assert guard.skipped == 1


def test_an_exploding_gradient_is_known_once_the_usual_one_is():
    guard = Guard()
    assert guard.allows(5000.0)  # nothing is usual yet
    guard = Guard()
    for _ in range(SETTLED):
        assert guard.allows(2.0)
    assert guard.allows(1999.0)
    guard = Guard()
    for _ in range(SETTLED):
        guard.allows(2.0)
    assert not guard.allows(2001.0)


def test_ten_in_a_row_is_divergence_and_nine_are_not():
    guard = Guard()
    for _ in range(MOST_IN_A_ROW - 1):
        assert not guard.allows(math.nan)
    assert guard.allows(1.0)
    for _ in range(MOST_IN_A_ROW - 1):
        guard.allows(math.nan)
    with pytest.raises(DivergedError, match="10 steps in a row had a gradient of norm nan, usually 1"):
        guard.allows(math.nan)


def test_a_guard_remembers_across_a_checkpoint():
    guard = Guard()
    for _ in range(SETTLED):
        guard.allows(2.0)
    guard.allows(math.nan)
    guard.slow_down()
    fresh = Guard()
    fresh.load(guard.state())
    assert (fresh.rate, fresh.skipped) == (0.1, 1)
    assert not fresh.allows(2001.0)
