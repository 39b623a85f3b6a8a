"""The board of a track: its ranked entries, those without a score, and the invalid ones with their reasons.

**Order rule.** Better score first (`Track.higher_is_better` says which way); of equal scores the earlier submission
first. An entry without a score, and an invalid one, has no rank.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from abaw.tracks import Task, Track
from leaderboard.store import Entry, entries, open_store

SHOWN_REASONS = 20
"""Reasons of an invalid entry that are printed below a board."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry of a board."""

    rank: int | None
    """From 1; None for an invalid entry and for one without a score."""
    name: str
    author: str
    baseline: bool
    status: str
    """valid or invalid."""
    score: float | None
    metrics: Mapping[str, float]
    rows: int
    videos: int
    frames: int
    """Frames that the score counted."""
    filled: int
    """Rows that were filled from their neighbours in time."""
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
        return {**asdict(self), "created_at": self.created_at.isoformat(timespec="seconds")}


def rows(store: str, track: Track) -> list[Row]:
    """The board: ranked entries by rank, then those without a score, then the invalid ones, either by date.

    BadInput when there is no such store.
    """
    found = entries(open_store(store, create=False), track.name)
    scored = [entry for entry in found if entry.status == "valid" and entry.score is not None]
    sign = -1.0 if track.higher_is_better else 1.0
    scored.sort(key=lambda entry: (sign * (entry.score or 0.0), entry.created_at, entry.id))
    unscored = [entry for entry in found if entry.status == "valid" and entry.score is None]
    invalid = [entry for entry in found if entry.status == "invalid"]
    ranked = [_row(entry, rank) for rank, entry in enumerate(scored, start=1)]
    return ranked + [_row(entry, None) for entry in unscored + invalid]


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


def render(board: Sequence[Row], track: Track) -> Table:
    """The ranked entries as a table to print with rich; with an eight-letter name it fits 80 columns.

    Author, date, file and the rest are in `Row.as_json`.
    """
    columns = score_columns(track)
    table = Table()
    table.add_column("#", justify="right")
    table.add_column("entry", overflow="fold", min_width=8)
    for heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("frames", justify="right", no_wrap=True)
    table.add_column("commit", no_wrap=True)
    for row in board:
        if row.rank is not None:
            scores = [f"{row.metrics[key]:.4f}" if key in row.metrics else "" for key in columns.values()]
            name = f"{row.name} (baseline)" if row.baseline else row.name
            dirty = "+" if row.commit.endswith("+") else ""
            cells = [str(row.rank), name, *scores, f"{row.frames:,}", row.commit[:8] + dirty]
            table.add_row(*(cell.replace("[", r"\[") for cell in cells), style="dim" if row.baseline else None)
    return table


def unranked_lines(board: Sequence[Row], track: Track) -> list[str]:
    """What to print below the table: entries without a score, and invalid ones with every reason."""
    lines = []
    for row in board:
        if row.status == "invalid":
            more = len(row.reasons) - SHOWN_REASONS
            lines += [f"{track.name}, invalid, not ranked: {row.name}"]
            lines += [f"  {reason}" for reason in row.reasons[:SHOWN_REASONS]]
            lines += [f"  and {more} more reasons; --json shows them"] if more > 0 else []
        elif row.rank is None:
            lines.append(f"{track.name}, no score, not ranked (submitted without --truth): {row.name}")
    return lines


def _parts(task: Task) -> dict[str, str]:
    if task.kind == "regression":
        return {column: f"CCC_{column}" for column in task.columns}
    return {"accuracy": "accuracy"} if task.kind == "classes" else {}


def _row(entry: Entry, rank: int | None) -> Row:
    return Row(
        rank=rank,
        name=entry.name,
        author=entry.author,
        baseline=entry.baseline,
        status=entry.status,
        score=entry.score,
        metrics=entry.metrics,
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
