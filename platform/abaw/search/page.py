"""The result page of a search: one HTML file that needs nothing beside it, made from the study alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from abaw.search import charts
from abaw.search.space import shown
from abaw.search.study import CUT_OFF, DEVICE_S, REASON, best_of

MOST_LINES = 200
"""Trials in the parallel coordinates: the best ones."""
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """What the page says of one study."""

    title: str
    counts: str
    best: FrozenTrial | None
    charts: Mapping[str, str]
    names: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]


def write_page(path: Path, title: str, studies: Mapping[str, optuna.Study], *, folder: Path, budget: str) -> Path:
    """Write the page of some studies, which stand one below the other under their keys; returns its path.

    Args:
        path: of the HTML file.
        title: of the page.
        studies: what was searched, by the name of its score.
        folder: where the run folders of the trials lie, which the table links to where they are there.
        budget: which budget the search has reached, in words; empty if none.
    """
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("abaw.search"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    parts = [_part(name, study, folder) for name, study in studies.items()]
    text = templates.get_template("page.html.j2").render(title=title, parts=parts, budget=budget)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def importance(study: optuna.Study) -> dict[str, float]:
    """Share of each name of the space in what makes trials good (PED-ANOVA), the largest first; empty if unknown.

    It compares the best tenth of the trials with the others, and needs three complete trials that differ.
    """
    trials = [one for one in study.get_trials(deepcopy=False) if one.state == TrialState.COMPLETE]
    if len({one.value for one in trials}) < 3:
        return {}
    found: dict[str, float] = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: share for name, share in found.items() if np.isfinite(share)}


def _part(title: str, study: optuna.Study, folder: Path) -> Part:
    trials = study.get_trials(deepcopy=False)
    names = tuple(dict.fromkeys(name for one in trials for name in one.params))
    scored = [one for one in trials if one.state == TrialState.COMPLETE]
    ranked = sorted(scored, key=lambda one: -(one.value or 0.0))
    counts = [f"{sum(one.state == state for one in trials)} {word}" for state, word in STATES.items()]
    cut_off = sum(one.user_attrs.get(REASON) == CUT_OFF for one in trials)
    if cut_off:
        counts[-1] += f" ({cut_off} of them cut off with their search)"
    with mpl.rc_context(charts.STYLE):
        drawn = {
            "History": charts.history(trials),
            "Scores while training": charts.curves(trials),
            "Importance": charts.bars(importance(study)),
            "Slices": charts.slices(scored, names),
            "Parallel coordinates": charts.parallel(ranked[:MOST_LINES], names),
        }
    return Part(
        title=title,
        counts=", ".join(counts),
        best=best_of(trials),
        charts={name: svg for name, svg in drawn.items() if svg},
        names=names,
        rows=tuple(_row(one, folder) for one in trials),
    )


def _row(trial: FrozenTrial, folder: Path) -> dict[str, Any]:
    name = f"trial-{trial.number:03d}"
    seconds = trial.user_attrs.get(DEVICE_S)
    last = list(trial.intermediate_values.values())[-1:]
    return {
        "name": name,
        "link": f"{name}/" if (folder / name).is_dir() else "",
        "state": STATES.get(trial.state, "not ended"),
        "score": trial.value if trial.state == TrialState.COMPLETE else None,
        "last": last[0] if last else None,
        "device_s": seconds,
        "params": {key: shown(value) for key, value in trial.params.items()},
        "reason": trial.user_attrs.get(REASON, ""),
    }
