"""A submission in memory, before it is scored: from a submission file, or from prediction tables.

Whatever it came from, its rows were read by the one reader and compared with the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from abaw.predictions import read_predictions
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Track
from leaderboard.ensemble import mean_of, members_of
from leaderboard.manifest import exported
from leaderboard.official import official_bytes, official_file
from leaderboard.recipe import recipe_of_mean
from leaderboard.scoring import TABLE_SUFFIX
from leaderboard.submissions import read_bytes, read_submission
from leaderboard.tables import table_images
from leaderboard.templates import compare, line_end
from leaderboard.truth import Truth
from leaderboard.video_lists import VIDEO, check_lengths, rows_asked
from leaderboard.zips import is_zip


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
    tables: tuple[str, ...] = ()
    """The prediction tables of which it is the mean, where they are known."""
    recipe: Mapping[str, Any] | None = None
    """How an ensemble was made (`leaderboard.recipe`), where that is known."""
    commit: str | None = None
    """Of the code that made it, where a manifest says it."""


def make_candidate(
    files: Sequence[Path],
    track: Track,
    template: pl.DataFrame,
    template_path: Path,
    members: tuple[str, ...],
    truth: Truth | None = None,
) -> Candidate:
    """Read one submission file, or make one: of a zip or folder, or of the mean of prediction tables (`.parquet`).

    `template` is what `read_asked` finds: where it lists videos, the file that is made has each frame of them, up to
    the last one of the folder or of the tables, or that `truth` has a label for. `members` says what it is made of;
    empty: the tables, or the members that an ensemble's table names.
    BadInput when a file cannot be read, or when tables do not go together.
    """
    if not any(path.suffix == TABLE_SUFFIX for path in files) and len(files) == 1:
        return _from_file(files[0], track, template, template_path, members, truth)
    others = [path for path in files if path.suffix != TABLE_SUFFIX]
    if others:
        message = "no prediction table; give one submission file, or .parquet tables only"
        raise BadInput([Problem(path=str(path), message=message) for path in others])
    return _from_tables(files, track, template, line_end(template_path), members, truth)


def _from_file(
    path: Path,
    track: Track,
    template: pl.DataFrame,
    template_path: Path,
    members: tuple[str, ...],
    truth: Truth | None,
) -> Candidate:
    if not path.exists():
        raise refuse(path, "no such file; expected a submission file or prediction tables (.parquet)")
    rows, reasons = read_submission(path, track)
    if rows is not None:
        compare(rows, path, template, template_path, reasons)
        if truth is not None and VIDEO in template.columns:
            check_lengths(rows, path, truth, reasons)
    if not path.is_dir() and not is_zip(path):
        data = path.read_bytes()
    elif reasons or rows is None:
        data = b""
    else:
        asked = rows_asked(template, rows["image"])
        data, rows = _in_one_file(rows, track, asked, template_path)
    made = exported(path)
    return Candidate(
        data=data,
        rows=rows,
        reasons=tuple(reasons.lines),
        filled=int(made.get("filled_rows", 0)),
        members=members or tuple(made.get("members", ())),
        tables=tuple(made.get("tables", ())),
        recipe=made.get("recipe"),
        commit=made.get("commit"),
    )


def _in_one_file(
    rows: pl.DataFrame, track: Track, template: pl.DataFrame, template_path: Path
) -> tuple[bytes, pl.DataFrame]:
    """The official file of the rows of a folder or a zip, and what it states."""
    ordered = template.select("image").join(rows, on="image", how="left", maintain_order="left")
    labels_MD = ordered.select(track.label_columns).to_numpy()
    data = official_bytes(template, labels_MD, track, end=line_end(template_path))
    return data, _read_back(data, track)


def _from_tables(
    files: Sequence[Path],
    track: Track,
    template: pl.DataFrame,
    end: str,
    members: tuple[str, ...],
    truth: Truth | None,
) -> Candidate:
    tables = {str(path): read_predictions(path, track) for path in files}
    table = next(iter(tables.values())) if len(tables) == 1 else mean_of(tables, track)
    members = members or tuple(members_of(table)) or tuple(tables)
    recipe = recipe_of_mean(table, list(tables), track)
    try:
        asked = rows_asked(template, table_images(table, track), truth)
        data, filled = official_file(table, asked, track, files[0], end=end)
    except BadInput as error:
        return Candidate(data=b"", rows=None, reasons=tuple(map(str, error.problems)), filled=0, members=members)
    return Candidate(
        data=data,
        rows=_read_back(data, track),
        reasons=(),
        filled=filled,
        members=members,
        tables=tuple(tables),
        recipe=recipe,
    )


def _read_back(data: bytes, track: Track) -> pl.DataFrame:
    """The rows of the official file: what counts is what the file states, with its four decimals."""
    rows, reasons = read_bytes(data, track)
    assert not reasons, reasons.lines
    assert rows is not None
    return rows
