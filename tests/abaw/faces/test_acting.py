import numpy as np
import pytest

from abaw.faces.acting import LABEL_INTENSITY, make_style, perform
from abaw.faces.action_units import UNITS
from abaw.faces.annotators import annotate, leave_gaps
from abaw.faces.filming import act, labels_of
from abaw.faces.plan import plan_videos, seed_of
from abaw.tracks import EXPRESSIONS


@pytest.fixture(scope="module")
def performances():
    return [act(clip, 0) for clip in plan_videos(videos=40, test_videos=12, frames=100, seed=0)]


def one_episode(name: str, *, seed: int = 0, frames: int = 60):
    style = make_style(seed_of(seed, "style"))
    return perform(seed_of(seed, "act", name), style, (EXPRESSIONS.index(name),), frames, 20)


def test_labels_are_in_range(performances):
    for acted in performances:
        assert np.abs(acted.va_T2).max() <= 1
        assert set(np.unique(acted.au_TA)) <= {0, 1}
        assert ((acted.expression_T >= 0) & (acted.expression_T < 8)).all()
        for values_TU in (acted.intensity_TU, acted.left_TU, acted.right_TU):
            assert values_TU.min() >= 0
            assert values_TU.max() <= 1


def test_an_action_unit_is_labelled_where_its_intensity_is_high(performances):
    for acted in performances:
        np.testing.assert_array_equal(acted.au_TA, acted.intensity_TU[:, :12] > LABEL_INTENSITY)


@pytest.mark.parametrize(
    ("name", "units", "valence", "arousal"),
    [("Happiness", ["AU12"], 1, 1), ("Sadness", ["AU1", "AU15"], -1, -1), ("Surprise", ["AU1", "AU2"], 0, 1),
     ("Fear", ["AU5", "AU20"], -1, 1), ("Anger", ["AU4"], -1, 1), ("Disgust", ["AU10"], -1, 1)],
)  # fmt: skip
def test_an_expression_shows_its_units_and_moves_valence_and_arousal(name, units, valence, arousal):
    apex = slice(25, 35)
    for seed in range(5):
        acted = one_episode(name, seed=seed)
        assert acted.expression_T[0] == 0, "an episode starts in the neutral face"
        assert (acted.expression_T[apex] == EXPRESSIONS.index(name)).all()
        for unit in units:
            assert acted.intensity_TU[apex, UNITS.index(unit)].mean() > 0.45
        moved_2 = acted.va_T2[apex].mean(axis=0) - acted.va_T2[0]
        assert valence == 0 or moved_2[0] * valence > 0.1
        assert moved_2[1] * arousal > 0.05


def test_expression_and_action_units_carry_most_of_valence_and_arousal(performances):
    features = [np.concatenate([np.eye(8)[p.expression_T], p.intensity_TU[:, :12]], axis=1) for p in performances]
    train_ND, test_ND = np.concatenate(features[:40]), np.concatenate(features[40:])
    target_N2, truth_N2 = (np.concatenate([p.va_T2 for p in part]) for part in (performances[:40], performances[40:]))
    weights_D2 = np.linalg.solve(train_ND.T @ train_ND + 0.1 * np.eye(20), train_ND.T @ target_N2)
    explained_2 = 1 - ((truth_N2 - test_ND @ weights_D2) ** 2).mean(axis=0) / truth_N2.var(axis=0)
    assert (explained_2 > 0.65).all()
    assert (explained_2 < 0.97).all(), "a mood that no muscle shows must remain"


def test_neighbouring_frames_are_alike(performances):
    kept = [np.corrcoef(p.va_T2[1:, d], p.va_T2[:-1, d])[0, 1] for p in performances for d in range(2)]
    assert np.mean(kept) > 0.9
    changes = np.mean([np.diff(p.au_TA, axis=0).any(axis=1).mean() for p in performances])
    assert 0.01 < changes < 0.6, "action units neither stay for ever nor flicker in every frame"


def test_the_annotator_is_late_and_errs_a_little(performances):
    late, error = 0, []
    for k, acted in enumerate(performances):
        labels = annotate(seed_of(0, "annotate", k), acted, 20)
        error.append(np.abs(labels["va"] - acted.va_T2).mean())
        for shift in range(1, 4):
            gap = np.abs(labels["va"][shift:] - acted.va_T2[:-shift]).mean()
            late += gap < np.abs(labels["va"] - acted.va_T2).mean()
        assert (labels["au"] != acted.au_TA).mean() < 0.15
    assert late > len(performances), "the trace is not behind the truth"
    assert 0.01 < np.mean(error) < 0.12


def test_gaps_are_stretches_of_about_the_asked_share():
    labels_ND = np.zeros((1000, 2))
    gappy_ND = leave_gaps(np.random.default_rng(0), labels_ND, 0.1)
    missing_N = np.isnan(gappy_ND).any(axis=1)
    assert 0.04 < missing_N.mean() <= 0.1
    assert (np.diff(missing_N.astype(int)) == 1).sum() <= 2
    assert not np.isnan(labels_ND).any(), "the argument stays as it is"


def test_labels_of_a_clip_are_the_same_whenever_they_are_asked_for():
    clip = plan_videos(videos=6, test_videos=2, frames=30, seed=3)[0]
    first, second = labels_of(clip, 3), labels_of(clip, 3)
    assert set(first) == set(clip.tasks)
    for task in clip.tasks:
        np.testing.assert_array_equal(first[task], second[task])
        assert len(first[task]) == clip.frames + clip.extra_labels
