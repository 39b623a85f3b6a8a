"""Migrations: a store of the first version keeps all it holds and gains what is new; a newer one is refused."""

import sqlite3
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board
from leaderboard.schema import ENTRIES, METADATA, VERSION, Entry, add
from leaderboard.store import counts_of, entries, open_store

FIRST = """
CREATE TABLE entries (
    id INTEGER NOT NULL, track VARCHAR NOT NULL, name VARCHAR NOT NULL, author VARCHAR NOT NULL,
    created_at DATETIME NOT NULL, status VARCHAR NOT NULL, score FLOAT, metrics JSON NOT NULL, reasons JSON NOT NULL,
    rows INTEGER NOT NULL, videos INTEGER NOT NULL, frames INTEGER NOT NULL, filled INTEGER NOT NULL,
    file VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, "commit" VARCHAR NOT NULL, baseline BOOLEAN NOT NULL,
    note VARCHAR NOT NULL, members JSON NOT NULL, PRIMARY KEY (id), UNIQUE (track, name)
);
INSERT INTO entries VALUES (7, 'va', 'old', 'ann', '2026-01-02 03:04:05.000000', 'valid', 0.5,
    '{"S_VA": 0.5}', '[]', 10, 2, 10, 1, 'f.txt', 'ab', 'cd', 0, 'n', '["m"]');
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as the first version of this program left it."""
    path = tmp_path / "old.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(FIRST)
    connection.close()
    return path


@pytest.mark.parametrize("create", [False, True])
def test_a_store_of_the_first_version_is_brought_up_to_date(old: Path, create: bool) -> None:
    engine = open_store(f"sqlite:///{old}", create=create)
    (entry,) = entries(engine, "va")
    assert (entry.id, entry.name, entry.score, entry.metrics) == (7, "old", 0.5, {"S_VA": 0.5})
    assert (entry.intervals, entry.private_score, entry.withheld, entry.tuning) == (None, None, None, None)
    assert counts_of(engine, entry) == []
    (row,) = board.rows(f"sqlite:///{old}", TRACKS["va"])
    assert (row.rank, row.score, row.intervals, row.coverage) == (1, 0.5, {}, 0.9)
    found = inspect(engine)
    for name, table in METADATA.tables.items():
        assert {column["name"] for column in found.get_columns(name)} == set(table.columns.keys())
        made = {index["name"] for index in found.get_indexes(name) if not index["unique"]}
        assert made == {index.name for index in table.indexes}
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version FROM version")) == VERSION
    open_store(f"sqlite:///{old}", create=True)


def test_a_newer_store_is_refused(old: Path) -> None:
    engine = open_store(f"sqlite:///{old}", create=True)
    with engine.begin() as connection:
        connection.execute(text("UPDATE version SET version = 99"))
    with pytest.raises(BadInput, match="a store of version 99, made by a newer version of this program"):
        open_store(f"sqlite:///{old}", create=False)


def test_columns_are_made_from_the_fields_of_the_rows() -> None:
    made = {name: (str(column.type), column.nullable) for name, column in ENTRIES.columns.items()}
    assert list(made) == [field.name for field in fields(Entry)]
    assert (
        made.items()
        >= {
            "id": ("INTEGER", False),
            "name": ("VARCHAR", False),
            "created_at": ("DATETIME", False),
            "score": ("DOUBLE", True),
            "metrics": ("JSON", False),
            "rows": ("INTEGER", False),
            "baseline": ("BOOLEAN", False),
            "intervals": ("JSON", True),
            "withheld": ("BOOLEAN", True),
        }.items()
    )


def test_what_is_not_known_is_null(store_url: str) -> None:
    engine = open_store(store_url, create=True)
    entry = Entry(track="va", name="a", created_at=datetime(2026, 1, 1), status="invalid", file="f")
    with engine.begin() as connection:
        number = add(connection, ENTRIES, entry)
        wanted = text("SELECT count(*) FROM entries WHERE intervals IS NULL AND tuning IS NULL AND score IS NULL")
        assert connection.scalar(wanted) == 1
    assert entries(engine, "va") == [replace(entry, id=number)]
