"""The history of a board: every shown score by its date, and the best so far of each author.

Positions are shares of the picture's width and height in per cent, so that the text in it keeps its size on a phone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from leaderboard.board import Row

AUTHORS = 12
"""Authors with a line of their own: those with the best scores. The submissions of others are dots."""
MARGIN = 12.0
"""Free space at each edge of the picture, in per cent: for the scores on the left, and the dates below."""
TICKS = 4
"""Dates and scores that are written at the axes."""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One submission."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Best:
    """A submission that was its author's best when it came."""

    row: Row
    score: float
    gain: float | None
    """What it added to the author's best before; None for the first."""
    dot: Dot


@dataclass(frozen=True, kw_only=True)
class Author:
    """The bests of an author, in the order of their dates."""

    mark: str
    """A letter, which stands for the author in the picture."""
    name: str
    bests: tuple[Best, ...]


@dataclass(frozen=True, kw_only=True)
class History:
    """The picture, and what its table says."""

    authors: tuple[Author, ...]
    dots: tuple[Dot, ...]
    """All submissions with a score."""
    dates: tuple[tuple[float, str], ...]
    """Position along x, and text."""
    scores: tuple[tuple[float, str], ...]
    """Position along y, and text."""


def history(rows: Sequence[Row], *, higher_is_better: bool) -> History | None:
    """The history of the entries whose score is shown, baselines left out; None where there are fewer than two.

    After the reveal it goes on showing the public scores, which is what the authors saw.
    """
    scored = [(row, _shown(row)) for row in sorted(rows, key=lambda row: row.created_at)]
    found = [(row, score) for row, score in scored if score is not None and not row.baseline]
    if len(found) < 2:
        return None
    times = [row.created_at.timestamp() for row, _ in found]
    scores = [score for _, score in found]
    x, y = (_Axis(min(times), max(times)), _Axis(max(scores), min(scores)))
    dots = {
        row.name: Dot(x=x.of(row.created_at.timestamp()), y=y.of(score), text=f"{row.name}: {score:.4f}")
        for row, score in found
    }
    bests = _bests(found, dots, 1.0 if higher_is_better else -1.0)
    sign = -1.0 if higher_is_better else 1.0
    first = sorted(bests, key=lambda name: sign * bests[name][-1].score)[:AUTHORS]
    return History(
        authors=tuple(
            Author(mark=chr(ord("A") + k), name=name, bests=tuple(bests[name])) for k, name in enumerate(first)
        ),
        dots=tuple(dots.values()),
        dates=tuple((x.of(t), _date(t, max(times) - min(times))) for t in _steps(min(times), max(times))),
        scores=tuple((y.of(score), f"{score:.3f}") for score in _steps(min(scores), max(scores))),
    )


def _bests(found: Sequence[tuple[Row, float]], dots: dict[str, Dot], sign: float) -> dict[str, list[Best]]:
    """The bests of each author."""
    bests: dict[str, list[Best]] = {}
    for row, score in found:
        own = bests.setdefault(row.author, [])
        if not own or sign * score > sign * own[-1].score:
            gain = score - own[-1].score if own else None
            own.append(Best(row=row, score=score, gain=gain, dot=dots[row.name]))
    return bests


class _Axis:
    """Maps a range to per cent of the picture; a range of one value to its middle."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._range = low, high - low

    def of(self, value: float) -> float:
        share = (value - self._low) / self._range if self._range else 0.5
        return round(MARGIN + share * (100 - 2 * MARGIN), 2)


def _shown(row: Row) -> float | None:
    return row.score if row.public_score is None else row.public_score


def _steps(low: float, high: float) -> list[float]:
    return [low + (high - low) * k / (TICKS - 1) for k in range(TICKS)] if high > low else [low]


def _date(seconds: float, whole: float) -> str:
    """A date, with the time of day where the whole picture spans less than four days; less than an hour: the time."""
    form = "%H:%M:%S" if whole < 3600 else "%d %b %H:%M" if whole < 4 * 86400 else "%d %b %Y"
    return f"{datetime.fromtimestamp(seconds, UTC):{form}}"
