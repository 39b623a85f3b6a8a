"""A submission in memory, before it is scored: from a submission file, or from prediction tables.

Whatever it came from, its rows were read by the one reader and compared with the template.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Track
from leaderboard.manifest import commit_of, config_hash_of, manifest_of
from leaderboard.means import read_mean
from leaderboard.official import official_bytes, official_file
from leaderboard.scoring import TABLE_SUFFIX
from leaderboard.submissions import read_bytes, read_submission
from leaderboard.tables import table_images
from leaderboard.templates import Template, compare
from leaderboard.truth import Truth
from leaderboard.tuned import noted_tuning
from leaderboard.tuning import Tuning
from leaderboard.video_lists import check_lengths, rows_asked
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
    filled: int = 0
    """Rows without a prediction, filled from their neighbours in time."""
    members: tuple[str, ...] = ()
    """What it was made of: the tables, or the members that an ensemble's table names."""
    tables: tuple[str, ...] = ()
    """The prediction tables of which it is the mean, where they are known."""
    recipe: Mapping[str, Any] | None = None
    """How an ensemble was made (`leaderboard.recipe`), where that is known."""
    tuning: Tuning | None = None
    """The three scores of what was tuned on labels; None where nothing is known to be."""
    commit: str = ""
    """Of the code that made it."""
    config_hash: str = ""
    """Of the configs of the runs that made it, where they are known."""


def make_candidate(
    files: Sequence[Path], template: Template, truth: Truth | None = None, tuning: Tuning | None = None
) -> Candidate:
    """Read one submission file, or make one: of a zip or folder, or of the mean of prediction tables (`.parquet`).

    Where the template lists videos, the file that is made has each frame of them, up to the last one of the folder or
    of the tables, or that `truth` has a label for. `tuning` says what was tuned; None: it is looked up.
    BadInput when a file cannot be read, or when tables do not go together.
    """
    others = [path for path in files if path.suffix != TABLE_SUFFIX]
    if not others:
        return _from_tables(files, template, truth, tuning)
    if len(files) == 1:
        return _from_file(files[0], template, truth, tuning)
    message = "no prediction table; give one submission file, or .parquet tables only"
    raise BadInput([Problem(path=str(path), message=message) for path in others])


def _from_file(path: Path, template: Template, truth: Truth | None, tuning: Tuning | None) -> Candidate:
    if not path.exists():
        raise refuse(path, "no such file; expected a submission file or prediction tables (.parquet)")
    track = template.track
    rows, reasons = read_submission(path, track)
    if rows is not None:
        compare(rows, path, template, reasons)
        if truth is not None and template.lists_videos:
            check_lengths(rows, path, truth, reasons)
    if not path.is_dir() and not is_zip(path):
        data = path.read_bytes()
    elif reasons or rows is None:
        data = b""
    else:
        data, rows = _in_one_file(rows, template)
    made = manifest_of(path, track)
    return Candidate(
        data=data,
        rows=rows,
        reasons=tuple(reasons.lines),
        filled=int(made.get("filled_rows", 0)),
        members=tuple(made.get("members", ())),
        tables=tuple(made.get("tables", ())),
        recipe=made.get("recipe"),
        tuning=tuning or noted_tuning(made, path, track),
        commit=made.get("commit") or commit_of([path]),
        config_hash=made.get("config_hash") or config_hash_of([path]),
    )


def _in_one_file(rows: pl.DataFrame, template: Template) -> tuple[bytes, pl.DataFrame]:
    """The official file of the rows of a folder or a zip, and what it states."""
    asked = rows_asked(template, rows["image"])
    ordered = asked.select("image").join(rows, on="image", how="left", maintain_order="left")
    labels_MD = ordered.select(template.track.label_columns).to_numpy()
    data = official_bytes(asked, labels_MD, template.track, end=template.line_end)
    return data, _read_back(data, template.track)


def _from_tables(files: Sequence[Path], template: Template, truth: Truth | None, tuning: Tuning | None) -> Candidate:
    mean = read_mean(files, template.track)
    data, rows, filled = b"", None, 0
    reasons: tuple[str, ...] = ()
    try:
        asked = rows_asked(template, table_images(mean.table, template.track), truth)
        data, filled = official_file(mean.table, asked, template.track, files[0], end=template.line_end)
        rows = _read_back(data, template.track)
    except BadInput as error:
        reasons = tuple(map(str, error.problems))
    return Candidate(
        data=data,
        rows=rows,
        reasons=reasons,
        filled=filled,
        members=mean.members,
        tables=mean.tables,
        recipe=mean.recipe,
        tuning=tuning or mean.tuning,
        commit=commit_of(files),
        config_hash=config_hash_of(files),
    )


def _read_back(data: bytes, track: Track) -> pl.DataFrame:
    """The rows of the official file: what counts is what the file states, with its four decimals."""
    rows, reasons = read_bytes(data, track)
    assert not reasons, reasons.lines
    assert rows is not None
    return rows
