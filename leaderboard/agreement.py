"""Whether prediction tables go together: the same frames and the same labels, compared one table at a time.

An average over some members here and others there would be a different system from frame to frame, so it is refused.
"""

import pyarrow as pa
import pyarrow.compute as pc

from abaw.predictions import KEY, LABEL_PREFIX, schema
from abaw.tracks import Track
from leaderboard.reasons import Reasons


class Agreement:
    """What the tables seen so far have in common: frames, labels and fold; `reasons` says where one departs."""

    def __init__(self, track: Track) -> None:
        self.reasons = Reasons()
        self._track = track
        self._first = ""
        self._keys: pa.Table | None = None
        self._labels: dict[str, tuple[str, pa.ChunkedArray]] = {}
        self._fold: pa.ChunkedArray | None = None
        self._one_fold = True

    def add(self, name: str, table: pa.Table) -> pa.Table | None:
        """The table sorted by video and frame; None, and reasons, when it has other frames than the first table."""
        if self._keys is None:
            table = by_key(table)
            self._first, self._keys = name, table.select(list(KEY)).combine_chunks()
        elif not self._has_the_keys(table):
            table = by_key(table)
            if not self._has_the_keys(table):
                self._compare_rows(name, table)
                return None
        self._compare_labels(name, table)
        self._compare_fold(table)
        return table

    def common(self) -> pa.Table:
        """Frames, labels (null where no table has them) and `fold` (null unless all agree), sorted. BadInput first."""
        self.reasons.raise_any()
        assert self._keys is not None, "an ensemble needs a member"
        wanted = [field for field in schema(self._track) if field.name in KEY or field.name.startswith(LABEL_PREFIX)]
        nulls = pa.chunked_array([pa.nulls(self._keys.num_rows)])
        columns = {name: self._keys[name] for name in KEY} | {name: own for name, (_, own) in self._labels.items()}
        columns["fold"] = self._fold if self._one_fold and self._fold is not None else nulls
        fields = [*wanted, schema(self._track).field("fold")]
        return pa.table([columns.get(f.name, nulls).cast(f.type) for f in fields], schema=pa.schema(fields))

    def _has_the_keys(self, table: pa.Table) -> bool:
        assert self._keys is not None
        return all(self._keys[key].equals(table[key]) for key in KEY)

    def _compare_rows(self, name: str, table: pa.Table) -> None:
        assert self._keys is not None
        for lacking, having, missing in (
            (name, self._first, _rows_without(self._keys, table)),
            (self._first, name, _rows_without(table, self._keys)),
        ):
            for row in missing.select(list(KEY)).to_pylist():
                where = f"no row for video {row['video']}, frame {row['frame']}, which {having} has"
                self.reasons.add("missing row", lacking, f"{where}; predict the same frames with every member")

    def _compare_labels(self, name: str, table: pa.Table) -> None:
        for column in (LABEL_PREFIX + label for label in self._track.label_columns):
            if column not in table.column_names:
                continue
            first_name, first = self._labels.setdefault(column, (name, table[column]))
            if differing := 0 if first.equals(table[column]) else _differing(first, table[column]):
                where = f"{column} differs from {first_name} in {differing:,} rows"
                self.reasons.add("wrong labels", name, f"{where}; were both made from one label set?")

    def _compare_fold(self, table: pa.Table) -> None:
        fold = table["fold"] if "fold" in table.column_names else None
        if self._fold is None:
            self._fold = fold
        self._one_fold = self._one_fold and fold is not None and self._fold is not None and fold.equals(self._fold)


def by_key(table: pa.Table) -> pa.Table:
    """The table sorted by video and frame."""
    return table.sort_by([(key, "ascending") for key in KEY])


def _rows_without(table: pa.Table, other: pa.Table) -> pa.Table:
    keys = list(KEY)
    return by_key(table.select(keys).join(other.select(keys), keys=keys, join_type="left anti"))


def _differing(first: pa.ChunkedArray, labels: pa.ChunkedArray) -> int:
    """Rows in which two label columns differ; null equals null."""
    one, other = _plain(first), _plain(labels)
    same = pc.fill_null(pc.equal(one, other), False)
    both_null = pc.and_(pc.is_null(one), pc.is_null(other))
    return int(pc.sum(pc.invert(pc.or_(same, both_null))).as_py() or 0)


def _plain(labels: pa.ChunkedArray) -> pa.Array:
    """Labels as float64 with null where not annotated, be it null or NaN in the file."""
    values = labels.combine_chunks().cast(pa.float64())
    return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
