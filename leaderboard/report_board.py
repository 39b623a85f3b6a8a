"""The ranked board, the heat map and the rules of one track, as the cells that the report's page shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from abaw.tracks import Track
from leaderboard.board import Row, score_columns, tuned_text
from leaderboard.report_scores import MOST, interval_of
from leaderboard.schema import Rules
from leaderboard.tuning import WAYS, total

STATES = {
    "ranked": "✓",
    "withheld": "◐",
    "no score": "○",
    "limited": "△",
    "invalid": "✗",
}
"""What an entry can be, each with a sign of its own."""
LEVELS = 10
"""Shades of a heat map."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that the board can be sorted by."""

    title: str
    hint: str
    down: bool = False
    """The first click sorts from the largest value down."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A text, and what it is sorted by; without a value a cell comes last."""

    text: str
    value: str = ""


@dataclass(frozen=True, kw_only=True)
class Forest:
    """A score with its interval on the scale of the whole board, in per cent of the cell."""

    score: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """An entry on the board."""

    row: Row
    state: str
    forest: Forest | None
    cells: tuple[Cell, ...]
    """One for each column after the entry's name and state."""


@dataclass(frozen=True, kw_only=True)
class Heat:
    """One value of the heat map."""

    text: str
    level: int
    """0 to `LEVELS`."""
    best: bool
    """The best of its column, baselines included."""


def state_of(row: Row) -> str:
    """What the entry is: a key of `STATES`."""
    if row.status != "valid":
        return row.status
    return "ranked" if row.rank is not None else "withheld" if row.withheld else "no score"


def board_of(rows: Sequence[Row], track: Track) -> tuple[list[Column], list[Line]]:
    """The columns after the entry's name and state, and a line an entry."""
    ranked = [row for row in rows if row.rank is not None]
    best = ranked[0].score if ranked else None
    *parts, (heading, _) = score_columns(track).items()
    metrics = dict(parts)
    columns = [
        _metric_column(heading, track.score, track),
        Column(title="95 %", hint="95 % interval of the score, by a bootstrap over videos", down=True),
        Column(title="to best", hint="score minus the best score of the board", down=True),
        *(_metric_column(title, key, track) for title, key in metrics.items()),
    ]
    more = {
        "public": any(row.public_score is not None for row in ranked),
        "tuned": any(row.tuning_hidden or total(row.tuning, track) for row in ranked),
        "filled": any(row.filled for row in rows),
        "author": any(row.author for row in rows),
    }
    columns += _more_columns(more, track)
    ends = [end for row in ranked for end in (*(interval_of(row, track.score) or ()), row.score or 0.0)]
    lines = []
    for row in rows:
        cells = [_number(row.score), _interval_cell(row, track), _gap(row, best)]
        cells += [_number(row.metrics.get(key)) for key in metrics.values()]
        cells += _more_cells(row, more, track)
        lines.append(Line(row=row, state=state_of(row), forest=_forest(row, track, ends), cells=tuple(cells)))
    return columns, lines


def heat_columns(track: Track, rows: Sequence[Row]) -> dict[str, str]:
    """Heading -> metric of the heat map: concordances, classes and units; of many classes the first `MOST`."""
    found = {}
    for task in track.tasks:
        prefix = "CCC_" if task.kind == "regression" else "F1_"
        for column in task.columns[:MOST]:
            if any(f"{prefix}{column}" in row.metrics for row in rows):
                found[column] = f"{prefix}{column}"
    return found


def heat_map(rows: Sequence[Row], columns: dict[str, str]) -> list[tuple[Row, list[Heat]]]:
    """A row of values for every entry whose metrics are shown."""
    shown = [row for row in rows if row.rank is not None and row.metrics]
    best = {key: max((row.metrics.get(key, 0.0) for row in shown), default=0.0) for key in columns.values()}
    return [(row, [_heat(row.metrics.get(key), best[key]) for key in columns.values()]) for row in shown]


