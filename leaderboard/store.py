"""Where entries are kept: one SQLite file, or PostgreSQL where a team shares a board, through SQLAlchemy.

Any number of processes may submit at once. A write is one transaction that takes the store's lock at its start, so a
name and the track's rules are checked, files appear and the entry is stored, or none of it happens.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Engine,
    NullPool,
    create_engine,
    delete,
    event,
    func,
    inspect,
    select,
    update,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import get_track
from leaderboard.ladder import is_withheld
from leaderboard.schema import (
    COUNTS,
    ENTRIES,
    ORIGINS,
    RULES,
    VERSION,
    Counts,
    Entry,
    Origin,
    Rules,
    add,
    find,
    now,
    prepare,
    read,
    version_of,
)

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
        message = f"no database URL ({error}); write --store sqlite:///FILE, such as {DEFAULT_STORE}"
        raise refuse(url, f"{message}, or postgresql+psycopg://USER@HOST/DATABASE") from None
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
    origin: Origin | None = None,
) -> Entry:
    """Store the entry and call `publish` (which puts its files in place) in one transaction.

    The rules of the track are kept: an entry too many is stored as limited, without a score, and not published.
    `counted` is what each video adds to the score (`leaderboard.per_video.to_json`), `origin` what it was made from.

    Returns:
        The entry as it is stored.

    Raises:
        BadInput: the track has an entry of that name, unless `overwrite`. An invalid entry never replaces a valid one.
    """
    with _refusing_others(engine), engine.begin() as connection:
        old = _named(connection, entry.track, entry.name)
        rules = _rules(connection, entry.track)
        entry = _keep_rules(connection, entry, rules)
        if old is not None:
            _check_replaceable(old, entry, rules, overwrite)
            for table, key in ((COUNTS, COUNTS.c.entry_id), (ORIGINS, ORIGINS.c.entry_id), (ENTRIES, ENTRIES.c.id)):
                connection.execute(delete(table).where(key == old.id))
        entry = replace(entry, id=add(connection, ENTRIES, entry))
        if entry.status == "valid" and counted:
            add(connection, COUNTS, Counts(entry_id=entry.id, counted=list(counted)))
        if entry.status == "valid" and origin is not None:
            add(connection, ORIGINS, replace(origin, entry_id=entry.id))
        if entry.status != "limited":
            publish()
    return entry


def check_free(engine: Engine, track: str, name: str, *, overwrite: bool) -> None:
    """Refuse a name that the track has already, unless it may be overwritten: early, before work is done."""
    if not overwrite and entry_of(engine, track, name) is not None:
        raise _taken(track, name)


def entries(engine: Engine, track: str) -> list[Entry]:
    """All entries of a track, in the order in which they were stored."""
    with reading(engine) as connection:
        return read(connection, Entry, select(ENTRIES).where(ENTRIES.c.track == track).order_by(ENTRIES.c.id))


def entry_of(engine: Engine, track: str, name: str) -> Entry | None:
    """The entry of that name."""
    with reading(engine) as connection:
        return _named(connection, track, name)


def count_entries(engine: Engine, track: str) -> int:
    """How many entries a track has."""
    with reading(engine) as connection:
        return _count(connection, track)


class Brief(NamedTuple):
    """What tells entries apart, and nothing more: ten thousand are read in a moment."""

    id: int
    name: str
    author: str
    status: str
    score: float | None
    sha256: str
    file: str


def briefs(engine: Engine, track: str) -> list[Brief]:
    """Every entry of a track in brief, in the order in which they were stored."""
    columns = [ENTRIES.c[name] for name in Brief._fields]
    with reading(engine) as connection:
        found = connection.execute(select(*columns).where(ENTRIES.c.track == track).order_by(ENTRIES.c.id))
        return [Brief(*row) for row in found]


def tracks_of(engine: Engine) -> set[str]:
    """The tracks that have entries."""
    with reading(engine) as connection:
        return set(connection.scalars(select(ENTRIES.c.track).distinct()))


def counts_of(engine: Engine, entry: Entry | Brief) -> list[dict[str, Any]]:
    """What each video adds to the entry's score; empty for an entry without one, and for one of an older store."""
    with reading(engine) as connection:
        return connection.scalar(select(COUNTS.c.counted).where(COUNTS.c.entry_id == entry.id)) or []


