"""The Optuna study of a search: the one record of what was tried, in a database that outlives the search.

Only the process that drives a search touches its study, so that SQLite is safe, on a local disk. Every trial that did
not end well has a `reason`; a trial that was cut off because its search was killed is failed, and does not count
against the budget.
"""

import time
from collections.abc import Sequence
from typing import Any

import optuna
import sqlalchemy
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from abaw.problems import refuse
from abaw.runs import key_of
from abaw.search.space import Point

CUT_OFF = "cut off: the search was killed while it ran"
REASON, CONFIG, DEVICE_S = "reason", "config", "device_s"
"""User attributes: why a trial has no score, the key of what is searched, and the seconds of all devices together."""
MADE_BY_ANOTHER = ("already exists", "UNIQUE constraint", "duplicate key")
"""What databases say where another search makes the tables of a new one in the same moment."""
OPEN = (TrialState.RUNNING, TrialState.WAITING)


def open_study(name: str, url: str, *, config: Any, seed: int, resume: bool, overwrite: bool = False) -> optuna.Study:
    """The study of this name in the database, empty or to be gone on with; trials that were cut off are failed.

    Args:
        name: of the study within the database.
        url: sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE.
        config: what is searched on; a study is only gone on with where it is the same.
        seed: of the proposals.
        resume: go on with what is there.
        overwrite: delete what is there.

    Raises:
        BadInput: the database cannot be opened, or holds trials that were to be neither kept nor deleted, or that are
            of another config.
    """
    storage = _storage(url)
    there = name in optuna.study.get_all_study_names(storage)
    if there and overwrite:
        optuna.delete_study(study_name=name, storage=storage)
    study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
    trials = study.get_trials(deepcopy=False)
    if trials and not resume:
        message = f"the study {name} holds {len(trials)} trials; give --resume to go on, or --overwrite to begin anew"
        raise refuse(_shown(url), message)
    key = key_of(config)
    if study.user_attrs.get(CONFIG, key) != key:
        message = f"the study {name} is of other fields or another space; give --overwrite to begin anew"
        raise refuse(_shown(url), message)
    study.set_user_attr(CONFIG, key)
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            storage.set_trial_user_attr(trial._trial_id, REASON, CUT_OFF)
            study.tell(trial.number, state=TrialState.FAIL)
    study.sampler = sampler(seed + len(trials))
    return study


def sampler(seed: int) -> TPESampler:
    """Multivariate TPE; trials that are still open are not proposed again."""
    return TPESampler(multivariate=True, constant_liar=True, seed=seed)


def try_first(study: optuna.Study, point: Point) -> None:
    """Propose this point next, unless it is empty or a trial at it has come to an end of its own."""
    if point and not any(point.items() <= one.params.items() for one in ended(study)):
        study.enqueue_trial(dict(point))


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that came to an end of their own: those that were cut off, or have not begun, are left out."""
    trials = study.get_trials(deepcopy=False)
    return [one for one in trials if one.state not in OPEN and one.user_attrs.get(REASON) != CUT_OFF]


def cut_off(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were running when their search was killed."""
    return [one for one in study.get_trials(deepcopy=False) if one.user_attrs.get(REASON) == CUT_OFF]


def complete(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that have a score."""
    return list(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))


def best_of(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """The complete trial with the highest score, the first one on a tie; None where there is none."""
    scored = [one for one in trials if one.state == TrialState.COMPLETE]
    return max(scored, key=lambda one: one.value or 0.0, default=None)


def _storage(url: str, tries: int = 10) -> optuna.storages.BaseStorage:
    try:
        return optuna.storages.RDBStorage(url)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
        if tries > 1 and any(text in str(error) for text in MADE_BY_ANOTHER):
            time.sleep(0.2)
            return _storage(url, tries - 1)
        first = str(getattr(error, "orig", None) or error).partition("\n")[0]
        expected = "expected sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
        raise refuse(_shown(url), f"cannot open this database ({first}); {expected}") from None


def _shown(url: str) -> str:
    """The address without its password."""
    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return url
