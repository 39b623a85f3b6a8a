"""Suspicious copies: earlier entries of the store that state the same as a new one, file by file or video by video.

No file is read again. A copy in which a few rows differ keeps what nearly every video adds to the score, and its score
is close by; so what the store keeps of the entries with the nearest scores is enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine

from leaderboard.schema import Rules
from leaderboard.split import is_visible
from leaderboard.store import Brief, briefs, counts_of, rules_of

NEAREST = 20
"""Entries that are compared video by video: those whose scores are the nearest."""
SAME = 0.9
"""Share of the videos with exactly the same counts from which an entry is a suspected copy."""


@dataclass(frozen=True, kw_only=True)
class Suspected:
    """An earlier entry that a new one may be a copy of. As text it is a warning."""

    name: str
    author: str
    same: str
    """What the two have in common."""

    def __str__(self) -> str:
        return f"{self.same} the entry {self.name!r}: is it a copy?"


def copies(engine: Engine, track: str, name: str) -> list[Suspected]:
    """The earlier entries that the entry `name` may be a copy of; an entry that is not valid has none.

    Counts are compared on the videos that the board shows: nothing is told of those that are private.
    """
    found = {entry.name: entry for entry in briefs(engine, track)}
    own = found.pop(name)
    if own.status != "valid":
        return []
    earlier = [other for other in found.values() if other.id < own.id and other.status == "valid"]
    near = sorted(
        (one for one in earlier if one.score is not None and one.sha256 != own.sha256),
        key=lambda one: abs((one.score or 0.0) - (own.score or 0.0)),
    )
    rules = rules_of(engine, track)
    compared = [same for one in near[:NEAREST] if (same := _compare(engine, own, one, rules))]
    return _same_file(earlier, own.sha256) + compared


def same_file(engine: Engine, track: str, sha256: str) -> list[str]:
    """One line for each valid entry of the track whose submission file has this SHA-256."""
    valid = [one for one in briefs(engine, track) if one.status == "valid"]
    return list(map(str, _same_file(valid, sha256)))


def _same_file(earlier: Sequence[Brief], sha256: str) -> list[Suspected]:
    found = [one for one in earlier if one.sha256 == sha256 != ""]
    return [Suspected(name=one.name, author=one.author, same="its file is that of") for one in found]


def _compare(engine: Engine, own: Brief, other: Brief, rules: Rules) -> Suspected | None:
    counts, others = (
        {(one["video"], one["fold"]): one for one in counts_of(engine, entry) if is_visible(one["video"], rules)}
        for entry in (own, other)
    )
    if not counts or not others:
        return None
    share = sum(one == others.get(key) for key, one in counts.items()) / len(counts)
    if share < SAME:
        return None
    same = f"{share:.0%} of its {len(counts):,} videos have exactly the counts of"
    return Suspected(name=other.name, author=other.author, same=same)
