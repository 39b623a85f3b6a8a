"""What an ensemble is made of: the members and weights of its recipe, what each is worth, and how it was found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaderboard.recipe import Recipe

WORDS = {
    "mean": "plain mean",
    "ranks": "mean of ranks",
    "weighted": "closed-form weights",
    "greedy": "greedy selection with replacement",
    "stacking": "stacking by ridge regression",
}


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member."""

    name: str
    weights: tuple[float, ...]
    """By the columns of the table."""
    without: float | None
    """What the inner score changes by when the member is left out."""


@dataclass(frozen=True, kw_only=True)
class Path:
    """One greedy selection."""

    name: str
    picks: tuple[str, ...]
    """Numbers of the members picked (from 1, in the order of the table), a name where one was left out later."""
    scores: tuple[float, ...]
    best: int
    """Picks that were kept."""


@dataclass(frozen=True, kw_only=True)
class Makeup:
    """An ensemble, told."""

    method: str
    columns: tuple[str, ...]
    """What has weights of its own: each task, or each class, unit and value."""
    members: tuple[Member, ...]
    left_out: tuple[str, ...]
    scores: tuple[tuple[str, float], ...]
    """Plain mean, best member, inner and outer score and their gap, as far as they are known."""
    best_member: str
    paths: tuple[Path, ...]


def makeup(recipe: Recipe) -> Makeup:
    """Everything of a recipe that is shown. Members come with the largest mean weight first."""
    columns: list[str] = []
    parts = []
    for task in recipe.track.tasks:
        share_MC = recipe.weights.share[task.name]
        same = bool((share_MC == share_MC[:, :1]).all())
        columns += [task.name.upper()] if same else task.columns
        parts.append(share_MC[:, :1] if same else share_MC)
    weights_MC = np.concatenate(parts, axis=1)
    worth = recipe.scores.leave_one_out if recipe.scores else {}
    members = [
        Member(name=name, weights=tuple(own_C.tolist()), without=-worth[name] if name in worth else None)
        for name, own_C in zip(recipe.members, weights_MC, strict=True)
    ]
    members.sort(key=lambda member: -sum(member.weights))
    method = recipe.method
    words = WORDS[method.name] + (" of logits" if method.logits else "")
    return Makeup(
        method=words + (f", a choice per {method.per}" if method.chooses else ""),
        columns=tuple(columns),
        members=tuple(members),
        left_out=recipe.left_out,
        scores=_scores(recipe),
        best_member=recipe.scores.best_member if recipe.scores else "",
        paths=_paths(recipe, [member.name for member in members]),
    )


def _scores(recipe: Recipe) -> tuple[tuple[str, float], ...]:
    found = recipe.scores
    if found is None:
        return ()
    told = {"plain mean": found.mean, "best member": found.best_single, "inner": found.inner}
    if found.outer is not None and found.gap is not None:
        outer = "outer, of the weights alone" if recipe.tuned else "outer, by video"
        told |= {outer: found.outer, "gap": found.gap}
    return tuple(told.items())


def _paths(recipe: Recipe, names: Sequence[str]) -> tuple[Path, ...]:
    number = {name: str(k) for k, name in enumerate(names, start=1)}
    return tuple(
        Path(
            name=choice if len(bags) == 1 else f"{choice}, bag {k}",
            picks=tuple(number.get(name, name) for name in bag["picks"]),
            scores=tuple(bag["scores"]),
            best=int(bag["best"]),
        )
        for choice, bags in recipe.trajectories.items()
        for k, bag in enumerate(bags, start=1)
    )
