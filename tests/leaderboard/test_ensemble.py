"""Ensembles: the mean of probabilities, and members that do not go together."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from abaw.predictions import read_predictions, schema, write_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.ensemble import mean_of, members_of, recipe_of
from leaderboard.members import gather

MTL = TRACKS["mtl"]


def test_the_mean_of_probabilities_whatever_the_row_order(make_table: Any) -> None:
    tables = {f"m{seed}": make_table(seed) for seed in range(3)}
    shuffled = tables["m1"].take(np.random.default_rng(0).permutation(tables["m1"].num_rows))
    mean = mean_of({**tables, "m1": shuffled}, MTL)
    ordered = [table.sort_by([("video", "ascending"), ("frame", "ascending")]) for table in tables.values()]
    for column in MTL.columns:
        expected = sum(table[column].to_numpy().astype(np.float64) for table in ordered) / 3
        np.testing.assert_allclose(mean[column].to_numpy(), expected, atol=1e-7)
    assert mean.schema.equals(schema(MTL))
    for column in ("video", "frame", *(f"label_{name}" for name in MTL.label_columns)):
        assert mean[column].to_pylist() == ordered[0][column].to_pylist()
    assert set(mean["checkpoint"].to_pylist()) == {"ensemble"}
    assert set(mean["fold"].to_pylist()) == {None}, "the members are of three folds"


def test_one_member_is_its_own_mean_and_its_fold_stays(make_table: Any) -> None:
    table = make_table(2).sort_by([("video", "ascending"), ("frame", "ascending")])
    mean = mean_of({"only": table}, MTL)
    assert mean.drop_columns(["checkpoint"]).equals(table.drop_columns(["checkpoint"]))


def test_the_file_remembers_its_members(tmp_path: Path, make_table: Any) -> None:
    write_predictions(mean_of({"a.parquet": make_table(0), "b.parquet": make_table(1)}, MTL), tmp_path / "e.parquet")
    assert members_of(read_predictions(tmp_path / "e.parquet", MTL)) == ["a.parquet", "b.parquet"]
    assert members_of(make_table(0)) == []
    assert recipe_of(make_table(0)) is None


def test_members_with_other_rows_are_refused_by_name(make_table: Any) -> None:
    table = make_table(0)
    shorter = table.slice(2)
    with pytest.raises(BadInput) as caught:
        mean_of({"long": table, "short": shorter}, MTL)
    keys = sorted(zip(table["video"].to_pylist()[:2], table["frame"].to_pylist()[:2], strict=True))
    assert str(caught.value).splitlines() == [
        f"short: no row for video {video}, frame {frame}, which long has; predict the same frames with every member"
        for video, frame in keys
    ]
    with pytest.raises(BadInput, match=r"^long: no row .* which part has.*\n.*\n.*short|^long: no row"):
        mean_of({"long": shorter, "part": table}, MTL)


def test_members_whose_labels_differ_are_refused(make_table: Any) -> None:
    table = make_table(0)
    changed = table["label_expression"].to_pylist()
    changed[1:3] = [None if label is not None else 0 for label in changed[1:3]]
    index = table.schema.get_field_index("label_expression")
    other = table.set_column(index, table.schema.field(index), pa.array(changed, table.schema.field(index).type))
    with pytest.raises(BadInput, match="other: label_expression differs from first in 2 rows"):
        mean_of({"first": table, "other": other}, MTL)


def test_a_member_without_labels_and_nan_for_null_are_no_difference(make_table: Any) -> None:
    table = make_table(0)
    valence = table["label_valence"].to_pylist()
    assert None in valence
    index = table.schema.get_field_index("label_valence")
    as_nan = pa.array([float("nan") if label is None else label for label in valence], pa.float32())
    unlabelled = table.select(["video", "frame", *MTL.columns])
    mean = mean_of({"bare": unlabelled, "a": table, "b": table.set_column(index, "label_valence", as_nan)}, MTL)
    assert sorted(mean["label_valence"].to_pylist(), key=repr) == sorted(valence, key=repr)
    assert mean_of({"bare": unlabelled}, MTL)["label_valence"].null_count == table.num_rows


def test_no_frame_of_a_member_is_in_memory_twice() -> None:
    va, frames = TRACKS["va"], 10_000
    arrow: list[int] = []

    def tables(members: int) -> Iterator[tuple[str, pa.Table]]:
        for k in range(members):
            values = np.random.default_rng(k).random((2, frames), dtype=np.float32)
            columns = {"video": ["v"] * frames, "frame": np.arange(1, frames + 1, dtype=np.int32)}
            yield str(k), pa.table(columns | dict(zip(va.columns, values, strict=True)))
            arrow.append(pa.total_allocated_bytes())

    def peak(members: int) -> int:
        tracemalloc.start()
        assert gather(tables(members), members, va).scores["va"].shape == (members, frames, 2)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)  # imports, once
    member = frames * 2 * 4
    assert peak(60) - peak(20) < 1.1 * 40 * member, "one copy of each member's columns, as float32"
    assert max(arrow) - arrow[0] < 10 * member, "tables go as soon as they are copied"
