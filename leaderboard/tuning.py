"""What tuning was worth: the three scores of a tuned thing, which are shown together or not at all.

A search writes them (`smoothing.json`) beside the tables that it treated: an object for each task, or one for the
whole track, with the numbers `untuned`, `in_sample` and `cross_fitted`. Whatever else it holds is left alone. The
recipe of an ensemble whose weights were chosen by labels has them too: plain mean, inner and outer score.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Track

if TYPE_CHECKING:
    from leaderboard.schema import Rules

SMOOTHING = "smoothing.json"
"""What a search leaves beside the predictions that it treated."""
WAYS = ("untuned", "in_sample", "cross_fitted")
Tuning = dict[str, dict[str, float]]
"""The three scores by task, or by the name of the track where they are its own."""


def read_tuning(path: Path, track: Track) -> Tuning:
    """Read what a search has written. BadInput names what is missing."""
    tasks = [task.name for task in track.tasks]
    expected = f"expected {', '.join(WAYS)} of each task ({', '.join(tasks)}), or of the track, as a search writes them"
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise refuse(path, f"{error.strerror}; {expected}") from None
    except ValueError as error:
        raise refuse(path, f"no JSON ({error}); {expected}") from None
    if not isinstance(found, dict):
        raise refuse(path, f"no JSON object; {expected}")
    parts = {track.name: found} if set(WAYS) & set(found) else {name: found[name] for name in tasks if name in found}
    if not parts:
        raise refuse(path, f"holds none of these tasks; {expected}")
    bad = [
        Problem(path=str(path), message=f"{way} of {name} is {_value(part, way)!r}; expected a number")
        for name, part in parts.items()
        for way in WAYS
        if not _is_number(_value(part, way))
    ]
    if bad:
        raise BadInput(bad)
    return {name: {way: float(part[way]) for way in WAYS} for name, part in parts.items()}


def known_tuning(tables: Sequence[Path], recipe: Mapping[str, Any] | None, track: Track) -> Tuning | None:
    """The three scores of what was tuned last, of predictions made of these tables, by this recipe where it is one.

    None where nothing was tuned, and for the mean of several tables that were tuned one by one: what tuning is worth to
    their mean nobody knows. BadInput where what a search left cannot be read.
    """
    if recipe and recipe.get("track") == track.name:
        scores = recipe.get("scores") or {}
        found = dict(zip(WAYS, (_value(scores, key) for key in ("mean", "inner", "outer")), strict=True))
        if all(map(_is_number, found.values())):
            return {track.name: found}
    if len(tables) == 1 and tables[0].is_file() and (left := tables[0].with_name(SMOOTHING)).is_file():
        return read_tuning(left, track)
    return None


def is_hidden(rules: "Rules", *, withheld: bool) -> bool:
    """Whether the three scores wait for the reveal: they may count private videos, or tell a score that is withheld."""
    return rules.revealed_at is None and (withheld or rules.private_share > 0)


def told(tuning: Mapping[str, Mapping[str, float]] | None) -> list[str]:
    """The three scores in words, a line for each thing that was tuned."""
    ways = {
        name: ", ".join(f"{way.replace('_', '-')} {part[way]:.4f}" for way in WAYS)
        for name, part in (tuning or {}).items()
    }
    return [f"tuned on labels, {name}: {text}" for name, text in ways.items()]


def total(tuning: Mapping[str, Mapping[str, float]] | None, track: Track) -> dict[str, float] | None:
    """The three ranking scores of the track; None where nothing, or not every task, was tuned."""
    if not tuning:
        return None
    if track.name in tuning:
        return dict(tuning[track.name])
    if set(tuning) != {task.name for task in track.tasks}:
        return None
    return {way: sum(part[way] for part in tuning.values()) for way in WAYS}


def _value(part: Any, way: str) -> Any:
    return part.get(way) if isinstance(part, dict) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
