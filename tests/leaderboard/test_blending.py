"""From weights to predictions, by hand: weighted means, logits, stacking, ranks, and one member left out."""

import math

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import ArrayLike

from abaw.tracks import TRACKS
from leaderboard.blending import Method, Name, Weights, alone, blend, blend_ranks, out_of_logits, uniform, without
from leaderboard.members import Members

VA, EXPR, AU = (TRACKS[name] for name in ("va", "expr", "au"))


def members(track: str, x_MNC: ArrayLike) -> Members:
    scores_MNC = np.asarray(x_MNC, dtype=np.float32)
    names = tuple(f"m{member}" for member in range(len(scores_MNC)))
    common = pa.table({"frame": np.arange(scores_MNC.shape[1])})
    return Members(track=TRACKS[track], names=names, common=common, scores={track: scores_MNC})


def weights(track: str, share_MC: ArrayLike, bias_C: ArrayLike) -> Weights:
    return Weights(share={track: np.array(share_MC, dtype=float)}, bias={track: np.array(bias_C, dtype=float)})


def test_the_defaults_are_those_of_the_docs() -> None:
    assert Method(name="greedy") == Method(name="greedy", logits=False, per="task", picks=25, bags=0, ridge=0.01)


@pytest.mark.parametrize(
    ("name", "chooses"), [("mean", False), ("ranks", False), ("weighted", True), ("greedy", True), ("stacking", True)]
)
def test_what_chooses_by_labels_or_averages_logits_prepares_its_members(name: Name, chooses: bool) -> None:
    assert Method(name=name).chooses == Method(name=name).prepares == chooses
    assert Method(name=name, logits=True).prepares


def test_even_weights_and_one_member_alone() -> None:
    even, one = uniform(VA, 4), alone(VA, 3, 1)
    assert even.share["va"].tolist() == [[0.25, 0.25]] * 4
    assert one.share["va"].tolist() == [[0, 0], [1, 1], [0, 0]]
    assert even.bias["va"].tolist() == one.bias["va"].tolist() == [0, 0]


def test_the_share_of_one_left_out_goes_to_the_others_in_proportion_or_evenly() -> None:
    left = without(weights("va", [[0.5, 1.0], [0.3, 0.0], [0.2, 0.0]], [0.25, 0]), 0)
    np.testing.assert_allclose(left.share["va"], [[0, 0], [0.6, 0.5], [0.4, 0.5]], rtol=1e-12)
    assert left.bias["va"].tolist() == [0.25, 0]


def test_a_weighted_mean_of_all_rows_or_some_and_its_offset() -> None:
    pair = members("va", [[[0.5, 0.25], [1, -1], [0, 0]], [[0.25, 0.75], [0, 0.5], [1, 1]], [[9, 9]] * 3])
    mixed = weights("va", [[0.5, 0.25], [0.5, 0.75], [0, 0]], [0, 0.125])
    expected = [[0.375, 0.75], [0.5, 0.25], [0.5, 0.875]]
    assert blend(pair, mixed, Method(name="weighted"))["va"].tolist() == expected
    rows_N = np.array([True, False, True])
    assert blend(pair, mixed, Method(name="weighted"), rows_N)["va"].tolist() == [expected[0], expected[2]]
    tenth = blend(members("va", [[[0.1, 0.1]]]), uniform(VA, 1), Method(name="mean"))["va"]
    assert (tenth == np.float64(np.float32(0.1))).all(), "as a file holds it"


def test_stacked_values_are_kept_in_the_range_of_their_task() -> None:
    method = Method(name="stacking")
    va = blend(members("va", [[[0.75, -0.75], [0.25, 0.5]]]), weights("va", [[2, 2]], [0, 0]), method)["va"]
    assert va.tolist() == [[1, -1], [0.5, 1]]
    au = blend(members("au", [[[0.75, 0.25, *[0.5] * 10]]]), weights("au", [[2] * 12], [0, -1, *[0] * 10]), method)[
        "au"
    ]
    assert au.tolist() == [[1, 0, *[1] * 10]]
    expr = blend(members("expr", [[[0.75, 0.25, *[0] * 6]]]), weights("expr", [[1] * 8], [0] * 7 + [-1]), method)
    np.testing.assert_allclose(expr["expr"], [[0.75, 0.25, *[1e-6] * 6]], rtol=1e-5)


def test_means_of_logits_become_probabilities_again() -> None:
    method = Method(name="mean", logits=True)
    log3 = math.log(3)
    au = blend(members("au", [[[log3] * 12], [[-log3] * 6 + [log3] * 6]]), uniform(AU, 2), method)["au"]
    np.testing.assert_allclose(au, [[0.5] * 6 + [0.75] * 6], rtol=1e-6)
    expr = blend(members("expr", [[[1000, 1000 + log3, *[0] * 6]]]), uniform(EXPR, 1), method)["expr"]
    np.testing.assert_allclose(expr, [[0.25, 0.75, *[0] * 6]], rtol=1e-4)
    np.testing.assert_allclose(out_of_logits(np.log([[1, 2, 5.0]]), EXPR.tasks[0]), [[0.125, 0.25, 0.625]])
    va = blend(members("va", [[[0.5, -0.5]]]), uniform(VA, 1), method)["va"]
    assert va.tolist() == [[0.5, -0.5]], "values have no logits"


def test_the_mean_of_ranks_in_the_members_mean_values() -> None:
    # Ranks of the rows: 0 1 2 3; 1.5 1.5 0 3, where two tie; 3 2 1 0.
    trio = members("va", [[[x, -x] for x in own] for own in ([0, 0.25, 0.5, 1], [0.5, 0.5, 0, 1], [1, 0.5, 0.25, 0])])
    pair = blend_ranks(trio, left_out=2)["va"]
    # Mean ranks of the first two 0.75, 1.25, 1, 3; mean values by rank 0, 0.375, 0.5, 1.
    assert pair[:, 0].tolist() == [0, 0.5, 0.375, 1]
    assert pair[:, 1].tolist() == [0, -0.5, -0.375, -1]
    # Mean ranks of all 1.5, 1.5, 1, 2; mean values by rank 0, 1/3, 1/2, 1: who ties is half way between two of them.
    every = blend_ranks(trio)["va"]
    np.testing.assert_allclose(every[:, 0], [5 / 12, 5 / 12, 0, 1], rtol=1e-6)


def test_ranks_of_classes_still_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    found = blend_ranks(members("expr", rng.dirichlet(np.ones(8), (3, 5))))["expr"]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert (found > 0).all()
