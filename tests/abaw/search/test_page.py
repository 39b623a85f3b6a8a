"""The result page: everything that was tried is there, with its reason, in one file."""

import re

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from abaw.search.page import importance, write_page
from abaw.search.study import CUT_OFF, DEVICE_S, REASON

KINDS = {
    "finetune.lr": FloatDistribution(1e-4, 1e-2, log=True),
    "system.depth": IntDistribution(1, 9),
    "system.pool": CategoricalDistribution(("mean", "token")),
}


def trial(k, value=None, state=TrialState.COMPLETE, reason="", reports=()):
    params = {"finetune.lr": 10 ** (-4 + 2 * (k % 10) / 9), "system.depth": 1 + k * 7 % 9, "system.pool": "mean"}
    return create_trial(
        state=state, value=value, params=params, distributions=KINDS, intermediate_values=dict(enumerate(reports)),
        user_attrs={DEVICE_S: 12.5} | ({REASON: reason} if reason else {}),
    )  # fmt: skip


@pytest.fixture
def study():
    """Twenty trials whose score is their rate; then one of each other kind."""
    study = optuna.create_study(direction="maximize")
    study.add_trials([trial(k, value=float(k % 10), reports=[0.1, k % 10]) for k in range(20)])
    study.add_trial(trial(20, state=TrialState.PRUNED, reason="RuntimeError: CUDA out of memory", reports=[0.2]))
    study.add_trial(trial(21, state=TrialState.FAIL, reason="ValueError: <b>no</b> frames"))
    study.add_trial(trial(22, state=TrialState.FAIL, reason=CUT_OFF))
    return study


def test_the_page_holds_every_trial_and_needs_no_other_file(study, tmp_path):
    (tmp_path / "trial-003").mkdir()
    text = write_page(
        tmp_path / "index.html", "demo: rates", {"P_MTL": study}, folder=tmp_path, budget="23 trials"
    ).read_text()
    assert "Budget reached: 23 trials." in text
    assert "20 complete, 1 pruned, 2 failed (1 of them cut off with their search)" in text
    assert "Best: trial 9 with <strong>9.0000</strong>" in text
    assert len(re.findall(r"<td>(?:<a[^>]*>)?trial-\d{3}", text)) == 23
    assert "RuntimeError: CUDA out of memory" in text
    assert "ValueError: &lt;b&gt;no&lt;/b&gt; frames" in text
    assert 'href="trial-003/"' in text
    for chart in ("History", "Scores while training", "Importance", "Slices", "Parallel coordinates"):
        assert f"<h3>{chart}</h3>" in text
    assert text.count("<svg") == 5
    assert not re.search(r'(src|href)="(?!trial-003/|#)', text)
    assert "<script" not in text


def test_what_decides_the_score_is_most_important(study):
    found = importance(study)
    assert next(iter(found)) == "finetune.lr"
    assert sum(found.values()) == pytest.approx(1)


def test_a_search_without_a_score_has_a_page_that_says_why(tmp_path):
    study = optuna.create_study(direction="maximize")
    study.add_trial(trial(0, state=TrialState.FAIL, reason="its process ended without a word"))
    text = write_page(tmp_path / "index.html", "demo", {"P_MTL": study}, folder=tmp_path, budget="").read_text()
    assert "No trial has a score; the table says why." in text
    assert "its process ended without a word" in text
    assert "<svg" not in text
