"""What the server's API answers: the shapes of its OpenAPI schema, and which fields of an entry are whose to see."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from leaderboard.board import Row
from leaderboard.uploads import Refusal


class Refused(BaseModel):
    """Every refusal has this form, whatever refuses it."""

    code: str
    """Short and fixed, for programs."""
    message: str
    reasons: list[str]
    """Every reason, one line each; empty where the message says it all."""


class BoardEntry(BaseModel):
    """An entry as every team sees it. Before the reveal its scores are those of the public videos."""

    model_config = ConfigDict(extra="ignore")

    rank: int | None
    name: str
    team: str
    baseline: bool
    status: str
    """valid, invalid, or limited: correct, but the track's rules do not let it count."""
    score: float | None
    metrics: dict[str, float]
    intervals: dict[str, list[float]]
    """Low and high of each metric's 95 % interval."""
    videos_scored: str
    """all, public or private."""
    public_score: float | None
    """After the reveal, what the board showed before."""
    withheld: bool
    """The Ladder rule keeps the score from being shown."""
    frames: int
    """Labelled frames that the score counted."""
    created_at: datetime


class OwnEntry(BoardEntry):
    """An entry as its team sees it."""

    rows: int
    videos: int
    sha256: str
    commit: str
    note: str
    reasons: list[str]
    """Why it is invalid or limited."""


class NewEntry(OwnEntry):
    """An entry as it is answered to its submission."""

    warnings: list[str]
    """What looks wrong though it is valid: drift from the training labels, constant videos, a copy."""


class TrackInfo(BaseModel):
    """A track that the server takes submissions for."""

    track: str
    title: str
    score: str
    """The metric that ranks."""
    header: str
    """First line of a submission."""
    private_share: float
    """About this share of the videos is private until the reveal."""
    revealed: bool
    limit: int | None
    """Valid entries that a team may submit."""
    uploads_a_day: int
    most_bytes: int


def board_entry(row: Row) -> BoardEntry:
    """The fields of a row that all teams see: no reasons, since these quote the file."""
    return BoardEntry(**_fields(row))


def own_entry(row: Row) -> OwnEntry:
    """The fields of a row that its team sees."""
    return OwnEntry(**_fields(row))


def new_entry(row: Row, warnings: list[str]) -> NewEntry:
    """The same of one that was submitted just now."""
    return NewEntry(**_fields(row), warnings=warnings)


def refused(refusal: Refusal) -> dict[str, Any]:
    """The answer's body."""
    return Refused(code=refusal.code, message=refusal.message, reasons=list(refusal.reasons)).model_dump()


def _fields(row: Row) -> Mapping[str, Any]:
    intervals = {metric: list(ends) for metric, ends in row.intervals.items()}
    return vars(row) | {"team": row.author, "intervals": intervals, "reasons": list(row.reasons)}
