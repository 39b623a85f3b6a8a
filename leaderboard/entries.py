"""Submitting: write the official file, validate it, score it, store it, and say where it ranks.

Nothing is queued and nothing is left half done: the file, its manifest and the entry appear together or not at all. An
invalid submission is stored with every reason and is never ranked.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Track
from leaderboard import board, store
from leaderboard.candidates import Candidate, make_candidate
from leaderboard.images import count_videos
from leaderboard.manifest import Staged, git_commit, manifest_bytes, manifest_path
from leaderboard.scoring import TABLE_SUFFIX, Score, predicted_of_rows, score
from leaderboard.templates import read_template
from leaderboard.truth import read_truth

DEFAULT_OUT = Path("submissions")
"""Where the official files of prediction tables go."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is submitted, and under which name."""

    files: tuple[Path, ...]
    """One submission file, or prediction tables (`.parquet`), of which the mean is submitted."""
    track: Track
    template: Path
    name: str
    """Unique in the track."""
    truth: Path | None = None
    """What to score against; without it the entry is stored, and not ranked."""
    author: str = ""
    note: str = ""
    baseline: bool = False
    """Flags an entry that others are compared with."""
    store: str = store.DEFAULT_STORE
    out: Path | None = None
    """Folder of the official file; None: a submission file stays where it is, tables go to `submissions`."""
    members: tuple[str, ...] = ()
    """What the entry is made of; empty: the prediction tables, or the members that an ensemble's table names."""
    config_hash: str | None = None
    """Hash of the config that made the predictions, for the manifest."""
    overwrite: bool = False
    """Replace an entry of the same name, and its files."""


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What became of a submission."""

    track: str
    name: str
    status: str
    """valid or invalid."""
    reasons: tuple[str, ...]
    """Why it is invalid, one line a reason."""
    score: Score | None
    rank: int | None
    """From 1; None where there is no score."""
    ranked: int
    """Ranked entries of the track, this one included."""
    delta_to_best: float | None
    """Score minus the best score of the board; 0 for the best."""
    rows: int
    videos: int
    filled: int
    """Rows without a prediction, filled from their neighbours in time."""
    file: Path
    manifest: Path | None
    """None for an invalid submission, which has no manifest."""
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """The form that `leaderboard submit --json` prints: plain types, the score's parts among the others."""
        plain: dict[str, Any] = {
            "track": self.track,
            "name": self.name,
            "status": self.status,
            "score": self.score.score if self.score else None,
            "rank": self.rank,
            "ranked": self.ranked,
            "delta_to_best": self.delta_to_best,
            "metrics": dict(self.score.metrics) if self.score else {},
            "frames": self.score.frames if self.score else 0,
        }
        return plain | {
            "rows": self.rows,
            "videos": self.videos,
            "filled": self.filled,
            "file": str(self.file),
            "manifest": str(self.manifest) if self.manifest else None,
            "sha256": self.sha256,
            "reasons": list(self.reasons),
        }


def submit(request: Request) -> Submitted:
    """Submit, as the module describes.

    Raises BadInput, storing nothing, when the name or the output file is taken, or when template, truth or prediction
    tables cannot be read.
    """
    engine = store.open_store(request.store, create=True)
    track = request.track
    store.check_free(engine, track.name, request.name, overwrite=request.overwrite)
    template = read_template(request.template, track)
    file = _target(request)
    _check_outputs(request, file)
    _check_owner(engine, request, file)
    candidate = make_candidate(request.files, track, template, request.template, request.members)
    scored = None
    if not candidate.reasons and request.truth is not None:
        assert candidate.rows is not None
        scored = score(predicted_of_rows(candidate.rows, track, file), read_truth(request.truth, track), track)
    entry = _entry(request, candidate, scored, file)
    with Staged(_outputs(request, candidate, entry, file)) as staged:
        store.add_entry(engine, entry, overwrite=request.overwrite, publish=staged.publish)
    return _result(request, candidate, scored, entry)


def _target(request: Request) -> Path:
    """Where the official file is or will be."""
    first = request.files[0]
    if first.suffix != TABLE_SUFFIX and request.out is None:
        return first
    slug = re.sub(r"[^\w.-]+", "-", request.name).strip("-.") or "entry"
    return (request.out or DEFAULT_OUT) / f"{request.track.name}-{slug}.txt"


def _check_outputs(request: Request, file: Path) -> None:
    outputs = [manifest_path(file)] if file in request.files else [file, manifest_path(file)]
    taken = [path for path in outputs if path.exists()]
    if taken and not request.overwrite:
        message = "exists already; choose another --name or --out, or replace it with --overwrite"
        raise BadInput([Problem(path=str(path), message=message) for path in taken])


def _check_owner(engine: Engine, request: Request, file: Path) -> None:
    """Names that differ in signs alone would share a file: replacing one entry must not replace another's."""
    for entry in store.entries(engine, request.track.name):
        if entry.name != request.name and entry.file == str(file):
            raise refuse(file, f"is the file of the entry {entry.name!r}; choose another --name or --out")


def _entry(request: Request, candidate: Candidate, scored: Score | None, file: Path) -> store.Entry:
    valid = not candidate.reasons
    return store.Entry(
        track=request.track.name,
        name=request.name,
        author=request.author,
        created_at=datetime.now(UTC).replace(tzinfo=None),
        status="valid" if valid else "invalid",
        score=scored.score if scored else None,
        metrics=dict(scored.metrics) if scored else {},
        reasons=list(candidate.reasons),
        rows=0 if candidate.rows is None else len(candidate.rows),
        videos=0 if candidate.rows is None else count_videos(candidate.rows["image"]),
        frames=scored.frames if scored else 0,
        filled=candidate.filled,
        file=str(file if valid else request.files[0]),
        sha256=hashlib.sha256(candidate.data).hexdigest() if candidate.data else "",
        commit=git_commit(),
        baseline=request.baseline,
        note=request.note,
        members=list(candidate.members),
    )


def _outputs(request: Request, candidate: Candidate, entry: store.Entry, file: Path) -> dict[Path, bytes]:
    """The files of a valid submission: the manifest, and the official file unless it is there already."""
    if candidate.reasons:
        return {}
    manifest = manifest_path(file), manifest_bytes(entry, config_hash=request.config_hash)
    return dict([manifest] if file in request.files else [(file, candidate.data), manifest])


def _result(request: Request, candidate: Candidate, scored: Score | None, entry: store.Entry) -> Submitted:
    ranked = [row for row in board.rows(request.store, request.track) if row.rank is not None]
    own = next((row for row in ranked if row.name == entry.name), None)
    best = ranked[0].score if ranked else None
    file = Path(entry.file)
    return Submitted(
        track=entry.track,
        name=entry.name,
        status=entry.status,
        reasons=candidate.reasons,
        score=scored,
        rank=own.rank if own else None,
        ranked=len(ranked),
        delta_to_best=entry.score - best if entry.score is not None and best is not None else None,
        rows=entry.rows,
        videos=entry.videos,
        filled=candidate.filled,
        file=file,
        manifest=None if candidate.reasons else manifest_path(file),
        sha256=entry.sha256,
    )
