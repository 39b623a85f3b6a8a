"""The mean of prediction tables, frame by frame: EMMA and Masked CoTEX average epochs and parameters this way.

`leaderboard.fitting` holds the ways that choose by labels.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from abaw.predictions import schema
from abaw.tracks import Track
from leaderboard.members import Floats, Members, gather

MEMBERS_KEY = b"abaw.members"
"""Key of the member list, as JSON, in the metadata of an ensemble's Parquet file."""
RECIPE_KEY = b"abaw.recipe"
"""Key of the recipe (`leaderboard.recipe.to_json`), where `leaderboard ensemble` made the file."""


def mean_of(tables: Mapping[str, pa.Table], track: Track) -> pa.Table:
    """The prediction table whose columns are the means of the members' columns.

    Args:
        tables: the members' prediction tables by name (their file names, say), in any row order.
        track: whose columns are averaged.

    Returns:
        As `as_table`.

    Raises:
        BadInput: the members differ in their rows or in their labels; every reason, naming the member.
    """
    members = gather(tables.items(), len(tables), track)
    means = {name: x_MNC.mean(axis=0, dtype=np.float64) for name, x_MNC in members.scores.items()}
    return as_table(members, means, members.names)


def as_table(
    members: Members, predicted: Mapping[str, Floats], names: tuple[str, ...], recipe: str | None = None
) -> pa.Table:
    """The prediction table of an ensemble from its predictions (N, C) a task; `names` are the members it is made of.

    Sorted by video and frame, with all columns of `abaw.predictions.schema`: the labels are the members' (null where
    none has them), `fold` is kept where all members agree, `checkpoint` is "ensemble". Names and recipe travel in the
    table's metadata.
    """
    columns = {name: members.common[name] for name in members.common.column_names}
    for task in members.track.tasks:
        for column, values_N in zip(task.columns, predicted[task.name].T, strict=True):
            columns[column] = pa.array(values_N.astype(np.float32))
    columns["checkpoint"] = pa.array(["ensemble"] * members.rows)
    wanted = schema(members.track)
    arrays = [columns[field.name].cast(field.type) for field in wanted]
    metadata = {MEMBERS_KEY: json.dumps(list(names)).encode()} | ({RECIPE_KEY: recipe.encode()} if recipe else {})
    return pa.table(arrays, schema=wanted.with_metadata(metadata))


def members_of(table: pa.Table) -> list[str]:
    """The members that an ensemble's table was made from; empty for a table of one system."""
    return members_in(table.schema)


def members_in(schema: pa.Schema) -> list[str]:
    """As `members_of`, from the schema alone."""
    return list(json.loads((schema.metadata or {}).get(MEMBERS_KEY, b"[]")))


def recipe_of(table: pa.Table) -> dict[str, Any] | None:
    """How `leaderboard ensemble` made the table, as its recipe's JSON; None for any other table."""
    return recipe_in(table.schema)


def recipe_in(schema: pa.Schema) -> dict[str, Any] | None:
    """As `recipe_of`, from the schema alone."""
    found = (schema.metadata or {}).get(RECIPE_KEY)
    return None if found is None else dict(json.loads(found))
