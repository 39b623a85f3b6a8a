"""The three scores of a tuned choice, on candidates whose scores are known."""

import numpy as np
import pytest

from abaw.metrics import TrackStatistics, score
from abaw.postprocess.crossfit import pooled_score, three_ways
from abaw.tracks import get_track

TRACK = get_track("expr")


def statistics(predicted, true):
    """Statistics of one part of the videos."""
    found = TrackStatistics(TRACK)
    predicted_N1, true_N1 = (np.array(values, dtype=float)[:, None] for values in (predicted, true))
    found.update({"expr": predicted_N1}, {"expr": true_N1}, {"expr": np.ones(len(predicted), dtype=bool)})
    return found


def test_each_part_is_scored_with_what_is_best_on_the_other_parts():
    true_a, true_b = [0, 1, 2, 3], [0, 0, 1, 1, 2]
    good_on_a, good_on_b = ([0, 1, 2, 3], [1, 1, 0, 0, 0]), ([0, 1, 0, 0], true_b)
    untuned = ([0, 0, 0, 0], [0, 0, 0, 0, 0])
    candidates = [
        [statistics(part, true) for part, true in zip(candidate, (true_a, true_b), strict=True)]
        for candidate in (untuned, good_on_a, good_on_b)
    ]
    ways = three_ways(TRACK, candidates)

    def pooled(part_a, part_b):
        arrays = (np.array(values, dtype=float)[:, None] for values in (part_a + part_b, true_a + true_b))
        predicted, true = ({"expr": array} for array in arrays)
        return score(TRACK, predicted, true, {"expr": np.ones(9, dtype=bool)})["S_EXPR"]

    assert ways.best == 2
    assert ways.best_elsewhere == (2, 1)
    assert ways.untuned == pooled(*untuned)
    assert ways.in_sample == pooled(*good_on_b) > pooled(*good_on_a) > ways.untuned
    assert ways.cross_fitted == pooled(good_on_b[0], good_on_a[1]) < ways.in_sample


def test_ties_go_to_the_untuned_candidate():
    same = [statistics([0, 1], [0, 1]), statistics([2], [2])]
    ways = three_ways(TRACK, [same, same, same])
    assert (ways.best, ways.best_elsewhere) == (0, (0, 0))
    assert ways.untuned == ways.in_sample == ways.cross_fitted == pytest.approx(3 / 8)


def test_a_part_is_left_untuned_when_no_other_part_has_labels():
    empty = TrackStatistics(TRACK)
    ways = three_ways(TRACK, [[statistics([1, 1], [0, 1]), empty], [statistics([0, 1], [0, 1]), empty]])
    assert ways.best == 1
    assert ways.best_elsewhere == (0, 1)
    assert ways.in_sample > ways.untuned == ways.cross_fitted


def test_each_of_three_parts_is_left_out_in_turn_and_one_part_is_too_few():
    good, bad = statistics([0, 1], [0, 1]), statistics([1, 0], [0, 1])
    ways = three_ways(TRACK, [[bad, good, good], [good, bad, bad]])
    # Without the first part candidate 0 is right on both others; without another one both are right on one: a tie.
    assert (ways.best, ways.best_elsewhere) == (0, (0, 0, 0))
    assert ways.cross_fitted == pooled_score(TRACK, [bad, good, good])
    with pytest.raises(AssertionError):
        three_ways(TRACK, [[good], [bad]])


def test_no_labels_at_all_is_an_error():
    with pytest.raises(ValueError, match="track expr: no labelled frame for task expr"):
        three_ways(TRACK, [[TrackStatistics(TRACK), TrackStatistics(TRACK)]])


def test_the_parts_are_not_changed_by_pooling():
    parts = [statistics([0, 1], [0, 1]), statistics([1, 1], [0, 1])]
    assert pooled_score(TRACK, parts) == pooled_score(TRACK, parts)
    assert [part.parts["expr"].n for part in parts] == [2, 2]
