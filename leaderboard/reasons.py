"""Why a file is refused: every reason is counted, and of each kind the first ones are kept and shown.

A submission has up to a million rows and can be wrong in all of them. So reasons are sorted into kinds; each kind has
an exact total, and its first `SHOWN` reasons with file and line.
"""

from collections import Counter
from typing import Literal

from abaw.problems import BadInput, Problem

SHOWN = 100
"""Reasons of one kind that are shown one by one; the rest are counted."""

Kind = Literal[
    "unreadable file",
    "bad encoding",
    "bad header",
    "wrong separator",
    "wrong number of values",
    "bad image name",
    "not a number",
    "not finite",
    "out of range",
    "not an integer",
    "repeated row",
    "missing row",
    "missing video",
    "extra row",
    "extra video",
    "wrong order",
    "nothing to score",
    "wrong labels",
]


class Reasons:
    """A growing list of reasons; false as long as there are none."""

    def __init__(self, shown: int | None = SHOWN) -> None:
        self._shown = shown
        self.totals: Counter[Kind] = Counter()
        """Number of reasons of each kind, shown or not."""
        self._kept: dict[Kind, list[Problem]] = {}

    def __bool__(self) -> bool:
        return bool(self.totals)

    def add(self, kind: Kind, path: object, message: str, *, line: int | None = None) -> None:
        """Count a reason, and keep it while its kind has fewer than are shown (None: all of them)."""
        self.totals[kind] += 1
        kept = self._kept.setdefault(kind, [])
        if self._shown is None or len(kept) < self._shown:
            kept.append(Problem(path=str(path), line=line, message=message))

    @property
    def problems(self) -> list[Problem]:
        """The reasons that were kept, by line; a last one for each kind of which there are more."""
        kept = sorted((p for problems in self._kept.values() for p in problems), key=lambda p: p.line or 0)
        return kept + [
            Problem(path=self._kept[kind][0].path, message=f"and {more:,} more of this kind: {kind}")
            for kind, total in self.totals.items()
            if (more := total - len(self._kept[kind]))
        ]

    @property
    def lines(self) -> list[str]:
        """One line a reason, `file:line: what is wrong`."""
        return [str(problem) for problem in self.problems]

    @property
    def summary(self) -> str:
        """The totals in one line: `refused: 3 out of range, 1,042 missing row`."""
        return "refused: " + ", ".join(f"{total:,} {kind}" for kind, total in self.totals.items())

    def raise_any(self) -> None:
        """Raise the reasons as one BadInput, if there are any."""
        if self:
            raise BadInput(self.problems)
