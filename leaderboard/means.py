"""The mean of the prediction tables that are submitted or exported, and all that is known of how it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from abaw.predictions import read_predictions
from abaw.tracks import Track
from leaderboard.checks import check_once
from leaderboard.ensemble import mean_of, members_of
from leaderboard.recipe import recipe_of_mean
from leaderboard.tuned import known_tuning
from leaderboard.tuning import Tuning


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A prediction table and its making."""

    track: Track
    table: pa.Table
    tables: tuple[str, ...]
    """The prediction tables of which it is the mean, as they were given."""
    members: tuple[str, ...]
    """The members that an ensemble's table names; else the tables."""
    recipe: Mapping[str, Any] | None
    """How an ensemble was made (`leaderboard.recipe`); None for the table of one system."""

    @property
    def tuning(self) -> Tuning | None:
        """The three scores of what was tuned on labels, None where nothing was. BadInput as `known_tuning`."""
        return known_tuning([Path(table) for table in self.tables], self.recipe, self.track)


def read_mean(files: Sequence[Path], track: Track) -> Mean:
    """The mean of prediction tables. BadInput when one cannot be read, is given twice, or they do not go together."""
    check_once(files, "table")
    tables = {str(path): read_predictions(path, track) for path in files}
    table = next(iter(tables.values())) if len(tables) == 1 else mean_of(tables, track)
    return Mean(
        track=track,
        table=table,
        tables=tuple(tables),
        members=tuple(members_of(table)) or tuple(tables),
        recipe=recipe_of_mean(table, list(tables), track),
    )
