"""Migrations: a store of any older version keeps all it holds and gains what is new; a newer one is refused."""

import sqlite3
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board
from leaderboard.ledger import trials
from leaderboard.schema import ENTRIES, METADATA, VERSION, Entry, Origin, add
from leaderboard.store import add_entry, counts_of, entries, open_store, origin_of
from leaderboard.teams import team_names

COLUMNS = """
    id INTEGER NOT NULL, track VARCHAR NOT NULL, name VARCHAR NOT NULL, author VARCHAR NOT NULL,
    created_at DATETIME NOT NULL, status VARCHAR NOT NULL, score DOUBLE, metrics JSON NOT NULL, reasons JSON NOT NULL,
    rows INTEGER NOT NULL, videos INTEGER NOT NULL, frames INTEGER NOT NULL, filled INTEGER NOT NULL,
    file VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, "commit" VARCHAR NOT NULL, baseline BOOLEAN NOT NULL,
    note VARCHAR NOT NULL, members JSON NOT NULL"""
VALUES = """7, 'va', 'old', 'ann', '2026-01-02 03:04:05.000000', 'valid', 0.5,
    '{"S_VA": 0.5}', '[]', 10, 2, 10, 1, 'f.txt', 'ab', 'cd', 0, 'n', '["m"]'"""
FIRST = f"""
CREATE TABLE entries ({COLUMNS}, PRIMARY KEY (id), UNIQUE (track, name));
INSERT INTO entries VALUES ({VALUES});
"""
SECOND = f"""
CREATE TABLE entries ({COLUMNS},
    intervals JSON, private_score DOUBLE, private_metrics JSON, private_intervals JSON, withheld BOOLEAN, tuning JSON,
    PRIMARY KEY (id), UNIQUE (track, name));
CREATE INDEX entries_by_track ON entries (track, status);
CREATE TABLE counts (entry_id INTEGER NOT NULL, counted JSON NOT NULL, PRIMARY KEY (entry_id),
    FOREIGN KEY(entry_id) REFERENCES entries (id) ON DELETE CASCADE);
CREATE TABLE rules (track VARCHAR NOT NULL, private_share DOUBLE NOT NULL, seed INTEGER NOT NULL, step DOUBLE,
    most INTEGER, revealed_at DATETIME, PRIMARY KEY (track));
CREATE TABLE version (version INTEGER NOT NULL, PRIMARY KEY (version));
INSERT INTO entries VALUES ({VALUES}, '{{"S_VA": [0.4, 0.6]}}', 0.3, '{{"S_VA": 0.3}}', '{{"S_VA": [0.2, 0.4]}}', 0,
    '{{"va": {{"untuned": 0.1, "in_sample": 0.2, "cross_fitted": 0.15}}}}');
INSERT INTO counts VALUES (7, '[{{"video": "v", "fold": null, "frames": 3, "state": {{}}}}]');
INSERT INTO rules VALUES ('va', 0.5, 3, 0.01, 5, '2026-02-03 00:00:00.000000');
INSERT INTO version VALUES (2);
"""
THIRD = f"""{SECOND}
CREATE TABLE teams (name VARCHAR NOT NULL, digest VARCHAR NOT NULL, created_at DATETIME NOT NULL, PRIMARY KEY (name));
CREATE TABLE audit (id INTEGER NOT NULL, at DATETIME NOT NULL, team VARCHAR NOT NULL, address VARCHAR NOT NULL,
    what VARCHAR NOT NULL, subject VARCHAR NOT NULL, outcome VARCHAR NOT NULL, times INTEGER NOT NULL,
    upload BOOLEAN NOT NULL, PRIMARY KEY (id));
CREATE INDEX ix_audit_at ON audit (at);
CREATE TABLE trials (challenge VARCHAR NOT NULL, number INTEGER NOT NULL, track VARCHAR NOT NULL, at DATETIME NOT NULL,
    file VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, "commit" VARCHAR NOT NULL, configs JSON NOT NULL,
    members JSON NOT NULL, weights JSON NOT NULL, allowed JSON NOT NULL, validation VARCHAR NOT NULL,
    score DOUBLE NOT NULL, reply_at DATETIME, reply_score DOUBLE, reply VARCHAR NOT NULL,
    PRIMARY KEY (challenge, number));
INSERT INTO teams VALUES ('ann', 'digest', '2026-01-01 00:00:00.000000');
INSERT INTO audit VALUES (1, '2026-01-01 00:00:00.000000', 'ann', '::1', 'GET /', '', 'done', 2, 0);
INSERT INTO trials VALUES ('ABAW8 VA', 1, 'va', '2026-01-01 00:00:00.000000', 'f.zip', 'ab', 'cd', '{{"run": "h"}}',
    '["m"]', '[]', '[]', 'old', 0.5, NULL, NULL, '');
UPDATE version SET version = 3;
"""
FOURTH = f"""{THIRD}
CREATE TABLE origins (entry_id INTEGER NOT NULL, tables JSON NOT NULL, recipe JSON, PRIMARY KEY (entry_id),
    FOREIGN KEY(entry_id) REFERENCES entries (id) ON DELETE CASCADE);
INSERT INTO origins VALUES (7, '["/t.parquet"]', NULL);
UPDATE version SET version = 4;
"""


