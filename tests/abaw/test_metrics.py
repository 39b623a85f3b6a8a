"""`abaw.metrics` against exact fractions, scikit-learn and plain loops; splitting the frames changes nothing."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from abaw.metrics import BinaryCounts, Concordance, Confusion, TopK, TrackStatistics, score
from abaw.tracks import ACTION_UNITS, EXPRESSIONS, TRACKS, get_track

MTL = get_track("mtl")
SEEDS = st.integers(0, 2**32 - 1)


def exact_ccc(predicted, true):
    """Lin's concordance in exact fractions: 2 cov / (var + var + (mean - mean)^2), all with 1/n."""
    p, t, n = [Fraction(x) for x in predicted], [Fraction(x) for x in true], len(predicted)
    mean_p, mean_t = sum(p) / n, sum(t) / n
    covariance = sum((a - mean_p) * (b - mean_t) for a, b in zip(p, t, strict=True)) / n
    var_p, var_t = sum((a - mean_p) ** 2 for a in p) / n, sum((b - mean_t) ** 2 for b in t) / n
    bottom = var_p + var_t + (mean_p - mean_t) ** 2
    return float(2 * covariance / bottom) if bottom else 0.0


def cut(rng, rows, pieces):
    """Slices of random lengths, empty ones among them, that cover the rows."""
    edges = np.sort(rng.integers(0, rows + 1, pieces - 1))
    return [slice(a, b) for a, b in zip([0, *edges], [*edges, rows], strict=True)]


def merged(rng, parts):
    """All parts merged into one, in a random order and with random partners."""
    parts = list(parts)
    while len(parts) > 1:
        rng.shuffle(parts)
        parts[-2].merge(parts[-1])
        parts.pop()
    return parts[0]


def mtl_batch(rng, rows):
    """Decisions, truth with NaN or a sentinel under the mask, and masks of the MTL track."""
    decided = {
        "va": rng.uniform(-1, 1, (rows, 2)),
        "expr": rng.integers(0, 8, (rows, 1)).astype(float),
        "au": rng.integers(0, 2, (rows, 12)).astype(float),
    }
    true = {
        "va": np.clip(decided["va"] + rng.normal(0, 0.3, (rows, 2)), -1, 1),
        "expr": np.where(rng.random((rows, 1)) < 0.5, decided["expr"], rng.integers(0, 8, (rows, 1))),
        "au": np.where(rng.random((rows, 12)) < 0.5, decided["au"], rng.integers(0, 2, (rows, 12))).astype(float),
    }
    mask = {name: rng.random(rows) < 0.7 for name in true}
    for name, hole in (("va", -5.0), ("expr", -1.0), ("au", np.nan)):
        true[name][~mask[name]] = hole
        decided[name][~mask[name]] = np.nan
    return decided, true, mask


@settings(max_examples=150, deadline=None)
@given(
    seed=SEEDS,
    rows=st.integers(1, 60),
    pieces=st.integers(1, 8),
    mean=st.sampled_from([0.0, 0.3, -1e3, 1e6]),
    gap=st.sampled_from([0.0, 0.2, 5.0]),
    spread=st.sampled_from([1e-3, 1.0, 100.0]),
)
def test_concordance_equals_exact_fractions_for_any_split_and_merge_order(seed, rows, pieces, mean, gap, spread):
    rng = np.random.default_rng(seed)
    true = mean + spread * rng.standard_normal((rows, 2))
    predicted = true + gap * spread + 0.5 * spread * rng.standard_normal((rows, 2))
    parts = []
    for piece in cut(rng, rows, pieces):
        parts.append(Concordance(("valence", "arousal")))
        parts[-1].update(predicted[piece], true[piece])
    whole = merged(rng, parts)
    assert whole.n == rows
    for column, name in enumerate(("valence", "arousal")):
        expected = exact_ccc(predicted[:, column], true[:, column])
        assert whole.compute()[f"CCC_{name}"] == pytest.approx(expected, abs=1e-12, rel=0)


