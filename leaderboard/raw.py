"""What an entry predicted before it was smoothed, from the run folders in which its prediction tables lie.

A stage that smooths leaves `smoothing.json` beside its tables, and its `result.json` names the stage that it read:
there lie the raw tables, under the same names. An ensemble is made again of the raw tables of its members.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from abaw.predictions import read_predictions
from abaw.problems import refuse
from abaw.tracks import Track
from leaderboard.ensemble import as_table, mean_of, members_of, recipe_of
from leaderboard.members import read_members
from leaderboard.provenance import mapping, member_table, stage_folder
from leaderboard.recipe import from_json, predict
from leaderboard.tuning import SMOOTHING


def raw_table(tables: Sequence[Path], track: Track) -> pa.Table | None:
    """The mean of these prediction tables as it was before any of them was smoothed; None where none of them was.

    BadInput where a table was smoothed and what it was before is not there any more.
    """
    found = {str(path): _raw(path, track) for path in tables}
    if not any(found.values()):
        return None
    raw = {name: read_predictions(Path(name), track) if one is None else one for name, one in found.items()}
    return next(iter(raw.values())) if len(raw) == 1 else mean_of(raw, track)


def _raw(path: Path, track: Track) -> pa.Table | None:
    """A table before it was smoothed, or before its members were; None where they were not."""
    if before := _before(path):
        return read_predictions(before, track)
    if not path.is_file():
        return None
    known = pq.read_table(path, columns=[])
    tables = {name: member_table(name, path) for name in members_of(known)}
    before_of = {name: _before(table) for name, table in tables.items()}
    if not any(before_of.values()):
        return None
    members = read_members({name: before_of[name] or table for name, table in tables.items()}, track)
    content = recipe_of(known)
    if content is None:
        return mean_of({name: read_predictions(before_of[name] or tables[name], track) for name in tables}, track)
    recipe = from_json(content)
    return as_table(members, predict(recipe, members), recipe.members)


def _before(table: Path) -> Path | None:
    """The table that this one is the smoothed one of; None where it was not smoothed."""
    if not (table.parent / SMOOTHING).is_file():
        return None
    names = [str(name) for name in mapping(table.parent / "result.json").get("inputs") or ()]
    found = [stage_folder(table.parent, name) / table.name for name in names]
    if there := [path for path in found if path.is_file()]:
        return there[0]
    read = f"the stage that it was made of ({', '.join(names)})" if names else "its result.json"
    raise refuse(table, f"was smoothed, but {read} is not there, so its raw predictions are not known; give --raw")