def origin_of(engine: Engine, entry: Entry) -> Origin | None:
    """What the entry's file was made from; None where that is not known."""
    with reading(engine) as connection:
        return find(connection, Origin, select(ORIGINS).where(ORIGINS.c.entry_id == entry.id))


def rules_of(engine: Engine, track: str) -> Rules:
    """The rules of a track; those of a track that has none allow everything and hide nothing."""
    with reading(engine) as connection:
        return _rules(connection, track)


def set_rules(engine: Engine, rules: Rules) -> None:
    """Set the rules of a track. BadInput once it has entries: these were submitted under other rules."""
    with _refusing_others(engine), engine.begin() as connection:
        if number := _count(connection, rules.track):
            message = f"the track has {number:,} entries; rules are set before the first one; start another --store"
            raise refuse(f"rules of track {rules.track}", message)
        connection.execute(delete(RULES).where(RULES.c.track == rules.track))
        add(connection, RULES, rules)


def reveal(engine: Engine, track: str) -> None:
    """Show the private scores of a track from now on, for good. BadInput where there are none to show."""
    with _refusing_others(engine), engine.begin() as connection:
        rules = _rules(connection, track)
        if not (rules.private_share or rules.step is not None):
            raise refuse(f"rules of track {track}", "nothing is hidden: no private videos and no Ladder rule")
        if rules.revealed_at is None:
            connection.execute(update(RULES).where(RULES.c.track == track).values(revealed_at=now()))


def _named(connection: Connection, track: str, name: str) -> Entry | None:
    return find(connection, Entry, select(ENTRIES).where(ENTRIES.c.track == track, ENTRIES.c.name == name))


def _count(connection: Connection, track: str) -> int:
    return connection.scalar(select(func.count()).where(ENTRIES.c.track == track)) or 0


def _rules(connection: Connection, track: str) -> Rules:
    return find(connection, Rules, select(RULES).where(RULES.c.track == track)) or Rules(track=track)


def _keep_rules(connection: Connection, entry: Entry, rules: Rules) -> Entry:
    """A new entry, limited or withheld as the rules say."""
    if entry.status != "valid":
        return entry
    columns = select(ENTRIES.c.score, ENTRIES.c.withheld, ENTRIES.c.baseline)
    own = columns.where(ENTRIES.c.track == entry.track, ENTRIES.c.author == entry.author, ENTRIES.c.status == "valid")
    others = connection.execute(own.where(ENTRIES.c.name != entry.name)).all()
    if rules.revealed_at is not None:
        return _limited(entry, f"submitted after the reveal of {rules.revealed_at:%Y-%m-%d %H:%M} UTC")
    if rules.most is not None and not entry.baseline and sum(not other.baseline for other in others) >= rules.most:
        return _limited(
            entry, f"{entry.author or 'this author'} has used all {rules.most} submissions of track {entry.track}"
        )
    if entry.score is None:
        return entry
    shown = [other.score for other in others if other.score is not None and not other.withheld]
    better = get_track(entry.track).higher_is_better
    return replace(entry, withheld=is_withheld(entry.score, shown, step=rules.step, higher_is_better=better))


def _limited(entry: Entry, reason: str) -> Entry:
    public = replace(entry, status="limited", reasons=[reason], file="", score=None, metrics={}, intervals=None)
    return replace(public, private_score=None, private_metrics=None, private_intervals=None)


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
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that waits for no writer and changes nothing."""
    with _refusing_others(engine), engine.execution_options(reading=True).connect() as connection:
        yield connection


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
    if found is None and not create:
        raise refuse(engine.url, "holds no leaderboard; `leaderboard submit` makes it, or name another with --store")
    if found == VERSION:
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
