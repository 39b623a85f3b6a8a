"""Studies: what is kept, what is refused, and what becomes of trials that were cut off."""

import multiprocessing

import optuna
import pytest
from optuna.trial import TrialState

from abaw.problems import BadInput
from abaw.search.searcher import Budget, StudySearcher, out_of_memory
from abaw.search.space import Choice, Float, Int, opposite_points
from abaw.search.study import CUT_OFF, REASON, complete, cut_off, ended, open_study, try_first

SPACE = {"lr": Float(low=1e-4, high=1e-2, log=True), "depth": Int(low=1, high=4), "pool": Choice(("mean", "token"))}


def study_at(url, **options):
    return open_study("demo/finetune", url, seed=0, **{"config": 1, "resume": False, **options})


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request, tmp_path):
    """A database that is empty."""
    return request.getfixturevalue("postgres")() if request.param == "postgresql" else f"sqlite:///{tmp_path}/study.db"


def name_of_study(name, url):
    return open_study(name, url, config=1, seed=0, resume=False).study_name


def searcher_on(study, *, said=None, noted=None, at_once=8, **budget):
    say = (lambda text: None) if said is None else said.append
    note = (lambda *ended: None) if noted is None else lambda *ended: noted.append(ended)
    budget = Budget(**{"trials": 10, **budget})
    return StudySearcher(study, SPACE, budget=budget, devices=2, at_once=lambda: at_once, say=say, note=note)


def test_a_study_that_is_there_is_only_touched_when_asked(url):
    study = study_at(url)
    study.tell(study.ask(), 0.5)
    with pytest.raises(BadInput) as refused:
        study_at(url)
    assert "holds 1 trials; give --resume to go on, or --overwrite to begin anew" in str(refused.value)
    assert len(complete(study_at(url, resume=True))) == 1
    with pytest.raises(BadInput, match="of other fields or another space; give --overwrite"):
        study_at(url, resume=True, config=2)
    assert study_at(url, overwrite=True, config=2).trials == []


def test_trials_that_were_cut_off_are_failed_with_the_reason_and_cost_no_budget(url):
    study = study_at(url)
    study.tell(study.ask(), 0.5)
    study.ask(), study.ask()
    again = study_at(url, resume=True)
    assert [one.state for one in again.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    assert [one.user_attrs[REASON] for one in cut_off(again)] == [CUT_OFF, CUT_OFF]
    assert [one.number for one in ended(again)] == [0]
    assert searcher_on(again, trials=2).suggest("a")["number"] == 3


def test_what_is_to_be_tried_first_is_tried_again_where_it_was_cut_off_and_not_twice(url):
    study, first = study_at(url), {"lr": 2e-3, "depth": 3}
    try_first(study, first)
    assert searcher_on(study).suggest("killed")["point"].items() >= first.items()
    study = study_at(url, resume=True)
    try_first(study, first)
    searcher = searcher_on(study)
    assert searcher.suggest("a")["point"].items() >= first.items()
    searcher.failed("a", ValueError("no"))
    for point in (first, {}):
        try_first(study, point)
    assert not study.get_trials(states=(TrialState.WAITING,))


@pytest.mark.parametrize("address", ["sqlite:///no/such/folder/x.db", "nonsense", "mysql://ann:secret@host/x"])
def test_a_database_that_cannot_be_opened_is_refused_without_its_password(address):
    with pytest.raises(BadInput, match=r"cannot open this database .*expected sqlite:///FILE or postgresql") as refused:
        open_study("a", address, config=1, seed=0, resume=False)
    assert "secret" not in str(refused.value)


def test_searches_that_begin_at_once_share_a_new_database(url):
    with multiprocessing.get_context("spawn").Pool(6) as pool:
        made = pool.starmap(name_of_study, [(f"demo/{number}", url) for number in range(6)], chunksize=1)
    assert made == [f"demo/{number}" for number in range(6)]


def test_what_becomes_of_trials_goes_into_the_study_and_is_said(url):
    study, said, noted = study_at(url), [], []
    searcher = searcher_on(study, said=said, noted=noted)
    for name in "abcdefg":
        searcher.suggest(name)
    searcher.on_trial_result("a", {"score": 0.4, "epochs": 1, "final": False})
    searcher.on_trial_complete("a", {"score": 0.6, "epochs": 2, "final": True})
    searcher.on_trial_complete("b", {"score": 0.1, "epochs": 3, "final": False})
    searcher.failed("c", RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB"))
    searcher.failed("d", ValueError("an epoch takes 3 frames\nwhich is too few"))
    searcher.on_trial_complete("e", {"score": float("nan"), "epochs": 3, "final": True})
    searcher.on_trial_complete("f", error=True)
    searcher.failed("f", None)
    trials = study.trials
    names = ["COMPLETE", "PRUNED", "PRUNED", "FAIL", "FAIL", "FAIL", "RUNNING"]
    assert [one.state.name for one in trials] == names
    assert trials[0].value == 0.6
    assert trials[0].intermediate_values == {1: 0.4}
    assert [one.user_attrs.get(REASON) for one in trials[1:6]] == [
        "stopped by ASHA after 3 epochs, at 0.1000",
        "RuntimeError: CUDA out of memory. Tried to allocate 20.00 GiB",
        "ValueError: an epoch takes 3 frames",
        "its score is nan",
        "its process ended without a word",
    ]
    assert noted == [(k, one.state.name.lower(), one.user_attrs[REASON]) for k, one in enumerate(trials[1:6], start=1)]
    assert said[0].startswith("trial-000: 0.6000 (")
    assert said[2].startswith("trial-002: pruned: RuntimeError: CUDA out of memory")
    assert said[3].startswith("trial-003: fail: ValueError: an epoch takes 3 frames (")


def test_no_more_trials_than_fit_and_none_beyond_the_budget(url):
    study = study_at(url)
    searcher = searcher_on(study, trials=2, at_once=1)
    assert searcher.suggest("a")["number"] == 0
    assert searcher.suggest("b") is None
    searcher.failed("a", ValueError("no"))
    assert searcher.suggest("b")["number"] == 1
    searcher.on_trial_complete("b", {"score": 1.0, "epochs": 1, "final": True})
    assert searcher.suggest("c") == "FINISHED"
    assert searcher.reached == "2 trials"
    assert searcher_on(study, hours=1e-9).suggest("c") == "FINISHED"
    spent = searcher_on(study, device_hours=1e-9)
    assert spent.suggest("c") == "FINISHED"
    assert spent.reached == "1e-09 device hours"


def test_running_out_of_memory_is_known_in_all_its_forms():
    class Wrapped(Exception):
        def __init__(self, cause):
            super().__init__("task failed")
            self.cause = cause

    assert out_of_memory(Wrapped(MemoryError()))
    assert out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(Wrapped(ValueError("no labelled frame")))
    assert not out_of_memory(None)


def test_opposite_points_differ_in_every_name_and_lie_in_the_space():
    low, high = opposite_points(SPACE)
    assert low == {"lr": 1e-4, "depth": 1, "pool": "mean"}
    assert high == {"lr": 1e-2, "depth": 4, "pool": "token"}


def test_a_study_proposes_from_what_it_was_told(url):
    study = study_at(url)
    for _ in range(30):
        trial = study.ask()
        x = trial.suggest_float("x", -10, 10)
        study.tell(trial, -((x - 3) ** 2))
    late = [one.params["x"] for one in study.trials[-10:]]
    assert sum(abs(x - 3) < 3 for x in late) >= 6
    assert isinstance(study.sampler, optuna.samplers.TPESampler)
