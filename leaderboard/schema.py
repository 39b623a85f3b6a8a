"""The store's tables, and how a store of an older version of this program becomes one of today.

A row is a plain dataclass, and a table has a column for each of its fields. SQLAlchemy's ORM is not used: importing it
and mapping the classes took about a quarter of the time of `leaderboard show`.

A store knows its version. Opening an older one adds what it lacks, in one transaction; nothing is ever dropped. A store
of a newer version is refused.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import UTC, datetime
from types import UnionType
from typing import Any, TypeVar

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    UniqueConstraint,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.schema import SchemaItem

from abaw.problems import refuse

KINDS: dict[Any, Any] = {str: String, int: Integer, float: Double, bool: Boolean, datetime: DateTime}
"""Types of columns by those of fields; all others are JSON."""
METADATA = MetaData()
R = TypeVar("R")


def _table(row: type, name: str, keys: tuple[str, ...], *more: SchemaItem) -> Table:
    """The table of these rows: a column a field, in their order, which may be null where the field may be None."""
    return Table(name, METADATA, *(_column(one, one.name in keys) for one in fields(row)), *more)


def _column(one: Field[Any], is_key: bool) -> Column[Any]:
    may_be_none = isinstance(one.type, UnionType)
    kind = one.type.__args__[0] if isinstance(one.type, UnionType) else one.type
    return Column(one.name, KINDS.get(kind, JSON(none_as_null=True)), primary_key=is_key, nullable=may_be_none)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One submission: a name in a track."""

    id: int = 0
    """The store's number of it; 0 before it is stored."""
    track: str
    name: str
    author: str = ""
    created_at: datetime
    """UTC, without time zone, since SQLite stores none."""
    status: str
    """valid, invalid, or limited (correct, but the track's rules do not let it count)."""
    score: float | None = None
    """The track's ranking score, on the public videos where the track keeps private ones; None when there was no truth,
    and for an entry that is not valid."""
    metrics: dict[str, float] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    """Why an entry is invalid or limited, one line a reason."""
    rows: int = 0
    videos: int = 0
    frames: int = 0
    """Rows that the score counted."""
    filled: int = 0
    """Rows that had no prediction and were filled from their neighbours in time."""
    file: str
    sha256: str = ""
    commit: str = ""
    baseline: bool = False
    note: str = ""
    members: list[str] = field(default_factory=list)
    # From here on: version 2.
    intervals: dict[str, list[float]] | None = None
    """95 % interval of each metric, low and high."""
    private_score: float | None = None
    """The ranking score on the private videos, which nobody is shown before the reveal."""
    private_metrics: dict[str, float] | None = None
    private_intervals: dict[str, list[float]] | None = None
    withheld: bool | None = None
    """The Ladder rule keeps the score from being shown."""
    tuning: dict[str, dict[str, float | None]] | None = None
    """Untuned, in-sample and cross-fitted score of what was tuned, by task (or track); null for one not known."""


ENTRIES = _table(
    Entry,
    "entries",
    ("id",),
    UniqueConstraint("track", "name"),
    Index("entries_by_track", "track", "status"),
    # Version 5: ten thousand entries are ranked without reading them, a row of which is thousands of characters.
    Index("entries_by_rank", "track", "score", "private_score", "withheld", "status", "created_at", "name"),
)


def _of_entry() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["entry_id"], ["entries.id"], ondelete="CASCADE")


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What each video adds to an entry's score (`leaderboard.per_video`): what comparisons resample."""

    entry_id: int
    counted: list[dict[str, Any]]


COUNTS = _table(Counts, "counts", ("entry_id",), _of_entry())


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the file of an entry was made from, where that is known. Version 4."""

    entry_id: int = 0
    """0 before the entry is stored."""
    tables: list[str]
    """Absolute paths of the prediction tables of which the mean was submitted."""
    recipe: Mapping[str, Any] | None = None
    """How an ensemble was made (`leaderboard.recipe`)."""


ORIGINS = _table(Origin, "origins", ("entry_id",), _of_entry())


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of a track, set before its first entry. A track without a row has none."""

    track: str
    private_share: float = 0.0
    """Share of the videos whose scores are private until the reveal."""
    seed: int = 0
    """Decides which videos are private."""
    step: float | None = None
    """The Ladder rule: a score is shown only if it beats its author's best shown one by more than this."""
    most: int | None = None
    """Valid entries that an author may submit; baselines do not count."""
    revealed_at: datetime | None = None
    """UTC."""


