"""The teams of a board's server, and the tokens by which they are known.

A token is 256 random bits, so nobody can guess one, and a list of likely tokens does not exist. A slow salted hash
guards passwords that people choose; for a random token one SHA-256 is as safe and lets the server check each request.
The store keeps the hash alone. It is compared in constant time, and a team that does not exist costs the same work.
"""

import hashlib
import hmac
import re
import secrets

from sqlalchemy import Engine, select, update

from abaw.problems import refuse
from leaderboard.schema import TEAMS, Team, add, now
from leaderboard.store import reading

TEAM = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"
"""Names of teams; each is a folder of the server too."""
TOKEN_BYTES = 32


def add_team(engine: Engine, name: str) -> str:
    """Add a team and return its token, which is kept nowhere. BadInput when the name is none or is taken."""
    if not re.fullmatch(TEAM, name):
        raise refuse(name, "is no name of a team; expected up to 40 letters, digits, - and _, such as team-a")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with engine.begin() as connection:
        if connection.scalar(select(TEAMS.c.name).where(TEAMS.c.name == name)):
            raise refuse(name, "there is a team of this name; `leaderboard team renew` gives it another token")
        team = Team(name=name, digest=_digest(token), created_at=now())
        add(connection, TEAMS, team)
    return token


def renew_token(engine: Engine, name: str) -> str:
    """Another token for a team; the old one holds no longer. BadInput when there is no such team."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    with engine.begin() as connection:
        renewed = update(TEAMS).where(TEAMS.c.name == name).values(digest=_digest(token))
        if not connection.execute(renewed).rowcount:
            raise refuse(name, "there is no team of this name; `leaderboard team list` names them")
    return token


def team_names(engine: Engine) -> list[str]:
    """All teams, by name."""
    with reading(engine) as connection:
        return list(connection.scalars(select(TEAMS.c.name).order_by(TEAMS.c.name)))


def is_token_of(engine: Engine, name: str, token: str) -> bool:
    """Whether this is the team's token; False too when there is no such team."""
    digest = None
    if re.fullmatch(TEAM, name):
        with reading(engine) as connection:
            digest = connection.scalar(select(TEAMS.c.digest).where(TEAMS.c.name == name))
    same = hmac.compare_digest(_digest(token), digest or "0" * 64)
    return same and digest is not None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", errors="surrogateescape")).hexdigest()