def rules_text(rules: Rules) -> list[str]:
    """What holds in the track, in words; the seed of the split is not told, since it tells which videos are private."""
    lines = []
    if rules.private_share and rules.revealed_at is None:
        lines.append(f"Scores count the public videos; about {rules.private_share:.0%} are private until the reveal.")
    elif rules.private_share:
        lines.append(f"Scores count the private videos, revealed {rules.revealed_at:%Y-%m-%d %H:%M} UTC.")
    if rules.step is not None and rules.revealed_at is None:
        lines.append(f"A score is shown only if it beats the best of its author by more than {rules.step:g} (Ladder).")
    if rules.most is not None:
        lines.append(f"An author may submit {rules.most} valid entries; baselines do not count.")
    return lines


def _metric_column(title: str, metric: str, track: Track) -> Column:
    return Column(title=title, hint=f"metric {metric}", down=track.higher_is_better)


def _more_columns(more: dict[str, bool], track: Track) -> list[Column]:
    columns = []
    if more["public"]:
        columns.append(Column(title="public", hint="what the board showed before the reveal", down=True))
    if more["tuned"]:
        hints = ("before tuning", "on the frames that the choice was made on", "each part tuned on the others")
        columns += [
            Column(title=way.replace("_", "-"), hint=f"{track.score} of what was tuned: {hint}", down=True)
            for way, hint in zip(WAYS, hints, strict=True)
        ]
    columns.append(Column(title="frames", hint="labelled frames that the score counts", down=True))
    if more["filled"]:
        columns.append(Column(title="filled", hint="rows without a prediction, filled from their neighbours"))
    if more["author"]:
        columns.append(Column(title="author", hint="who submitted"))
    return [*columns, Column(title="date", hint="when it was submitted, UTC", down=True)]


def _more_cells(row: Row, more: dict[str, bool], track: Track) -> list[Cell]:
    cells = [_number(row.public_score)] if more["public"] else []
    if more["tuned"]:
        cells += [_tuned_cell(row, track, way) for way in WAYS]
    cells.append(Cell(text=f"{row.frames:,}", value=str(row.frames)) if row.frames else Cell(text=""))
    if more["filled"]:
        share = row.filled / row.rows if row.rows else None
        cells.append(Cell(text="") if share is None else Cell(text=f"{share:.1%}", value=f"{share:.6f}"))
    if more["author"]:
        cells.append(Cell(text=row.author, value=row.author.lower()))
    return [*cells, Cell(text=f"{row.created_at:%Y-%m-%d}", value=f"{row.created_at.timestamp():.3f}")]


def _number(value: float | None) -> Cell:
    return Cell(text="") if value is None else Cell(text=f"{value:.4f}", value=repr(value))


def _tuned_cell(row: Row, track: Track, way: str) -> Cell:
    if row.rank is None:
        return Cell(text="")
    found = (total(row.tuning, track) or {}).get(way)
    return Cell(text=tuned_text(row, track, way), value="" if found is None else repr(found))


def _interval_cell(row: Row, track: Track) -> Cell:
    found = interval_of(row, track.score)
    return Cell(text=f"{found[0]:.3f}–{found[1]:.3f}", value=repr(found[0])) if found else Cell(text="")


def _gap(row: Row, best: float | None) -> Cell:
    if row.rank is None or row.score is None or best is None:
        return Cell(text="")
    gap = row.score - best
    return Cell(text="best" if row.rank == 1 else f"{gap:+.4f}", value=repr(gap))


def _forest(row: Row, track: Track, ends: Sequence[float]) -> Forest | None:
    found = interval_of(row, track.score)
    if found is None or row.score is None or max(ends) == min(ends):
        return None
    low, high, score = (
        round(4 + 92 * (value - min(ends)) / (max(ends) - min(ends)), 1) for value in (*found, row.score)
    )
    return Forest(score=score, low=low, high=high)


def _heat(value: float | None, best: float) -> Heat:
    if value is None:
        return Heat(text="", level=0, best=False)
    level = round(LEVELS * min(max(value, 0.0), 1.0))
    return Heat(text=f"{value:.2f}".replace("0.", ".", 1), level=level, best=value == best and value > 0)
