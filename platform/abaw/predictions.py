"""The prediction table: one row a frame, probabilities beside labels; what training hands to search and leaderboard.

Columns: `video: string`, `frame: int32`, the track's prediction columns as float32 (probabilities for classes and
action units, values in [-1, 1] for valence and arousal), each label column as `label_<name>` (null where not
annotated), `fold: int8` (null when the model saw no fold) and `checkpoint: string`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Task, Track

LABEL_PREFIX = "label_"
KEY = ("video", "frame")
LABELS_OF_FRAMES = {"expression", "au"}
"""Columns of a frame table, such as a file of shards: its `valence` and `arousal` are labels, not predictions."""


def schema(track: Track) -> pa.Schema:
    """The Arrow schema of a prediction table for `track`."""
    fields = [pa.field("video", pa.string(), nullable=False), pa.field("frame", pa.int32(), nullable=False)]
    fields += [pa.field(column, pa.float32(), nullable=False) for column in track.columns]
    for task in track.tasks:
        kind = pa.float32() if task.kind == "regression" else pa.int16()
        fields += [pa.field(LABEL_PREFIX + column, kind) for column in task.label_columns]
    fields += [pa.field("fold", pa.int8()), pa.field("checkpoint", pa.string())]
    return pa.schema(fields)


def write_predictions(table: pa.Table, path: Path) -> None:
    """Write the table sorted by video and frame; the file appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    pq.write_table(table.sort_by([(name, "ascending") for name in KEY]), partial, compression="zstd")
    partial.replace(path)


def read_predictions(path: Path, track: Track) -> pa.Table:
    """Read the columns that `track` needs.

    BadInput names missing columns, columns of another type, repeated rows and values that are not finite. A frame table
    is refused: its labels must not leave as predictions.
    """
    if not path.is_file():
        raise refuse(path, "no such prediction table; expected a Parquet file written by a run's predict stage")
    with _reading(path):
        found = pq.read_schema(path)
    present, wanted = found.names, schema(track).names
    if set(present) >= LABELS_OF_FRAMES:
        raise refuse(path, "is a frame table, which holds labels; expected predictions, as a predict stage writes")
    missing = [name for name in (*KEY, *track.columns) if name not in present]
    if missing:
        raise refuse(path, f"lacks the columns {', '.join(missing)} of track {track.name}; it has {', '.join(present)}")
    if problems := list(_type_problems(found, track, path)):
        raise BadInput(problems)
    with _reading(path):
        table = pq.read_table(path, columns=[name for name in wanted if name in present])
    problems = list(_value_problems(table, track, path))
    if problems:
        raise BadInput(problems)
    return table


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """BadInput for whatever pyarrow raises when a file is something else or damaged."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise refuse(path, f"not a Parquet file, or a damaged one ({error}); expected a whole .parquet") from error


def _type_problems(found: pa.Schema, track: Track, path: Path) -> list[Problem]:
    problems = []
    for field in schema(track):
        if field.name not in found.names or (field.nullable and pa.types.is_null(found.field(field.name).type)):
            continue
        kind = found.field(field.name).type
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        whole = pa.types.is_integer(kind)
        if pa.types.is_string(field.type):
            fits, expected = text, "text"
        elif field.name in (*KEY, "fold"):
            fits, expected = whole, "whole numbers"
        else:
            fits, expected = whole or pa.types.is_floating(kind), "numbers"
        if not fits:
            message = f"column {field.name} is of type {kind}; expected {expected} ({field.type})"
            problems.append(Problem(path=str(path), message=message))
    return problems


def _value_problems(table: pa.Table, track: Track, path: Path) -> list[Problem]:
    found = []
    for column in track.columns:
        bad = int((~np.isfinite(table[column].to_numpy())).sum())
        if bad:
            found.append(Problem(path=str(path), message=f"column {column} holds {bad} values that are not finite"))
    for name in KEY:
        if table[name].null_count:
            message = f"column {name} is empty in {table[name].null_count} rows; expected a value in each"
            found.append(Problem(path=str(path), message=message))
    repeated = table.num_rows - table.group_by(list(KEY)).aggregate([]).num_rows
    if repeated:
        message = f"{repeated} rows repeat a (video, frame) that came before; expected one row a frame"
        found.append(Problem(path=str(path), message=message))
    return found


def scores_of(table: pa.Table, task: Task) -> NDArray[np.float64]:
    """The task's predictions (N, C) as float64."""
    return np.stack([table[column].to_numpy() for column in task.columns], axis=1).astype(np.float64)


def labels_of(table: pa.Table, task: Task) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The task's labels (N, D), NaN where not annotated, and which rows (N,) have all of them."""
    columns = [table[LABEL_PREFIX + column].cast(pa.float64()) for column in task.label_columns]
    true_ND = np.stack([column.to_numpy(zero_copy_only=False) for column in columns], axis=1)
    return true_ND, ~np.isnan(true_ND).any(axis=1)
