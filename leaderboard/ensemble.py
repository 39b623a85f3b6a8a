"""Ensembles: the mean of the members' probabilities, frame by frame (EMMA and Masked CoTEX average them this way).

All members must cover the same frames and carry the same labels: an average over some members here and others there
would be a different system from frame to frame.
"""

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from abaw.predictions import KEY, LABEL_PREFIX, schema
from abaw.tracks import Track
from leaderboard.reasons import Reasons

MEMBERS_KEY = b"abaw.members"
"""Key of the member list, as JSON, in the metadata of an ensemble's Parquet file."""


def mean_of(tables: Mapping[str, pa.Table], track: Track) -> pa.Table:
    """The prediction table whose columns are the means of the members' columns.

    Args:
        tables: the members' prediction tables by name (their file names, say), in any row order.
        track: whose columns are averaged.

    Returns:
        A table sorted by video and frame with all columns of `abaw.predictions.schema`: the labels are the members'
        (null where none has them), `fold` is kept where all members agree, `checkpoint` is "ensemble".

    Raises:
        BadInput: the members differ in their rows or in their labels; every reason, naming the member.
    """
    assert tables, "an ensemble needs a member"
    members = {name: table.sort_by([(key, "ascending") for key in KEY]) for name, table in tables.items()}
    reasons = Reasons()
    _check_rows(members, reasons)
    reasons.raise_any()
    _check_labels(members, track, reasons)
    reasons.raise_any()
    first = next(iter(members.values()))
    columns = {key: first[key] for key in KEY}
    nulls = pa.chunked_array([pa.nulls(first.num_rows)])
    for column in track.columns:
        stacked = [table[column].to_numpy().astype(np.float64) for table in members.values()]
        columns[column] = pa.array(np.mean(stacked, axis=0, dtype=np.float64).astype(np.float32))
    for column in (LABEL_PREFIX + name for name in track.label_columns):
        columns[column] = next((t[column] for t in members.values() if column in t.column_names), nulls)
    folds = [table["fold"] if "fold" in table.column_names else nulls for table in members.values()]
    agree = all(fold.to_pylist() == folds[0].to_pylist() for fold in folds)
    columns["fold"] = folds[0] if agree else nulls
    columns["checkpoint"] = pa.array(["ensemble"] * first.num_rows)
    wanted = schema(track)
    arrays = [columns[field.name].cast(field.type) for field in wanted]
    return pa.table(arrays, schema=wanted.with_metadata({MEMBERS_KEY: json.dumps(list(tables)).encode()}))


def members_of(table: pa.Table) -> list[str]:
    """The members that an ensemble's table was made from; empty for a table of one system."""
    metadata = table.schema.metadata or {}
    return list(json.loads(metadata.get(MEMBERS_KEY, b"[]")))


def _check_rows(members: Mapping[str, pa.Table], reasons: Reasons) -> None:
    """A reason for each row that one member has and the first lacks, or the other way round."""
    (first_name, first), *others = members.items()
    for name, table in others:
        if all(first[key].equals(table[key]) for key in KEY):
            continue
        for lacking, having, missing in (
            (name, first_name, _rows_without(first, table)),
            (first_name, name, _rows_without(table, first)),
        ):
            for row in missing.select(list(KEY)).to_pylist():
                where = f"no row for video {row['video']}, frame {row['frame']}, which {having} has"
                reasons.add("missing row", lacking, f"{where}; predict the same frames with every member")


def _rows_without(table: pa.Table, other: pa.Table) -> pa.Table:
    keys = list(KEY)
    return (
        table.select(keys)
        .join(other.select(keys), keys=keys, join_type="left anti")
        .sort_by([(key, "ascending") for key in keys])
    )


def _check_labels(members: Mapping[str, pa.Table], track: Track, reasons: Reasons) -> None:
    """A reason for each label column in which two members differ; null equals null."""
    for column in (LABEL_PREFIX + name for name in track.label_columns):
        having = {name: table[column] for name, table in members.items() if column in table.column_names}
        if not having:
            continue
        first_name, first = next(iter(having.items()))
        for name, labels in having.items():
            same = pc.fill_null(pc.equal(_plain(first), _plain(labels)), False)
            both_null = pc.and_(pc.is_null(_plain(first)), pc.is_null(_plain(labels)))
            differing = pc.sum(pc.invert(pc.or_(same, both_null))).as_py() or 0
            if differing:
                message = (
                    f"{column} differs from {first_name} in {differing:,} rows; were both made from one label set?"
                )
                reasons.add("wrong labels", name, message)


def _plain(labels: pa.ChunkedArray) -> pa.Array:
    """Labels as float64 with null where not annotated, be it null or NaN in the file."""
    values = labels.combine_chunks().cast(pa.float64())
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