RULES = _table(Rules, "rules", ("track",))


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team of `leaderboard serve`. From here to `Trial`: version 3."""

    name: str
    """The author of its entries."""
    digest: str
    """SHA-256 of the token, hexadecimal; the token itself is nowhere (`leaderboard.teams`)."""
    created_at: datetime
    """UTC."""


TEAMS = _table(Team, "teams", ("name",))


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Who did what on the server, and with what outcome. No token and nothing that an unknown client wrote."""

    id: int = 0
    """The store's number of it; 0 before it is stored."""
    at: datetime
    """UTC; of repeated requests the first."""
    team: str
    """Empty for a client without a right token."""
    address: str
    what: str
    """Method and route, such as `PUT /api/tracks/{track}/entries/{name}`, or the command."""
    subject: str
    """Track and entry that a team asked for; empty for others."""
    outcome: str
    """`done`, or the code of the refusal."""
    times: int = 1
    """Equal requests within a minute share a row."""
    upload: bool = False
    """An upload that counts against the uploads a day; it has a row of its own."""


AUDIT = _table(Audit, "audit", ("id",), Index("ix_audit_at", "at"))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One official trial: a file that was handed to the organisers (`leaderboard.ledger`)."""

    challenge: str
    number: int
    """From 1 in its challenge."""
    track: str
    at: datetime
    """UTC."""
    file: str
    sha256: str
    commit: str
    """Of the code that made the predictions."""
    configs: dict[str, str]
    """Hash of its config, by run folder: all runs that the members stand on."""
    members: list[str]
    weights: list[str]
    """Weights that no run made and that a run started from."""
    allowed: list[str]
    """Rules of `leaderboard.guard` that were said not to hold in this challenge."""
    validation: str
    """The entry that says what it scores on the validation set."""
    score: float
    """That entry's score as the board showed it."""
    reply_at: datetime | None = None
    """UTC, when the organisers' reply was noted."""
    reply_score: float | None = None
    reply: str = ""


TRIALS = _table(Trial, "trials", ("challenge", "number"))

VERSIONS = Table("version", METADATA, Column("version", Integer, primary_key=True))
"""One row: the version of the store's tables."""

ADDED: dict[int, tuple[tuple[str, str], ...]] = {
    2: tuple(
        ("entries", column)
        for column in ("intervals", "private_score", "private_metrics", "private_intervals", "withheld", "tuning")
    ),
    3: (),
    4: (),
    5: (),
}
"""Columns by the version that added them to a table of an older one; all may be null. New tables and indexes are made
anyway."""
VERSION = max(ADDED)


def now() -> datetime:
    """The time as it is stored: UTC, without time zone, since SQLite stores none."""
    return datetime.now(UTC).replace(tzinfo=None)


def add(connection: Connection, table: Table, row: object) -> Any:
    """Insert a row of the table, and return the first part of its key: its number, where the store numbers the rows."""
    values = {name: value for name, value in vars(row).items() if name != "id"}
    key: Any = connection.execute(insert(table).values(values)).inserted_primary_key
    return key[0]


def read(connection: Connection, kind: type[R], wanted: Select[Any]) -> list[R]:
    """The rows that a query of a whole table finds."""
    return [kind(**row) for row in connection.execute(wanted).mappings()]


def find(connection: Connection, kind: type[R], wanted: Select[Any]) -> R | None:
    """The row that a query of a whole table finds."""
    return next(iter(read(connection, kind, wanted)), None)


def prepare(connection: Connection, url: object) -> None:
    """Make the tables, or bring those of an older version up to date. The caller holds the store's lock."""
    tables = set(inspect(connection).get_table_names())
    found = version_of(connection, tables)
    if found is not None and found > VERSION:
        message = f"a store of version {found}, made by a newer version of this program"
        raise refuse(url, f"{message}, which knows version {VERSION}; update the program")
    METADATA.create_all(connection)
    for version in range(VERSION + 1 if found is None else found + 1, VERSION + 1):
        for name, column in ADDED[version]:
            _add_column(connection, METADATA.tables[name], column)
    for table in METADATA.tables.values():
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    connection.execute((update if "version" in tables else insert)(VERSIONS).values(version=VERSION))


def version_of(connection: Connection, tables: set[str]) -> int | None:
    """The version of the store's tables; None for a database without any. The first version had no number."""
    if "version" in tables:
        return connection.scalar(select(VERSIONS.c.version))
    return 1 if "entries" in tables else None


def _add_column(connection: Connection, table: Table, name: str) -> None:
    preparer, column = connection.dialect.identifier_preparer, table.columns[name]
    kind = column.type.compile(connection.dialect)
    connection.execute(
        text(f"ALTER TABLE {preparer.format_table(table)} ADD COLUMN {preparer.format_column(column)} {kind}")
    )
