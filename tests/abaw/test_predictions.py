"""The prediction table: written whole and sorted, read only where every value can be used."""

import contextlib
import random

import pyarrow as pa
import pytest

from abaw.predictions import labels_of, read_predictions, schema, scores_of, write_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS

VA = TRACKS["va"]


def table(**columns):
    rows = {
        "video": ["b", "a", "a"],
        "frame": [1, 7, 3],
        "valence": [0.5, -0.25, 0.0],
        "arousal": [0.0, 1.0, -1.0],
        "label_valence": [0.5, None, 0.25],
        "label_arousal": [0.5, 0.25, 0.25],
        "fold": [0, 1, None],
        "checkpoint": ["x"] * 3,
    }
    return pa.table(rows | columns).cast(schema(VA))


def test_rows_are_sorted_and_a_missing_label_is_nan(tmp_path):
    write_predictions(table(), tmp_path / "new" / "p.parquet")
    read = read_predictions(tmp_path / "new" / "p.parquet", VA)
    assert read.select(["video", "frame"]).to_pydict() == {"video": ["a", "a", "b"], "frame": [3, 7, 1]}
    assert scores_of(read, VA.tasks[0]).tolist() == [[0.0, -1.0], [-0.25, 1.0], [0.5, 0.0]]
    true_ND, labelled_N = labels_of(read, VA.tasks[0])
    assert labelled_N.tolist() == [True, False, True]
    assert true_ND[labelled_N].tolist() == [[0.25, 0.25], [0.5, 0.5]]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["p.parquet"]


def test_values_that_cannot_be_used_are_told_together(tmp_path):
    write_predictions(table(video=["a"] * 3, frame=[1, 1, 1], valence=[float("nan"), 0.0, 0.0]), tmp_path / "p.parquet")
    with pytest.raises(BadInput) as refused:
        read_predictions(tmp_path / "p.parquet", VA)
    assert [problem.message for problem in refused.value.problems] == [
        "column valence holds 1 values that are not finite",
        "2 rows repeat a (video, frame) that came before; expected one row a frame",
    ]


def test_a_damaged_table_is_named(tmp_path):
    path = tmp_path / "p.parquet"
    write_predictions(table(), path)
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(BadInput):  # nothing else is raised
            read_predictions(path, VA)
    path.write_bytes(whole[:-20])
    with pytest.raises(BadInput, match=r"p\.parquet: not a Parquet file, or a damaged one"):
        read_predictions(path, VA)