def test_concordance_row_by_row_after_an_outlier_and_far_from_zero():
    rng = np.random.default_rng(0)
    true = 1e6 + 1e-2 * rng.standard_normal((2000, 1))
    true[0] = 0.0
    predicted = true + 1e-2 * rng.standard_normal((2000, 1))
    statistic = Concordance(("valence",))
    for row in range(len(true)):
        statistic.update(predicted[row : row + 1], true[row : row + 1])
    assert statistic.compute()["CCC_valence"] == pytest.approx(exact_ccc(predicted[:, 0], true[:, 0]), abs=1e-12, rel=0)


def test_concordance_divides_by_n():
    predicted, true = [0.1, 0.4, 0.3, 0.9], [0.0, 0.5, 0.1, 0.4]
    statistic = Concordance(("valence",))
    statistic.update(np.array(predicted)[:, None], np.array(true)[:, None])
    assert statistic.compute()["CCC_valence"] == pytest.approx(exact_ccc(predicted, true), abs=1e-15)
    n_minus_1 = (
        2
        * np.cov(predicted, true)[0, 1]
        / (np.var(predicted, ddof=1) + np.var(true, ddof=1) + (np.mean(predicted) - np.mean(true)) ** 2)
    )
    assert abs(statistic.compute()["CCC_valence"] - n_minus_1) > 0.01


@pytest.mark.parametrize("value", [0.1, -0.7, 0.0])
@pytest.mark.parametrize("batches", [1, 7])
def test_constant_predictions_or_truth_give_exactly_zero(value, batches):
    rng = np.random.default_rng(1)
    varying = rng.uniform(-1, 1, (70, 2))
    constant = np.full((70, 2), value)
    for predicted, true in ((constant, varying), (varying, constant), (constant, constant)):
        statistic = Concordance(("valence", "arousal"))
        for rows in np.split(np.arange(70), batches):
            statistic.update(predicted[rows], true[rows])
        assert statistic.compute() == {"CCC_valence": 0.0, "CCC_arousal": 0.0}


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 40), classes=st.integers(2, 8), used=st.integers(1, 8))
def test_f1_of_classes_is_scikit_learns_with_fixed_labels(seed, rows, classes, used):
    rng = np.random.default_rng(seed)
    predicted, true = rng.integers(0, min(classes, used), (2, rows, 1))
    statistic = Confusion(EXPRESSIONS[:classes])
    statistic.update(predicted, true)
    expected = f1_score(true, predicted, labels=range(classes), average=None, zero_division=0)
    scores = statistic.compute()
    assert [scores[f"F1_{name}"] for name in EXPRESSIONS[:classes]] == pytest.approx(expected, abs=1e-12)
    assert scores["accuracy"] == pytest.approx(accuracy_score(true, predicted), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 40), rate=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_f1_of_action_units_is_scikit_learns(seed, rows, rate):
    rng = np.random.default_rng(seed)
    predicted, true = rng.random((2, rows, 12)) < rate
    statistic = BinaryCounts(ACTION_UNITS)
    statistic.update(predicted, true)
    expected = f1_score(true, predicted, average=None, zero_division=0)
    assert list(statistic.compute().values()) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 30), levels=st.integers(1, 6))
def test_top_k_ranks_ties_in_the_order_of_the_columns(seed, rows, levels):
    rng = np.random.default_rng(seed)
    scores_NC, true_N1 = rng.integers(0, levels, (rows, 6)).astype(float), rng.integers(0, 6, (rows, 1))
    statistic = TopK((1, 2, 5), "abcdef")
    statistic.update(scores_NC, true_N1)
    order = [sorted(range(6), key=lambda c: (-row[c], c)) for row in scores_NC]
    for k in (1, 2, 5):
        hits = [true in ranked[:k] for ranked, true in zip(order, true_N1[:, 0], strict=True)]
        assert statistic.compute()[f"top{k}"] == pytest.approx(np.mean(hits), abs=1e-12)


