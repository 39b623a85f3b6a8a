"""The recipe of an ensemble as JSON: members, weights, how they were chosen, what they scored; all a replay needs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa

from abaw.problems import BadInput, refuse
from abaw.tracks import TRACKS, Track
from leaderboard.blending import Method, Name, Per, Weights, blend, blend_ranks, uniform
from leaderboard.ensemble import members_of, recipe_of
from leaderboard.members import Floats, Members, prepare
from leaderboard.tuned import table_tuning, tuned_members

SCHEMA = 1
"""Version of the recipe's form."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What an ensemble scored on the labels that its members' tables carry."""

    mean: float
    """The plain mean of all members: nothing chosen."""
    best_member: str
    best_single: float
    """Score of the best member alone: the best of many, so it was chosen too."""
    inner: float
    """On the frames that the weights were chosen on."""
    outer: float | None
    """Cross-fitted by video; None where nothing was chosen."""
    leave_one_out: Mapping[str, float]
    """What `inner` loses without a member. Its weight goes to the others in proportion; stacking is fitted again."""

    @property
    def gap(self) -> float | None:
        """Inner minus outer score: how much of the gain was luck."""
        return None if self.outer is None else self.inner - self.outer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An ensemble, ready to be made again from other predictions of the same members."""

    track: Track
    method: Method
    members: tuple[str, ...]
    """The members that have a weight, in the order in which their tables are given to a replay."""
    left_out: tuple[str, ...] = ()
    """Members that were offered and got no weight."""
    tuned: tuple[str, ...] = ()
    """Tables offered that had been tuned on labels: what the ensemble scores cross-fitted nobody knows."""
    weights: Weights
    """Of `members`. The mean of ranks has none: they are all equal and not used."""
    scores: Scores | None = None
    """None where the tables carry no labels."""
    trajectories: Mapping[str, Any] = field(default_factory=dict)
    """Greedy selection: for each choice its bags, each with the members picked and the score after each pick."""


def plain_mean(track: Track, members: Sequence[str]) -> Recipe:
    """The recipe of the mean of all members, as `leaderboard.ensemble.mean_of` makes it."""
    return Recipe(track=track, method=Method(name="mean"), members=tuple(members), weights=uniform(track, len(members)))


def recipe_of_mean(table: pa.Table, tables: Sequence[str], track: Track) -> dict[str, Any] | None:
    """How `table` was made, as JSON: the mean of several tables; of one the recipe that it carries.

    A table that names members and has no recipe is their plain mean (`mean_of`); None for a table of one system.
    """
    if len(tables) == 1 and (found := recipe_of(table)):
        return found
    names = tables if len(tables) > 1 else members_of(table)
    if not names:
        return None
    if len(tables) > 1:
        tuned = tuple(name for name in tables if table_tuning(Path(name), track))
    else:
        tuned = tuned_members(names, Path(tables[0]), track)
    return dict(json.loads(to_json(replace(plain_mean(track, names), tuned=tuned))))


def predict(recipe: Recipe, members: Members) -> dict[str, Floats]:
    """The ensemble's predictions (N, C) a task from tables of `recipe.members`, in that order; changes `members`."""
    if recipe.method.prepares:
        prepare(members, logits=recipe.method.logits)
    if recipe.method.name == "ranks":
        return blend_ranks(members)
    return blend(members, recipe.weights, recipe.method)


def to_json(recipe: Recipe) -> str:
    """The recipe as an indented JSON text."""
    scores = recipe.scores and asdict(recipe.scores) | {"gap": recipe.scores.gap}
    weights = {
        task.name: {
            column: dict(zip(recipe.members, recipe.weights.share[task.name][:, c].tolist(), strict=True))
            | ({"": float(recipe.weights.bias[task.name][c])} if recipe.method.name == "stacking" else {})
            for c, column in enumerate(task.columns)
        }
        for task in recipe.track.tasks
    }
    content = {
        "schema": SCHEMA,
        "track": recipe.track.name,
        "method": asdict(recipe.method),
        "members": recipe.members,
        "left_out": recipe.left_out,
        "tuned": recipe.tuned,
        "scores": scores,
        "weights": weights,
        "trajectories": recipe.trajectories,
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read_recipe(path: Path, track: Track) -> Recipe:
    """The recipe that `to_json` wrote; BadInput when the file is missing, no recipe, or of another track."""
    try:
        recipe = from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise refuse(path, f"{error.strerror}; expected a recipe that `leaderboard ensemble --recipe` wrote") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BadInput):
            raise
        message = f"is no recipe of an ensemble ({type(error).__name__}: {error})"
        raise refuse(path, f"{message}; write it anew with `leaderboard ensemble --recipe`") from error
    if recipe.track != track:
        raise refuse(path, f"is of track {recipe.track.name}, not {track.name}")
    return recipe


def from_json(content: Any) -> Recipe:
    """The recipe that `to_json` wrote, parsed. ValueError, KeyError, TypeError or AttributeError where it is none."""
    if content["schema"] != SCHEMA:
        raise ValueError(f"schema {content['schema']}, expected {SCHEMA}")
    track, method, names = TRACKS[content["track"]], Method(**content["method"]), tuple(content["members"])
    if method.name not in get_args(Name) or method.per not in get_args(Per) or not names:
        raise ValueError(f"method {method.name!r} per {method.per!r} of {len(names)} members")
    share, bias = {}, {}
    for task in track.tasks:
        columns = [content["weights"][task.name][column] for column in task.columns]
        share[task.name] = np.array([[float(own[name]) for own in columns] for name in names])
        bias[task.name] = np.array([float(own.get("", 0)) for own in columns])
        if not (np.isfinite(share[task.name]).all() and np.isfinite(bias[task.name]).all()):
            raise ValueError("a weight is not finite")
    scores = content["scores"] and {name: value for name, value in content["scores"].items() if name != "gap"}
    return Recipe(
        track=track,
        method=method,
        members=names,
        left_out=tuple(content["left_out"]),
        tuned=tuple(content.get("tuned", ())),
        weights=Weights(share=share, bias=bias),
        scores=Scores(**scores) if scores else None,
        trajectories=content["trajectories"],
    )
