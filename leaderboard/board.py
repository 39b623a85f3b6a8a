"""The board of a track: its ranked entries, those without a score, and the invalid ones with their reasons.

**Order rule.** Better score first (`Track.higher_is_better` says which way); of equal scores the earlier submission
first. An entry without a score, one whose score the Ladder rule withholds, an invalid and a limited one have no rank.
Where the track keeps private videos, the score is that of the public ones until the reveal, and from then on that of
the private ones, with the public one beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.table import Table
from sqlalchemy import Engine

from abaw.tracks import Task, Track
from leaderboard.ranking import is_withheld, ranked, shows_private, unranked
from leaderboard.schema import Entry, Rules
from leaderboard.store import count_entries, open_store, rules_of
from leaderboard.tuning import AT_REVEAL, WAYS, is_hidden, total, way_text

SHOWN_REASONS = 20
"""Reasons of an invalid entry that are printed below a board."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry of a board."""

    rank: int | None
    """From 1; None for an entry that is not valid and for one without a score that is shown."""
    name: str
    author: str
    baseline: bool
    status: str
    """valid, invalid or limited."""
    score: float | None
    metrics: Mapping[str, float]
    intervals: Mapping[str, Sequence[float]]
    """Low and high of the 95 % interval of each metric; empty where there is none."""
    videos_scored: str
    """Which videos the score counts: all, public or private."""
    public_score: float | None
    """After the reveal, what the board showed before."""
    withheld: bool
    """The Ladder rule keeps the score from being shown."""
    tuning: Mapping[str, Mapping[str, float | None]] | None
    """Untuned, in-sample and cross-fitted score of what was tuned, by task or track."""
    tuning_hidden: bool = False
    """There are such scores, and they are not shown before the reveal: they may count private videos."""
    rows: int
    videos: int
    frames: int
    """Frames that the score counted."""
    filled: int
    """Rows that were filled from their neighbours in time."""
    coverage: float | None
    """Share of the rows that had a prediction of their own."""
    created_at: datetime
    """UTC."""
    commit: str
    file: str
    sha256: str
    note: str
    members: tuple[str, ...]
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The row in plain types, as `leaderboard show --json` prints it."""
        return {**vars(self), "created_at": self.created_at.isoformat(timespec="seconds")}


def rows(store: str, track: Track) -> list[Row]:
    """The board: ranked entries by rank, then those without a score, the limited and the invalid ones, all by date.

    BadInput when there is no such store.
    """
    return top_rows(open_store(store, create=False), track, None)[0]


def top_rows(engine: Engine, track: Track, top: int | None) -> tuple[list[Row], int]:
    """The board as `rows` has it, cut to the first `top` ranked and `top` other entries, and how many are left out.

    None: all. Entries left out are not read.
    """
    rules = rules_of(engine, track.name)
    first = enumerate(ranked(engine, track.name, rules, top), start=1)
    shown = [_row(one, rules, rank, score) for rank, (one, score) in first]
    shown += [_row(one, rules, None, None) for one in unranked(engine, track.name, rules, top)]
    # An entry may have been added or removed in between.
    return shown, max(0, count_entries(engine, track.name) - len(shown))


def score_columns(track: Track) -> dict[str, str]:
    """Heading -> metric key of the columns that a board shows; the ranking score is the last one.

    A track of several tasks shows the score of each (VA, EXPR, AU, then MTL); a single task shows its parts.
    """
    if len(track.tasks) > 1:
        parts = {task.name.upper(): f"S_{task.name.upper()}" for task in track.tasks}
    else:
        parts = _parts(track.tasks[0]) | {f"top-{k}": f"top{k}" for k in track.top_k}
    heading = {key: name for name, key in parts.items()}.get(track.score, track.name.upper())
    parts.pop(heading, None)
    return parts | {heading: track.score}


def render(board: Sequence[Row], track: Track) -> Group:
    """The ranked entries as a table to print with rich, which fits 80 columns.

    Below it a second one where there is more to say: the share of filled rows, the public score after the reveal, the
    three scores of what was tuned. Author, date, commit and more are in `Row.as_json`.
    """
    columns = score_columns(track)
    table = _table((*columns, "95 %", "frames"))
    for row in board:
        if row.rank is not None:
            scores = [f"{row.metrics[key]:.4f}" if key in row.metrics else "" for key in columns.values()]
            sure = "–".join(f"{end:.2f}" for end in row.intervals.get(track.score, ()))
            _add(table, row, *scores, sure, f"{row.frames:,}")
    extra = _extra_columns(board, track)
    if not extra:
        return Group(table)
    more = _table(tuple(extra))
    for row in board:
        if row.rank is not None:
            _add(more, row, *(cells[row.name] for cells in extra.values()))
    return Group(table, more)


def _table(headings: Sequence[str]) -> Table:
    table = Table()
    table.add_column("#", justify="right")
    table.add_column("entry", overflow="fold", min_width=8)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _add(table: Table, row: Row, *values: str) -> None:
    name = f"{row.name} (baseline)" if row.baseline else row.name
    cells = [cell.replace("[", r"\[") for cell in (str(row.rank), name, *values)]
    table.add_row(*cells, style="dim" if row.baseline else None)


def unranked_lines(board: Sequence[Row], track: Track) -> list[str]:
    """What to print below the table: entries without a score, and invalid ones with every reason."""
    lines = []
    for row in board:
        if row.status != "valid":
            more = len(row.reasons) - SHOWN_REASONS
            lines += [f"{track.name}, {row.status}, not ranked: {row.name}"]
            lines += [f"  {reason}" for reason in row.reasons[:SHOWN_REASONS]]
            lines += [f"  and {more} more reasons; --json shows them"] if more > 0 else []
        elif row.withheld and row.rank is None:
            lines.append(f"{track.name}, score withheld by the Ladder rule, not ranked: {row.name}")
        elif row.rank is None:
            lines.append(f"{track.name}, no score, not ranked (submitted without --truth): {row.name}")
    return lines


def _parts(task: Task) -> dict[str, str]:
    if task.kind == "regression":
        return {column: f"CCC_{column}" for column in task.columns}
    return {"accuracy": "accuracy"} if task.kind == "classes" else {}


def _extra_columns(board: Sequence[Row], track: Track) -> dict[str, dict[str, str]]:
    """Heading -> cell by entry, of the columns that not every board needs."""
    ranked = [row for row in board if row.rank is not None]
    extra: dict[str, dict[str, str]] = {}
    if any(row.filled for row in ranked):
        extra["filled"] = {row.name: f"{row.filled / row.rows:.1%}" if row.rows else "" for row in ranked}
    if any(row.public_score is not None for row in ranked):
        extra["public"] = {row.name: _number(row.public_score) for row in ranked}
    if any(row.tuning_hidden or total(row.tuning, track) for row in ranked):
        for way in WAYS:
            extra[way.replace("_", "-")] = {row.name: tuned_text(row, track, way) for row in ranked}
    return extra


def tuned_text(row: Row, track: Track, way: str) -> str:
    """One of the three scores of what was tuned, as boards show it; empty where nothing was."""
    found = total(row.tuning, track)
    return AT_REVEAL if row.tuning_hidden else way_text(found[way]) if found else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _row(entry: Entry, rules: Rules, rank: int | None, score: float | None) -> Row:
    """The entry with the rank and score that the rules show now (`leaderboard.ranking`), and what belongs to them."""
    revealed, hidden = shows_private(entry, rules), is_withheld(entry, rules)
    metrics = entry.private_metrics if revealed else entry.metrics
    intervals = entry.private_intervals if revealed else entry.intervals
    keeps = bool(entry.tuning) and is_hidden(rules, withheld=hidden)
    return Row(
        rank=rank,
        videos_scored="private" if revealed else "public" if rules.private_share else "all",
        public_score=entry.score if revealed else None,
        withheld=hidden,
        tuning=None if keeps else entry.tuning,
        tuning_hidden=keeps,
        coverage=(entry.rows - entry.filled) / entry.rows if entry.rows else None,
        name=entry.name,
        author=entry.author,
        baseline=entry.baseline,
        status=entry.status,
        score=score,
        metrics={} if hidden else metrics or {},
        intervals={} if hidden else intervals or {},
        rows=entry.rows,
        videos=entry.videos,
        frames=entry.frames,
        filled=entry.filled,
        created_at=entry.created_at.replace(tzinfo=UTC),
        commit=entry.commit,
        file=entry.file,
        sha256=entry.sha256,
        note=entry.note,
        members=tuple(entry.members),
        reasons=tuple(entry.reasons),
    )
