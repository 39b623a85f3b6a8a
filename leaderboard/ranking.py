"""Which entries of a track have a rank, in which order and by which score: the rule of `leaderboard.board`, as queries.

What the rules show of an entry is said here alone, of a row of the store and of an entry that was read.

An index (`entries_by_rank`) holds all that the rule asks for. Where only the first entries are wanted, no others are
read: a row is thousands of characters.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, case, func, null, select

from abaw.tracks import get_track
from leaderboard.schema import ENTRIES, Entry, Rules
from leaderboard.store import reading

Column = ColumnElement[Any]


def ranked(engine: Engine, track: str, rules: Rules, top: int | None = None) -> list[tuple[Entry, float]]:
    """The first entries that have a rank, by rank, each with the score that is shown; None: all."""
    return _first(engine, rules, *_by_rank(track, rules), top)


def unranked(engine: Engine, track: str, rules: Rules, top: int | None = None) -> list[Entry]:
    """The first entries without a rank: valid ones, limited ones and invalid ones, as they were stored; None: all."""
    which = (ENTRIES.c.track == track) & _shown_score(rules).is_(None)
    status = case({"valid": 0, "limited": 1, "invalid": 2}, value=ENTRIES.c.status)
    return [entry for entry, _ in _first(engine, rules, which, (status, ENTRIES.c.id), top)]


def ranking(engine: Engine, track: str, rules: Rules) -> list[tuple[str, float]]:
    """Name and shown score of every entry that has a rank, by rank."""
    which, order = _by_rank(track, rules)
    with reading(engine) as connection:
        found = connection.execute(select(ENTRIES.c.name, _shown_score(rules)).where(which).order_by(*order))
        return [(name, score) for name, score in found]


def _first(engine: Engine, rules: Rules, which: Column, order: Sequence[Column], top: int | None) -> list[Any]:
    """The first `top` of these entries, each with the score that is shown."""
    if top is not None:
        which = ENTRIES.c.id.in_(select(ENTRIES.c.id).where(which).order_by(*order).limit(top).correlate(None))
    with reading(engine) as connection:
        found = connection.execute(select(_shown_score(rules), ENTRIES).where(which).order_by(*order))
        return [(Entry(**dict(zip(ENTRIES.c.keys(), row, strict=True))), score) for score, *row in found]


def _by_rank(track: str, rules: Rules) -> tuple[Column, Sequence[Column]]:
    """Which entries have a rank, and their order."""
    score = _shown_score(rules)
    better = score.desc() if get_track(track).higher_is_better else score.asc()
    return (ENTRIES.c.track == track) & score.is_not(None), (better, ENTRIES.c.created_at, ENTRIES.c.id)


def is_withheld(entry: Entry, rules: Rules) -> bool:
    """Whether the Ladder rule keeps the entry's score from being shown now."""
    return bool(entry.withheld) and rules.revealed_at is None


def shows_private(entry: Entry, rules: Rules) -> bool:
    """Whether the score that is shown now is that of the private videos."""
    return rules.revealed_at is not None and entry.private_score is not None


def _shown_score(rules: Rules) -> Column:
    """The score that the rules show now: of all, of the public or of the private videos; null for none."""
    if rules.revealed_at is not None:
        return func.coalesce(ENTRIES.c.private_score, ENTRIES.c.score)
    return case((ENTRIES.c.withheld.is_(True), null()), else_=ENTRIES.c.score)
