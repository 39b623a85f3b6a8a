"""The audit log of a board's server: who, when, what, with what outcome. No token is ever in it.

Equal requests within a minute share a row and are counted, so that a flood of refused ones does not fill the store.
Uploads have a row each, written before the first byte is read: it counts against the team's uploads a day whatever
becomes of it, also when the server is killed.
"""

import math
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine, select, update

from leaderboard.schema import AUDIT, Audit, add, now, read
from leaderboard.store import reading

TOGETHER = timedelta(minutes=1)
DAY = timedelta(days=1)
STARTED = "started"
"""Outcome of an upload that is not finished, or whose server was killed."""


@dataclass(frozen=True, kw_only=True)
class Happening:
    """What is logged."""

    team: str
    """Empty for a client without a right token."""
    address: str
    what: str
    """Method and route, or the command."""
    subject: str = ""
    """Track and entry, once the team is known."""
    outcome: str = "done"
    """`done`, or the code of the refusal."""


def record(engine: Engine, happening: Happening) -> None:
    """Log it, or count it with its like of the last minute."""
    at = now()
    alike = [AUDIT.c[name] == value for name, value in vars(happening).items()]
    with engine.begin() as connection:
        same = select(AUDIT.c.id).where(*alike, AUDIT.c.upload.is_(False), AUDIT.c.at >= at - TOGETHER).limit(1)
        if (found := connection.scalar(same)) is None:
            add(connection, AUDIT, Audit(at=at, **vars(happening)))
        else:
            connection.execute(update(AUDIT).where(AUDIT.c.id == found).values(times=AUDIT.c.times + 1))


def start_upload(engine: Engine, happening: Happening, *, most: int) -> tuple[int | None, int]:
    """Log the start of an upload, unless the team has made `most` within 24 hours.

    Returns:
        The number of its row, for `finish_upload`; None when it is one too many. And the seconds until one more is
        allowed (0 where one is).
    """
    with engine.begin() as connection:  # waits for the store's lock: what another upload writes meanwhile is older
        at = now()
        own = select(AUDIT.c.at).where(AUDIT.c.team == happening.team, AUDIT.c.upload, AUDIT.c.at > at - DAY)
        recent = list(connection.scalars(own.order_by(AUDIT.c.at.desc()).limit(most)))
        if len(recent) >= most:
            return None, math.ceil((recent[-1] + DAY - at).total_seconds())
        return add(connection, AUDIT, Audit(at=at, upload=True, **vars(happening) | {"outcome": STARTED})), 0


def finish_upload(engine: Engine, row: int, outcome: str) -> None:
    """Log what became of an upload."""
    with engine.begin() as connection:
        connection.execute(update(AUDIT).where(AUDIT.c.id == row).values(outcome=outcome))


def happenings(engine: Engine) -> list[Audit]:
    """The whole log, oldest first."""
    with reading(engine) as connection:
        return read(connection, Audit, select(AUDIT).order_by(AUDIT.c.id))
