"""What tuning was worth: the three scores of a tuned thing, which are shown together or not at all.

A search writes them (`smoothing.json`) beside the tables that it treated, other stages of `abaw run` (`tuning.json`)
beside theirs: an object for each task, or one for the whole track, with the numbers `untuned`, `in_sample` and
`cross_fitted`. Whatever else it holds is left alone. A score that nobody can know is null there, and is shown as not
known: a tuned thing never passes for an untuned one. `leaderboard.tuned` finds out what was tuned.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Track

if TYPE_CHECKING:
    from leaderboard.schema import Rules

SMOOTHING = "smoothing.json"
"""What a search leaves beside the predictions that it treated."""
TUNING = "tuning.json"
"""What is left beside predictions that were tuned in another way, or are made of such as were."""
WAYS = ("untuned", "in_sample", "cross_fitted")
NOT_KNOWN = "not known"
AT_REVEAL = "at reveal"
"""Instead of a number that is not shown before the reveal."""
Tuning = dict[str, dict[str, float | None]]
"""The three scores by task, or by the name of the track where they are its own; None for one that is not known."""


def unknown(track: Track) -> Tuning:
    """Of what was tuned, and nobody knows what it scored."""
    return {track.name: dict.fromkeys(WAYS)}


def read_tuning(path: Path, track: Track) -> Tuning:
    """Read what a search has written. BadInput names what is missing; a null says that a score is not known."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise refuse(path, f"{error.strerror}; {_expected(track)}") from None
    except ValueError as error:
        raise refuse(path, f"no JSON ({error}); {_expected(track)}") from None
    return tuning_in(found, path, track)


def tuning_in(found: Any, path: Path, track: Track) -> Tuning:
    """The three scores in what `path` holds as JSON. BadInput as `read_tuning`."""
    if not isinstance(found, dict):
        raise refuse(path, f"no JSON object; {_expected(track)}")
    names = dict.fromkeys([track.name, *(task.name for task in track.tasks)])
    parts = {track.name: found} if set(WAYS) & set(found) else {name: found[name] for name in names if name in found}
    if not parts:
        raise refuse(path, f"holds none of these tasks; {_expected(track)}")
    bad = [
        Problem(path=str(path), message=f"{way} of {name} is {_value(part, way)!r}; expected a number")
        for name, part in parts.items()
        for way in WAYS
        if not _is_given(part, way)
    ]
    if bad:
        raise BadInput(bad)
    return {name: {way: _value(part, way) for way in WAYS} for name, part in parts.items()}


def _expected(track: Track) -> str:
    tasks = ", ".join(task.name for task in track.tasks)
    return f"expected {', '.join(WAYS)} of each task ({tasks}), or of the track, as a search writes them"


def is_hidden(rules: "Rules", *, withheld: bool) -> bool:
    """Whether the three scores wait for the reveal: they may count private videos, or tell a score that is withheld."""
    return rules.revealed_at is None and (withheld or rules.private_share > 0)


def told(tuning: Mapping[str, Mapping[str, float | None]] | None) -> list[str]:
    """The three scores in words, a line for each thing that was tuned."""
    return [f"tuned on labels, {name}: {ways_text(part)}" for name, part in (tuning or {}).items()]


def ways_text(scores: Mapping[str, float | None]) -> str:
    """The three scores of one thing."""
    return ", ".join(f"{way.replace('_', '-')} {way_text(scores[way])}" for way in WAYS)


def way_text(value: float | None) -> str:
    """One of the three scores, as it is shown."""
    return NOT_KNOWN if value is None else f"{value:.4f}"


def total(tuning: Mapping[str, Mapping[str, float | None]] | None, track: Track) -> dict[str, float | None] | None:
    """The three ranking scores of the track; None where nothing was tuned.

    They are not known where only some of the tasks were tuned: nobody says what the others score.
    """
    if not tuning:
        return None
    if track.name in tuning:
        return dict(tuning[track.name])
    parts = [tuning.get(task.name, {}) for task in track.tasks]
    found = {way: [value for part in parts if (value := part.get(way)) is not None] for way in WAYS}
    return {way: sum(values) if len(values) == len(parts) else None for way, values in found.items()}


def is_number(value: Any) -> bool:
    """Whether JSON holds a finite number there."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _value(part: Any, way: str) -> Any:
    found: Any = part.get(way) if isinstance(part, dict) else None
    return float(found) if is_number(found) else found


def _is_given(part: Any, way: str) -> bool:
    return isinstance(part, dict) and way in part and (part[way] is None or is_number(part[way]))
