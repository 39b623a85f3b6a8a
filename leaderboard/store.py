"""Where entries are kept: one SQLite file, or PostgreSQL where a team shares a board, through SQLAlchemy.

Any number of processes may submit at once. A write is one transaction that takes the store's lock at its start, so a
name and the track's rules are checked, files appear and the entry is stored, or none of it happens.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, func, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError
from sqlalchemy.orm import Session

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import get_track
from leaderboard.ladder import is_withheld
from leaderboard.schema import VERSION, Counts, Entry, Rules, prepare, version_of

DEFAULT_STORE = "sqlite:///leaderboard.sqlite"
SQLITE = {"connect_args": {"timeout": 30.0}}
"""How long (seconds) a writer waits for another one."""
POSTGRES_LOCK = 2_017_110_914
"""Number of the advisory lock that the writers of a PostgreSQL store take."""


def open_store(url: str, *, create: bool) -> Engine:
    """Open the store of that URL (`sqlite:///leaderboard.sqlite`); with `create`, make it when it is not there.

    Raises BadInput when the URL is none, the file is no store, or there is no such file.
    """
    try:
        parsed = make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        engine = create_engine(parsed, poolclass=NullPool, **(SQLITE if is_sqlite else {}))
    except ModuleNotFoundError as error:
        message = f"{error}; a shared store needs the extra: pip install 'abaw-platform[postgres]'"
        raise refuse("--store", f"{message}, and postgresql+psycopg://USER@HOST/DATABASE") from None
    except (ArgumentError, NoSuchModuleError) as error:
        raise refuse(url, f"no database URL ({error}); write --store sqlite:///FILE, such as {DEFAULT_STORE}") from None
    if is_sqlite:
        _prepare_sqlite(engine, Path(parsed.database or ""), create)
    else:
        event.listen(engine, "begin", _lock_postgres)
    with _refusing_others(engine):
        _bring_up_to_date(engine, create)
    return engine


def add_entry(
    engine: Engine,
    entry: Entry,
    *,
    overwrite: bool,
    publish: Callable[[], None],
    counted: Sequence[dict[str, Any]] = (),
) -> None:
    """Store the entry and call `publish` (which puts its files in place) in one transaction.

    The rules of the track are kept: an entry too many is stored as limited, without a score, and not published.
    `counted` is what each video adds to the score (`leaderboard.per_video.to_json`).

    Raises BadInput when the track has an entry of that name, unless `overwrite`. An invalid entry never replaces a
    valid one.
    """
    with _refusing_others(engine), Session(engine, expire_on_commit=False) as session, session.begin():
        old = session.scalar(select(Entry).where(Entry.track == entry.track, Entry.name == entry.name))
        rules = session.get(Rules, entry.track) or no_rules(entry.track)
        _keep_rules(session, entry, rules)
        if old is not None:
            _check_replaceable(old, entry, rules, overwrite)
            session.query(Counts).where(Counts.entry_id == old.id).delete()
            session.delete(old)
            session.flush()
        session.add(entry)
        session.flush()
        if entry.status == "valid" and counted:
            session.add(Counts(entry_id=entry.id, counted=list(counted)))
            session.flush()
        if entry.status != "limited":
            publish()


def check_free(engine: Engine, track: str, name: str, *, overwrite: bool) -> None:
    """Refuse a name that the track has already, unless it may be overwritten: early, before work is done."""
    with _reading(engine) as session:
        wanted = select(func.count()).where(Entry.track == track, Entry.name == name)
        if not overwrite and session.scalar(wanted):
            raise _taken(track, name)


def entries(engine: Engine, track: str) -> list[Entry]:
    """All entries of a track, in the order in which they were stored."""
    with _reading(engine) as session:
        return list(session.scalars(select(Entry).where(Entry.track == track).order_by(Entry.id)))


def counts_of(engine: Engine, entry: Entry) -> list[dict[str, Any]]:
    """What each video adds to the entry's score; empty for an entry without one, and for one of an older store."""
    with _reading(engine) as session:
        found = session.get(Counts, entry.id)
        return found.counted if found else []


def rules_of(engine: Engine, track: str) -> Rules:
    """The rules of a track; those of a track that has none allow everything and hide nothing."""
    with _reading(engine) as session:
        return session.get(Rules, track) or no_rules(track)