def written(path: Path, script: str) -> Path:
    with sqlite3.connect(path) as connection:
        connection.executescript(script)
    connection.close()
    return path


def contents(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of every table, but the version."""
    with sqlite3.connect(path) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in names}
    connection.close()
    return {name: rows for name, rows in found.items() if name != "version"}


def check_is_of_today(engine: Engine) -> None:
    """All tables, columns and indexes are there, and the version says so."""
    found = inspect(engine)
    for name, table in METADATA.tables.items():
        assert {column["name"] for column in found.get_columns(name)} == set(table.columns.keys())
        made = {index["name"] for index in found.get_indexes(name) if not index["unique"]}
        assert made == {index.name for index in table.indexes}
    with engine.connect() as connection:
        assert list(connection.scalars(text("SELECT version FROM version"))) == [VERSION]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as the first version of this program left it."""
    return written(tmp_path / "old.sqlite", FIRST)


@pytest.mark.parametrize("create", [False, True])
def test_a_store_of_the_first_version_is_brought_up_to_date(old: Path, create: bool) -> None:
    engine = open_store(f"sqlite:///{old}", create=create)
    (entry,) = entries(engine, "va")
    assert (entry.id, entry.name, entry.score, entry.metrics) == (7, "old", 0.5, {"S_VA": 0.5})
    assert (entry.intervals, entry.private_score, entry.withheld, entry.tuning) == (None, None, None, None)
    assert counts_of(engine, entry) == []
    (row,) = board.rows(f"sqlite:///{old}", TRACKS["va"])
    assert (row.rank, row.score, row.intervals, row.coverage) == (1, 0.5, {}, 0.9)
    check_is_of_today(engine)
    open_store(f"sqlite:///{old}", create=True)


@pytest.mark.parametrize("script", [SECOND, THIRD, FOURTH], ids=["2", "3", "4"])
@pytest.mark.parametrize("create", [False, True])
def test_a_later_store_keeps_all_it_holds_and_is_brought_up_to_date(tmp_path: Path, script: str, create: bool) -> None:
    path = written(tmp_path / "old.sqlite", script)
    before, url = contents(path), f"sqlite:///{path}"
    engine = open_store(url, create=create)
    check_is_of_today(engine)
    after = contents(path)
    assert {name: after[name] for name in before} == before
    assert {name: rows for name, rows in after.items() if rows and name not in before} == {}
    (entry,) = entries(engine, "va")
    assert counts_of(engine, entry) == [{"video": "v", "fold": None, "frames": 3, "state": {}}]
    origin = origin_of(engine, entry)
    assert (origin.tables if origin else None) == (["/t.parquet"] if script == FOURTH else None)
    (row,) = board.rows(url, TRACKS["va"])
    assert (row.rank, row.score, row.public_score, row.videos_scored) == (1, 0.3, 0.5, "private")
    assert row.tuning == {"va": {"untuned": 0.1, "in_sample": 0.2, "cross_fitted": 0.15}}
    if script != SECOND:
        assert team_names(engine) == ["ann"]
        assert [trial.configs for trial in trials(engine, "ABAW8 VA")] == [{"run": "h"}]
    new = Entry(track="expr", name="new", created_at=datetime(2026, 3, 1), status="valid", score=0.1, file="g")
    stored = add_entry(engine, new, overwrite=False, publish=lambda: None, origin=Origin(tables=["a"]))
    assert origin_of(engine, stored) == Origin(entry_id=stored.id, tables=["a"])
    check_is_of_today(open_store(url, create=True))


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
