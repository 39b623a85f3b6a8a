"""Where entries are kept: one SQLite file (any number of processes may submit at once), through SQLAlchemy.

A write is one transaction that takes the lock at its start, so a name is checked, files appear and the entry is stored,
or none of it happens.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, DateTime, Engine, NullPool, UniqueConstraint, create_engine, event, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from abaw.problems import BadInput, Problem, refuse

DEFAULT_STORE = "sqlite:///leaderboard.sqlite"
SQLITE = {"connect_args": {"timeout": 30.0}}
"""How long (seconds) a writer waits for another one."""


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
    """valid or invalid."""
    score: Mapped[float | None]
    """The track's ranking score; None when there was no truth, and for an invalid entry."""
    metrics: Mapped[dict[str, float]] = mapped_column(JSON, default=dict)
    reasons: Mapped[list[str]] = mapped_column(JSON, default=list)
    """Why an invalid entry is invalid, one line a reason."""
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


def open_store(url: str, *, create: bool) -> Engine:
    """Open the store of that URL (`sqlite:///leaderboard.sqlite`); with `create`, make it when it is not there.

    Raises BadInput when the URL is none, the file is no store, or there is no such file.
    """
    try:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        engine = create_engine(parsed, poolclass=NullPool, **(SQLITE if is_sqlite else {}))
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise refuse(url, f"no database URL ({error}); write --store sqlite:///FILE, such as {DEFAULT_STORE}") from None
    if is_sqlite:
        _prepare_sqlite(engine, Path(parsed.database or ""), create)
    if create:
        with _refusing_others(engine), engine.begin() as connection:
            Base.metadata.create_all(connection)
    return engine


def add_entry(engine: Engine, entry: Entry, *, overwrite: bool, publish: Callable[[], None]) -> None:
    """Store the entry and call `publish` (which puts its files in place) in one transaction.

    Raises BadInput when the track has an entry of that name, unless `overwrite`. An invalid entry never replaces a
    valid one.
    """
    with _refusing_others(engine), Session(engine, expire_on_commit=False) as session, session.begin():
        old = session.scalar(select(Entry).where(Entry.track == entry.track, Entry.name == entry.name))
        if old is not None:
            _check_replaceable(old, entry, overwrite)
            session.delete(old)
            session.flush()
        session.add(entry)
        session.flush()
        publish()


def check_free(engine: Engine, track: str, name: str, *, overwrite: bool) -> None:
    """Refuse a name that the track has already, unless it may be overwritten: early, before work is done."""
    if not overwrite and any(entry.name == name for entry in entries(engine, track)):
        raise _taken(track, name)


def entries(engine: Engine, track: str) -> list[Entry]:
    """All entries of a track, in the order in which they were stored."""
    reading = engine.execution_options(reading=True)
    with _refusing_others(engine), Session(reading, expire_on_commit=False) as session:
        return list(session.scalars(select(Entry).where(Entry.track == track).order_by(Entry.id)))


def _taken(track: str, name: str) -> BadInput:
    message = "there is an entry of this name; choose another --name, or replace it with --overwrite"
    return refuse(f"{track}/{name}", message)


def _check_replaceable(old: Entry, new: Entry, overwrite: bool) -> None:
    if not overwrite:
        raise _taken(old.track, old.name)
    if old.status == "valid" and new.status == "invalid":
        place = f"{old.track}/{old.name}"
        kept = Problem(path=place, message="the new version is invalid; the valid entry stays as it was")
        raise BadInput([kept, *(Problem(path=place, message=reason) for reason in new.reasons)])


@contextmanager
def _refusing_others(engine: Engine) -> Iterator[None]:
    """Turn the database's errors into one line for the user: a file that is no store, a lock that is never freed."""
    try:
        yield
    except DatabaseError as error:
        raise refuse(engine.url, f"cannot be used as a leaderboard store: {error.orig}") from None


def _prepare_sqlite(engine: Engine, file: Path, create: bool) -> None:
    if not create and not file.is_file():
        raise refuse(file, "no such leaderboard; `leaderboard submit` makes it, or name another with --store")
    file.parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        # The driver's own transactions start too late: the lock must be held before the name is looked up.
        connection.isolation_level = None
        if create:
            connection.execute("PRAGMA journal_mode = WAL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        reading = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