def no_rules(track: str) -> Rules:
    """What holds for a track without rules."""
    return Rules(track=track, private_share=0.0, seed=0, step=None, most=None, revealed_at=None)


def set_rules(engine: Engine, rules: Rules) -> None:
    """Set the rules of a track. BadInput once it has entries: these were submitted under other rules."""
    with _refusing_others(engine), Session(engine) as session, session.begin():
        if number := session.scalar(select(func.count()).where(Entry.track == rules.track)):
            message = f"the track has {number:,} entries; rules are set before the first one; start another --store"
            raise refuse(f"rules of track {rules.track}", message)
        session.merge(rules)


def reveal(engine: Engine, track: str) -> None:
    """Show the private scores of a track from now on, for good. BadInput where there are none to show."""
    with _refusing_others(engine), Session(engine) as session, session.begin():
        rules = session.get(Rules, track)
        if rules is None or not (rules.private_share or rules.step is not None):
            raise refuse(f"rules of track {track}", "nothing is hidden: no private videos and no Ladder rule")
        rules.revealed_at = rules.revealed_at or _now()


def _keep_rules(session: Session, entry: Entry, rules: Rules) -> None:
    """Limit or withhold a new entry as the rules say."""
    if entry.status != "valid":
        return
    own = select(Entry).where(Entry.track == entry.track, Entry.author == (entry.author or ""), Entry.status == "valid")
    others = list(session.scalars(own.where(Entry.name != entry.name)))
    if rules.revealed_at is not None:
        _limit(entry, f"submitted after the reveal of {rules.revealed_at:%Y-%m-%d %H:%M} UTC")
    elif rules.most is not None and not entry.baseline and sum(not other.baseline for other in others) >= rules.most:
        _limit(entry, f"{entry.author or 'this author'} has used all {rules.most} submissions of track {entry.track}")
    elif entry.score is not None:
        shown = [other.score for other in others if other.score is not None and not other.withheld]
        better = get_track(entry.track).higher_is_better
        entry.withheld = is_withheld(entry.score, shown, step=rules.step, higher_is_better=better)


def _limit(entry: Entry, reason: str) -> None:
    entry.status, entry.reasons, entry.file = "limited", [reason], ""
    entry.score, entry.metrics, entry.intervals = None, {}, None
    entry.private_score, entry.private_metrics, entry.private_intervals = None, None, None


def _taken(track: str, name: str) -> BadInput:
    message = "there is an entry of this name; choose another --name, or replace it with --overwrite"
    return refuse(f"{track}/{name}", message)


def _check_replaceable(old: Entry, new: Entry, rules: Rules, overwrite: bool) -> None:
    if not overwrite:
        raise _taken(old.track, old.name)
    place = f"{old.track}/{old.name}"
    if old.status == "valid" and (rules.most is not None or rules.step is not None):
        raise refuse(place, "the rules of this track count every submission: none is replaced; choose another --name")
    if old.status == "valid" and new.status != "valid":
        kept = Problem(path=place, message=f"the new version is {new.status}; the valid entry stays as it was")
        raise BadInput([kept, *(Problem(path=place, message=reason) for reason in new.reasons)])


@contextmanager
def _reading(engine: Engine) -> Iterator[Session]:
    """A session that waits for no writer and changes nothing."""
    reading = engine.execution_options(reading=True)
    with _refusing_others(engine), Session(reading, expire_on_commit=False) as session:
        yield session


@contextmanager
def _refusing_others(engine: Engine) -> Iterator[None]:
    """Turn the database's errors into one line for the user: a file that is no store, a lock that is never freed."""
    try:
        yield
    except DatabaseError as error:
        raise refuse(engine.url, f"cannot be used as a leaderboard store: {error.orig}") from None


def _bring_up_to_date(engine: Engine, create: bool) -> None:
    """Make the tables where there are none and `create` says so; add what those of an older version lack."""
    with engine.execution_options(reading=True).connect() as connection:
        found = version_of(connection, set(inspect(connection).get_table_names()))
    if found == VERSION or (found is None and not create):
        return
    with engine.begin() as connection:
        prepare(connection, engine.url)


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


def _lock_postgres(connection: Connection) -> None:
    """Writers queue up; readers never wait. The lock ends with the transaction, also when its process is killed."""
    if not connection.get_execution_options().get("reading", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({POSTGRES_LOCK})")


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
