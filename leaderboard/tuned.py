"""Whether predictions were tuned on labels, and the three scores of what was: found where tuning leaves its traces.

These are a search's `smoothing.json` or a run's `tuning.json` beside a table, the recipe of an ensemble whose weights
were chosen by labels, and a checkpoint that a table names: a greedy soup, or an epoch that a training kept because of
its score on the held-out frames. Of such an epoch, and of an ensemble of tables that were tuned one by one, nobody
knows the scores, unless its maker leaves them beside it as `abaw run` does: no table says what its frames were
predicted as by the choice of other videos. It is tuned all the same.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from abaw.problems import refuse
from abaw.tracks import Track
from leaderboard.ensemble import members_in, recipe_in
from leaderboard.manifest import manifest_of, manifest_path
from leaderboard.provenance import member_table
from leaderboard.scoring import TABLE_SUFFIX
from leaderboard.soup import WEIGHTS_SUFFIX, soup_choice
from leaderboard.tuning import SMOOTHING, TUNING, WAYS, Tuning, is_number, read_tuning, tuning_in, unknown

KEPT_EPOCH = re.compile(r"/epoch-\d{3,}$")
"""How `checkpoint` ends in tables of an epoch that was kept by its score: `predictions/epoch-012/` of a training."""


def given_tuning(path: Path, track: Track) -> Tuning:
    """What `submit --tuning` names: the file of a search, or a greedy soup. BadInput where it says nothing."""
    if path.suffix != WEIGHTS_SUFFIX:
        return read_tuning(path, track)
    found = _of_soup(path, track)
    if found is None:
        raise refuse(path, "no greedy soup of `leaderboard soup --greedy`: nothing was tuned, leave out --tuning")
    return found


def known_tuning(tables: Sequence[Path], recipe: Mapping[str, Any] | None, track: Track) -> Tuning | None:
    """The three scores of what was tuned last, of predictions made of these tables, by this recipe where it is one.

    None where nothing was tuned. They are not known for an ensemble of tables that were tuned one by one. BadInput
    where what a search left cannot be read.
    """
    found = _of_recipe(recipe, track)
    if found and found != unknown(track):
        return found
    known = [tuning for table in tables if (tuning := table_tuning(table, track))]
    return known[0] if known and len(tables) == 1 else unknown(track) if known or found else None


def file_tuning(path: Path, track: Track) -> Tuning | None:
    """As `known_tuning`, of a prediction table, or of a file, folder or zip by the manifest beside it.

    BadInput where what a search or the manifest says cannot be read.
    """
    if path.suffix == TABLE_SUFFIX:
        return table_tuning(path, track)
    return noted_tuning(manifest_of(path, track), path, track)


def noted_tuning(manifest: Mapping[str, Any], file: Path, track: Track) -> Tuning | None:
    """The three scores that the manifest of a file holds. BadInput where they cannot be read."""
    found = manifest.get("tuning")
    return tuning_in(found, manifest_path(file), track) if found else None


def table_tuning(table: Path, track: Track, above: frozenset[Path] = frozenset()) -> Tuning | None:
    """As `known_tuning`, of a prediction table: by what lies beside it, and by what it says it was made of.

    `above` are the ensembles that it is a member of. A table that is gone says nothing.
    """
    if table in above or not table.is_file():
        return None
    try:
        schema = pq.read_schema(table)
    except pa.ArrowInvalid as error:
        raise refuse(table, f"not a Parquet file ({error}); a prediction table ends in .parquet") from error
    if found := _of_recipe(recipe_in(schema), track):
        return found
    for left in (table.with_name(name) for name in (SMOOTHING, TUNING)):
        if left.is_file():
            return read_tuning(left, track)
    if tuned_members(members_in(schema), table, track, above):
        return unknown(track)
    return _of_checkpoints(table, schema, track)


def tuned_members(
    members: Sequence[str], ensemble: Path, track: Track, above: frozenset[Path] = frozenset()
) -> tuple[str, ...]:
    """The members of an ensemble's table whose own tables were tuned."""
    above |= {ensemble}
    return tuple(name for name in members if table_tuning(member_table(name, ensemble), track, above))


def _of_recipe(recipe: Mapping[str, Any] | None, track: Track) -> Tuning | None:
    """Of chosen weights: plain mean, inner and outer score. The outer one is none where members were tuned before."""
    if not recipe or recipe.get("track") != track.name:
        return None
    if recipe.get("tuned"):
        return unknown(track)
    scores = recipe.get("scores")
    found = [scores.get(key) for key in ("mean", "inner", "outer")] if isinstance(scores, dict) else []
    return {track.name: dict(zip(WAYS, found, strict=True))} if found and all(map(is_number, found)) else None


def _of_checkpoints(table: Path, schema: pa.Schema, track: Track) -> Tuning | None:
    """Of the kept epochs and greedy soups that a table names in `checkpoint`: soups as a path, or beside the table."""
    if "checkpoint" not in schema.names:
        return None
    named = pq.read_table(table, columns=["checkpoint"])["checkpoint"].unique().to_pylist()
    if any(name and KEPT_EPOCH.search(name) for name in named):
        return unknown(track)
    weights = [Path(name) for name in named if name and name.endswith(WEIGHTS_SUFFIX)]
    found = [_of_soup(path if path.is_file() else table.parent / path, track) for path in weights]
    if not any(found):
        return None
    return found[0] if len(named) == 1 else unknown(track)


def _of_soup(weights: Path, track: Track) -> Tuning | None:
    """What a soup says of the choice of its checkpoints; not known where that was for another score."""
    choice = soup_choice(weights)
    if choice is None:
        return None
    return {track.name: {way: choice.get(way) for way in WAYS}} if choice.get("track") == track.name else unknown(track)
