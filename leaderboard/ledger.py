"""The trial ledger: which files were handed to the organisers, what they were made of, and what the organisers replied.

A challenge takes few official trials, five by default, so each is noted before it is sent: with its commit, configs,
members and validation score, after the rules guard has passed it. One too many is refused.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Track
from leaderboard import board, store
from leaderboard.guard import broken_rules
from leaderboard.manifest import manifest_path
from leaderboard.provenance import Provenance, provenance_of
from leaderboard.schema import TRIALS, Trial, add, find, now, read

MOST = 5
"""Official trials of a challenge."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A file that is about to be handed in."""

    file: Path
    """What `leaderboard export` or `submit` wrote; its manifest lies beside it."""
    track: Track
    challenge: str
    validation: str
    """Entry of the board that was made in the same way from predictions of the validation set."""
    store: str
    most: int = MOST
    allowed: tuple[str, ...] = ()
    """Rules that this challenge does not have."""


def add_trial(request: Request) -> Trial:
    """Note a trial and return it. BadInput with every reason: one too many, a broken rule, a file that has changed."""
    engine = store.open_store(request.store, create=False)
    manifest, sha256 = _manifest(request)
    members = [str(member) for member in manifest.get("members") or ()]
    if not members:
        raise refuse(manifest_path(request.file), "names no members; write the file with `leaderboard export`")
    provenance = provenance_of(list(map(str, manifest.get("tables") or members)))
    if problems := broken_rules(request.track, provenance, allowed=request.allowed):
        raise BadInput(problems)
    score = _shown_score(request)
    with engine.begin() as connection:
        others = _trials(connection, request.challenge)
        _check_free(request, others, sha256)
        trial = _trial(len(others) + 1, request, manifest, sha256, provenance, score)
        add(connection, TRIALS, trial)
    return trial


def add_reply(engine: Engine, challenge: str, number: int, *, score: float | None, text: str) -> Trial:
    """Note what the organisers replied to a trial: a score, a text, or both. BadInput when there is no such trial.

    What is not given stays as it was noted before.
    """
    this = (TRIALS.c.challenge == challenge) & (TRIALS.c.number == number)
    given = ({} if score is None else {"reply_score": score}) | ({"reply": text} if text else {})
    with engine.begin() as connection:
        connection.execute(update(TRIALS).where(this).values(reply_at=now(), **given))
        trial = find(connection, Trial, select(TRIALS).where(this))
    if trial is None:
        raise refuse(f"{challenge}, trial {number}", "there is no such trial; `leaderboard trial list` names them")
    return trial


def trials(engine: Engine, challenge: str | None = None) -> list[Trial]:
    """The trials of a challenge, or of all, in order."""
    with store.reading(engine) as connection:
        return _trials(connection, challenge)


def _trials(connection: Connection, challenge: str | None) -> list[Trial]:
    chosen = select(TRIALS).order_by(TRIALS.c.challenge, TRIALS.c.number)
    return read(connection, Trial, chosen if challenge is None else chosen.where(TRIALS.c.challenge == challenge))


def _manifest(request: Request) -> tuple[dict[str, Any], str]:
    """The manifest, and the SHA-256 of the file that it describes."""
    path = manifest_path(request.file)
    try:
        digest = hashlib.sha256(request.file.read_bytes()).hexdigest()
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        message = f"{error.strerror}; expected a file that `leaderboard export` wrote, with its manifest beside it"
        raise refuse(error.filename or request.file, message) from None
    except ValueError as error:
        raise refuse(path, f"is no manifest ({error}); write the file again with `leaderboard export`") from None
    known = manifest.get("sha256") if isinstance(manifest, dict) else None
    if digest not in (known.values() if isinstance(known, dict) else [known]):
        raise refuse(request.file, f"is not the file that {path.name} describes (SHA-256); write both again")
    if manifest.get("track") != request.track.name:
        raise refuse(path, f"is of track {manifest.get('track')}, not of {request.track.name}; check --track")
    return manifest, digest


def _shown_score(request: Request) -> float:
    """What the board shows of the validation entry."""
    found = next((row for row in board.rows(request.store, request.track) if row.name == request.validation), None)
    if found is None or found.score is None:
        what = "has no score that is shown" if found else f"is no entry of track {request.track.name}"
        raise refuse(request.validation, f"{what}; --validation names the entry that scores this on the validation set")
    return found.score


def _check_free(request: Request, others: Sequence[Trial], sha256: str) -> None:
    problems = []
    if len(others) >= request.most:
        message = f"all {request.most} official trials are used; the last one was {others[-1].file}, {_day(others[-1])}"
        problems.append(Problem(path=request.challenge, message=message))
    problems += [
        Problem(path=str(request.file), message=f"was handed in already: trial {one.number} of {_day(one)}")
        for one in others
        if one.sha256 == sha256
    ]
    if problems:
        raise BadInput(problems)


def _trial(
    number: int, request: Request, manifest: dict[str, Any], sha256: str, provenance: Provenance, score: float
) -> Trial:
    return Trial(
        challenge=request.challenge,
        number=number,
        track=request.track.name,
        at=now(),
        file=str(request.file),
        sha256=sha256,
        commit=str(manifest.get("commit") or ""),
        configs={run.folder.name: run.config_hash for run in provenance.runs},
        members=[str(member) for member in manifest["members"]],
        weights=sorted({weights for run in provenance.runs for weights in run.foreign}),
        allowed=list(request.allowed),
        validation=request.validation,
        score=score,
    )


def _day(trial: Trial) -> str:
    return f"{trial.at:%Y-%m-%d %H:%M} UTC"
