"""Migrations: a store of the first version keeps all it holds and gains what is new; a newer one is refused."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board
from leaderboard.schema import VERSION, Base
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
    for name, table in Base.metadata.tables.items():
        assert {column["name"] for column in found.get_columns(name)} == set(table.columns.keys())
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version FROM version")) == VERSION
    open_store(f"sqlite:///{old}", create=True)


def test_a_newer_store_is_refused(old: Path) -> None:
    engine = open_store(f"sqlite:///{old}", create=True)
    with engine.begin() as connection:
        connection.execute(text("UPDATE version SET version = 99"))
    with pytest.raises(BadInput, match="a store of version 99, made by a newer version of this program"):
        open_store(f"sqlite:///{old}", create=False)