@pytest.mark.parametrize("k", [(), (0,), (1, 9)])
def test_top_k_refuses_a_k_that_the_classes_do_not_have(k):
    with pytest.raises(ValueError, match="every k from 1 to 8"):
        TopK(k, EXPRESSIONS)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, rows=st.integers(30, 120), pieces=st.integers(1, 9))
def test_mtl_by_ranks_and_shards_equals_one_shot(seed, rows, pieces):
    rng = np.random.default_rng(seed)
    decided, true, mask = mtl_batch(rng, rows)
    parts = []
    for piece in cut(rng, rows, pieces):
        rank = TrackStatistics(MTL)
        rank.update(*({name: array[piece] for name, array in one.items()} for one in (decided, true, mask)))
        parts.append(TrackStatistics.from_state(MTL, rank.state()))
    assert merged(rng, parts).compute() == pytest.approx(score(MTL, decided, true, mask), abs=1e-12, rel=0)


def test_mtl_scores_each_task_on_its_own_mask():
    decided, true, mask = mtl_batch(np.random.default_rng(2), 300)
    metrics = score(MTL, decided, true, mask)
    kept = {name: (decided[name][mask[name]], true[name][mask[name]]) for name in mask}
    ccc = [exact_ccc(kept["va"][0][:, column], kept["va"][1][:, column]) for column in (0, 1)]
    f1_expr = f1_score(kept["expr"][1], kept["expr"][0], labels=range(8), average="macro", zero_division=0)
    f1_au = f1_score(kept["au"][1], kept["au"][0], average="macro", zero_division=0)
    assert [metrics["CCC_valence"], metrics["CCC_arousal"]] == pytest.approx(ccc, abs=1e-12)
    assert metrics["S_VA"] == pytest.approx(np.mean(ccc), abs=1e-12)
    assert metrics["S_EXPR"] == pytest.approx(f1_expr, abs=1e-12)
    assert metrics["S_AU"] == pytest.approx(f1_au, abs=1e-12)
    assert metrics["P_MTL"] == pytest.approx(np.mean(ccc) + f1_expr + f1_au, abs=1e-12)
    assert len(metrics) == 2 + 1 + 8 + 1 + 1 + 12 + 1 + 1


@pytest.mark.parametrize("track", TRACKS.values(), ids=TRACKS)
def test_a_perfect_prediction_of_every_track_gets_the_best_score(track):
    rng = np.random.default_rng(3)
    true, mask = {}, {}
    for task in track.tasks:
        scores_NC = rng.uniform(0, 1, (400, len(task.columns)))
        if task.kind == "classes":
            scores_NC = np.eye(len(task.columns))[np.arange(400) % len(task.columns)]
        true[task.name], mask[task.name] = task.decide(scores_NC), np.ones(400, dtype=bool)
    metrics = score(track, true, true, mask)
    assert metrics[track.score] == pytest.approx(len(track.tasks), abs=1e-12)
    assert all(np.isfinite(value) for value in metrics.values())


def test_emo135_has_top_k_when_scores_are_given():
    track = get_track("emo135")
    rng = np.random.default_rng(4)
    scores_NC, true_N1 = rng.random((500, 135)), rng.integers(0, 135, (500, 1)).astype(float)
    decided, mask = {"expr": track.tasks[0].decide(scores_NC)}, {"expr": rng.random(500) < 0.8}
    true_N1[~mask["expr"]] = -1
    with_scores = score(track, decided, {"expr": true_N1}, mask, {"expr": scores_NC})
    without = score(track, decided, {"expr": true_N1}, mask)
    assert with_scores["top1"] == with_scores["accuracy"] == without["top1"]
    order_NC = np.argsort(-scores_NC, axis=1)
    for k in (5, 10):
        hits_N = (order_NC[:, :k] == true_N1).any(axis=1)[mask["expr"]]
        assert with_scores[f"top{k}"] == pytest.approx(hits_N.mean(), abs=1e-12)
        assert f"top{k}" not in without


