"""The drawings of a search's result page, as SVG: what was tried, what mattered, and where the good points lie.

They are made in matplotlib's context `STYLE`. A drawing for which there is too little is empty.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

INK, MUTED, LINE = "#1f2430", "#8a91a0", "#2a6fbb"
COLOURS = {TrialState.COMPLETE: LINE, TrialState.PRUNED: "#d9912b", TrialState.FAIL: "#c03a3a"}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "abaw",
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
ACROSS = 4
"""Slices in a row."""


def history(trials: Sequence[FrozenTrial]) -> str:
    """Scores by trial, and the best so far; pruned trials where they stood, failed ones along the bottom."""
    scored = [one for one in trials if one.state == TrialState.COMPLETE]
    if not scored:
        return ""
    figure = Figure(figsize=(8, 2.8))
    axes = figure.subplots()
    bottom = min(float(one.value or 0.0) for one in scored)
    for state, colour in COLOURS.items():
        own = [one for one in trials if one.state == state]
        values = [_last_score(one, bottom) for one in own]
        axes.plot([one.number for one in own], values, "o", color=colour, markersize=4, label=state.name.lower())
    best = np.maximum.accumulate([float(one.value or 0.0) for one in scored])
    axes.step([one.number for one in scored], best, where="post", color=INK, linewidth=1, label="best so far")
    axes.set(xlabel="trial", ylabel="score")
    axes.legend(frameon=False, ncols=4, fontsize=8)
    return _svg(figure)


def curves(trials: Sequence[FrozenTrial]) -> str:
    """The scores that trials reported while they trained; those that were stopped end early."""
    shown = [one for one in trials if len(one.intermediate_values) > 1]
    if not shown:
        return ""
    figure = Figure(figsize=(8, 2.8))
    axes = figure.subplots()
    for one in shown:
        steps = sorted(one.intermediate_values)
        colour = COLOURS.get(one.state, MUTED)
        axes.plot(steps, [one.intermediate_values[step] for step in steps], color=colour, linewidth=1, alpha=0.7)
    axes.set(xlabel="evaluated epochs, fold after fold", ylabel="score so far")
    return _svg(figure)


def bars(shares: Mapping[str, float]) -> str:
    """The share of each name, the largest on top."""
    if not shares:
        return ""
    figure = Figure(figsize=(8, 0.6 + 0.24 * len(shares)))
    axes = figure.subplots()
    names = list(shares)[::-1]
    axes.barh(names, [shares[name] for name in names], color=LINE, height=0.6)
    axes.set(xlabel="share of importance (PED-ANOVA)")
    return _svg(figure)


def slices(trials: Sequence[FrozenTrial], names: Sequence[str]) -> str:
    """Score against each name of the space."""
    if not trials or not names:
        return ""
    rows = -(-len(names) // ACROSS)
    figure = Figure(figsize=(8, 2.0 * rows))
    for place, name in enumerate(names):
        axes = figure.add_subplot(rows, ACROSS, place + 1)
        own = [one for one in trials if name in one.params]
        at, ticks = _scale(own, name)
        numbers = [one.number for one in own]
        axes.scatter(at, [float(one.value or 0.0) for one in own], c=numbers, cmap="Blues", vmin=-len(trials), s=8)
        axes.set_title(name.rpartition(".")[2], fontsize=8, color=INK)
        axes.tick_params(labelsize=7)
        axes.set_xticks([place for place, _ in ticks], [label for _, label in ticks])
    return _svg(figure)


def parallel(trials: Sequence[FrozenTrial], names: Sequence[str]) -> str:
    """A line a trial over all names of the space; the best ones are dark and on top."""
    whole = [one for one in trials if set(names) <= one.params.keys()]
    if len(whole) < 2 or len(names) < 2:
        return ""
    figure = Figure(figsize=(max(8.0, 0.9 * len(names)), 3.2))
    axes = figure.subplots()
    scales = [_scale(whole, name) for name in names]
    columns = np.stack([_unit(np.array(at), [place for place, _ in ticks]) for at, ticks in scales], axis=1)
    rank = np.argsort(np.argsort([float(one.value or 0.0) for one in whole])) / max(1, len(whole) - 1)
    colours = mpl.colormaps["Blues"](0.15 + 0.85 * rank)
    for line in np.argsort(rank):
        axes.plot(range(len(names)), columns[line], color=colours[line], linewidth=0.6 + rank[line])
    for place, (_, ticks) in enumerate(scales):
        low, high = ticks[0][1], ticks[-1][1]
        axes.axvline(place, color=MUTED, linewidth=0.6)
        axes.text(place, -0.05, low, ha="center", va="top", fontsize=7, color=MUTED)
        axes.text(place, 1.03, high, ha="center", va="bottom", fontsize=7, color=MUTED)
    labels, many = [name.rpartition(".")[2] for name in names], len(names) > 6
    axes.set_xticks(range(len(names)), labels, rotation=25 if many else 0, ha="right" if many else "center")
    axes.tick_params(axis="x", pad=14, length=0)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    return _svg(figure)


def _scale(trials: Sequence[FrozenTrial], name: str) -> tuple[list[float], list[tuple[float, str]]]:
    """Where each trial stands on the axis of a name, and the ticks from its lowest to its highest value."""
    kind = trials[0].distributions[name]
    if isinstance(kind, CategoricalDistribution):
        ticks = [(float(place), str(choice)) for place, choice in enumerate(kind.choices)]
        return [float(kind.choices.index(one.params[name])) for one in trials], ticks
    logarithmic = bool(getattr(kind, "log", False))

    def at(value: Any) -> float:
        return float(np.log10(value)) if logarithmic else float(value)

    middle = (at(kind.low) + at(kind.high)) / 2
    centre = 10**middle if logarithmic else middle
    ticks = [(at(kind.low), f"{kind.low:.3g}"), (middle, f"{centre:.2g}"), (at(kind.high), f"{kind.high:.3g}")]
    return [at(one.params[name]) for one in trials], ticks


def _unit(values: Any, ticks: Sequence[float]) -> Any:
    low, high = ticks[0], ticks[-1]
    return (values - low) / ((high - low) or 1.0)


def _last_score(trial: FrozenTrial, bottom: float) -> float:
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        return float(trial.value)
    return float(list(trial.intermediate_values.values())[-1]) if trial.intermediate_values else bottom


def _svg(figure: Figure) -> str:
    """The figure to stand inside a page."""
    buffer = io.StringIO()
    figure.set_layout_engine("tight")
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
