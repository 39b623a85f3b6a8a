"""A submission in memory, before it is scored: from a submission file, or from prediction tables.

Whatever it came from, its rows were read by the one reader and compared with the template.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from abaw.predictions import read_predictions
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Track
from leaderboard.ensemble import mean_of, members_of
from leaderboard.official import official_file
from leaderboard.scoring import TABLE_SUFFIX
from leaderboard.submissions import read_submission
from leaderboard.templates import compare, line_end


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What would be handed in, and why it would be refused."""

    data: bytes
    """The submission file; empty when the tables could not be turned into one."""
    rows: pl.DataFrame | None
    """The rows that the reader found; None when it found none that it could read."""
    reasons: tuple[str, ...]
    """Empty for a valid submission."""
    filled: int
    """Rows without a prediction, filled from their neighbours in time."""
    members: tuple[str, ...]
    """What it was made of."""


def make_candidate(
    files: Sequence[Path], track: Track, template: pl.DataFrame, template_path: Path, members: tuple[str, ...]
) -> Candidate:
    """Read one submission file, or turn the mean of prediction tables (`.parquet`) into one.

    `members` says what it is made of; empty: the tables, or the members that an ensemble's table names.
    BadInput when a file cannot be read, or when tables do not go together.
    """
    if not any(path.suffix == TABLE_SUFFIX for path in files) and len(files) == 1:
        return _from_file(files[0], track, template, template_path, members)
    others = [path for path in files if path.suffix != TABLE_SUFFIX]
    if others:
        message = "no prediction table; give one submission file, or .parquet tables only"
        raise BadInput([Problem(path=str(path), message=message) for path in others])
    return _from_tables(files, track, template, line_end(template_path), members)


def _from_file(
    path: Path, track: Track, template: pl.DataFrame, template_path: Path, members: tuple[str, ...]
) -> Candidate:
    if not path.is_file():
        raise refuse(path, "no such file; expected a submission file or prediction tables (.parquet)")
    rows, reasons = read_submission(path, track)
    if rows is not None:
        compare(rows, path, template, template_path, reasons)
    return Candidate(data=path.read_bytes(), rows=rows, reasons=tuple(reasons.lines), filled=0, members=members)


def _from_tables(
    files: Sequence[Path], track: Track, template: pl.DataFrame, end: str, members: tuple[str, ...]
) -> Candidate:
    tables = {str(path): read_predictions(path, track) for path in files}
    table = next(iter(tables.values())) if len(tables) == 1 else mean_of(tables, track)
    members = members or tuple(members_of(table)) or tuple(tables)
    try:
        data, filled = official_file(table, template, track, files[0], end=end)
    except BadInput as error:
        return Candidate(data=b"", rows=None, reasons=tuple(map(str, error.problems)), filled=0, members=members)
    # Read back: what counts is what the file states, with its four decimals.
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "submission.txt"
        written.write_bytes(data)
        rows, reasons = read_submission(written, track)
    assert not reasons, reasons.lines
    return Candidate(data=data, rows=rows, reasons=(), filled=filled, members=members)