def test_scores_with_some_batches_only_are_refused():
    track = get_track("affectnet7")
    statistics = TrackStatistics(track)
    decided, mask = {"expr": np.zeros((4, 1))}, {"expr": np.ones(4, dtype=bool)}
    statistics.update(decided, decided, mask, {"expr": np.ones((4, 7))})
    statistics.update(decided, decided, mask)
    with pytest.raises(ValueError, match="scores came with 4 of 8 rows; give all or none"):
        statistics.compute()


def test_no_labelled_frame_is_an_error_that_names_track_and_task():
    decided, true, mask = mtl_batch(np.random.default_rng(5), 20)
    mask["va"][:] = False
    with pytest.raises(ValueError, match=r"^track mtl: no labelled frame for task va; nothing to score$"):
        score(MTL, decided, true, mask)
    with pytest.raises(ValueError, match="no rows; nothing to score"):
        Concordance(("valence",)).compute()


@pytest.mark.parametrize(
    ("task", "value", "expected"),
    [
        ("va", -5.0, r"task va: true holds -5 in column 1, counted row 3; expected a number in \[-1, 1\]"),
        ("va", np.nan, "task va: true holds nan"),
        ("expr", 8.0, "task expr: true holds 8 in column 0, counted row 3; expected an integer from 0 to 7"),
        ("expr", 1.5, "task expr: true holds 1.5"),
        ("expr", -1.0, "task expr: true holds -1"),
        ("au", 2.0, "task au: true holds 2 in column 11, counted row 3; expected 0 or 1"),
    ],
)
def test_a_counted_value_outside_the_task_is_refused(task, value, expected):
    decided, true, mask = mtl_batch(np.random.default_rng(6), 20)
    for name in mask:
        mask[name][:], true[name][:], decided[name][:] = True, 0.0, 0.0
    true[task][3, -1] = value
    with pytest.raises(ValueError, match=f"^track mtl, {expected}"):
        score(MTL, decided, true, mask)
    with pytest.raises(ValueError, match=f"^track mtl, {expected.replace('true', 'predicted')}"):
        score(MTL, true, decided, mask)


def test_wrong_shapes_masks_and_missing_tasks_are_refused():
    ones = np.ones((5, 2))
    statistic = Concordance(("valence", "arousal"))
    with pytest.raises(ValueError, match=r"predicted has shape \(5, 3\), expected \(frames, columns\) = \(5, 2\)"):
        statistic.update(np.ones((5, 3)), ones)
    with pytest.raises(ValueError, match=r"true has shape \(5,\)"):
        statistic.update(ones, np.ones(5))
    with pytest.raises(ValueError, match=r"mask is int64 of shape \(5,\), expected booleans of shape \(5,\)"):
        statistic.update(ones, ones, np.ones(5, dtype=np.int64))
    with pytest.raises(ValueError, match="track mtl: true lacks the task expr, au"):
        TrackStatistics(MTL).update(dict.fromkeys(("va", "expr", "au"), ones), {"va": ones}, {})
    assert statistic.n == 0


def test_statistics_of_different_tracks_do_not_mix():
    with pytest.raises(ValueError, match="cannot merge the statistics of track au into those of mtl"):
        TrackStatistics(MTL).merge(TrackStatistics(get_track("au")))
    with pytest.raises(ValueError, match="one kind and have the same columns"):
        Confusion(EXPRESSIONS).merge(Confusion(EXPRESSIONS[:7]))
    with pytest.raises(ValueError, match="not a state of track mtl"):
        TrackStatistics.from_state(MTL, TrackStatistics(get_track("au")).state())
