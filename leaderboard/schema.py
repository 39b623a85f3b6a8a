"""The store's tables, and how a store of an older version of this program becomes one of today.

A store knows its version. Opening an older one adds what it lacks, in one transaction; nothing is ever dropped. A store
of a newer version is refused.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    ForeignKey,
    Index,
    Table,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from abaw.problems import refuse

PLAIN = JSON(none_as_null=True)


class Base(DeclarativeBase):
    """The store's tables."""


class Entry(Base):
    """One submission: a name in a track."""

    __tablename__ = "entries"
    __table_args__ = (UniqueConstraint("track", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    track: Mapped[str]
    name: Mapped[str]
    author: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(DateTime)
    """UTC, without time zone, since SQLite stores none."""
    status: Mapped[str]
    """valid, invalid, or limited (correct, but the track's rules do not let it count)."""
    score: Mapped[float | None]
    """The track's ranking score, on the public videos where the track keeps private ones; None when there was no truth,
    and for an entry that is not valid."""
    metrics: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    reasons: Mapped[list[str]] = mapped_column(JSON, default=list)
    """Why an entry is invalid or limited, one line a reason."""
    rows: Mapped[int] = mapped_column(default=0)
    videos: Mapped[int] = mapped_column(default=0)
    frames: Mapped[int] = mapped_column(default=0)
    """Rows that the score counted."""
    filled: Mapped[int] = mapped_column(default=0)
    """Rows that had no prediction and were filled from their neighbours in time."""
    file: Mapped[str]
    sha256: Mapped[str] = mapped_column(default="")
    commit: Mapped[str] = mapped_column(default="")
    baseline: Mapped[bool] = mapped_column(default=False)
    note: Mapped[str] = mapped_column(default="")
    members: Mapped[list[str]] = mapped_column(JSON, default=list)
    # From here on: version 2.
    intervals: Mapped[dict[str, list[float]] | None] = mapped_column(PLAIN)
    """95 % interval of each metric, low and high."""
    private_score: Mapped[float | None]
    """The ranking score on the private videos, which nobody is shown before the reveal."""
    private_metrics: Mapped[dict[str, float] | None] = mapped_column(PLAIN)
    private_intervals: Mapped[dict[str, list[float]] | None] = mapped_column(PLAIN)
    withheld: Mapped[bool | None]
    """The Ladder rule keeps the score from being shown."""
    tuning: Mapped[dict[str, dict[str, float]] | None] = mapped_column(PLAIN)
    """Untuned, in-sample and cross-fitted score of what was tuned, by task (or track)."""


class Counts(Base):
    """What each video adds to an entry's score (`leaderboard.per_video`): what comparisons resample."""

    __tablename__ = "counts"

    entry_id: Mapped[int] = mapped_column(ForeignKey("entries.id", ondelete="CASCADE"), primary_key=True)
    counted: Mapped[list[dict[str, Any]]] = mapped_column(JSON)


class Rules(Base):
    """The rules of a track, set before its first entry. A track without a row has none."""

    __tablename__ = "rules"

    track: Mapped[str] = mapped_column(primary_key=True)
    private_share: Mapped[float] = mapped_column(default=0.0)
    """Share of the videos whose scores are private until the reveal."""
    seed: Mapped[int] = mapped_column(default=0)
    """Decides which videos are private."""
    step: Mapped[float | None]
    """The Ladder rule: a score is shown only if it beats its author's best shown one by more than this."""
    most: Mapped[int | None]
    """Valid entries that an author may submit; baselines do not count."""
    revealed_at: Mapped[datetime | None] = mapped_column(DateTime)
    """UTC."""


class Version(Base):
    """One row: the version of the store's tables."""

    __tablename__ = "version"

    version: Mapped[int] = mapped_column(primary_key=True)


Index("entries_by_track", Entry.track, Entry.status)

ADDED: dict[int, tuple[tuple[str, str], ...]] = {
    2: tuple(
        ("entries", column)
        for column in ("intervals", "private_score", "private_metrics", "private_intervals", "withheld", "tuning")
    ),
}
"""Columns by the version that added them to a table of an older one; all may be null. New tables need no mention."""
VERSION = max(ADDED)


def prepare(connection: Connection, url: object) -> None:
    """Make the tables, or bring those of an older version up to date. The caller holds the store's lock."""
    tables = set(inspect(connection).get_table_names())
    found = version_of(connection, tables)
    if found is not None and found > VERSION:
        message = f"a store of version {found}, made by a newer version of this program"
        raise refuse(url, f"{message}, which knows version {VERSION}; update the program")
    Base.metadata.create_all(connection)
    if found is None:
        connection.execute(insert(Version).values(version=VERSION))
        return
    for version in range(found + 1, VERSION + 1):
        for table, column in ADDED[version]:
            _add_column(connection, Base.metadata.tables[table], column)
    if "version" in tables:
        connection.execute(update(Version).values(version=VERSION))
    else:
        connection.execute(insert(Version).values(version=VERSION))


def version_of(connection: Connection, tables: set[str]) -> int | None:
    """The version of the store's tables; None for a database without any. The first version had no number."""
    if "version" in tables:
        return connection.scalar(select(Version.version))
    return 1 if "entries" in tables else None


def _add_column(connection: Connection, table: Table, name: str) -> None:
    preparer, column = connection.dialect.identifier_preparer, table.columns[name]
    kind = column.type.compile(connection.dialect)
    connection.execute(
        text(f"ALTER TABLE {preparer.format_table(table)} ADD COLUMN {preparer.format_column(column)} {kind}")
    )
