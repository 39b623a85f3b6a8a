"""What a board's server does with a team's submission: the same reader, scorer and rules as `leaderboard submit`.

Nothing here knows HTTP. The truth is read where a submission is scored and goes nowhere else: a team is told its
public scores and what is wrong with its own file, never a path of the server.
"""

import logging
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Engine

from abaw.problems import BadInput, refuse
from abaw.tracks import Track
from leaderboard import board, store
from leaderboard.entries import Request, Submitted, submit
from leaderboard.images import plain_names
from leaderboard.publishing import mend
from leaderboard.templates import read_template
from leaderboard.truth import read_truth, within
from leaderboard.uploads import Limits, Refusal, prepare

NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._,+()=-]{0,79}$"
"""Names of entries: what the command line allows and nobody needs (quotes, slashes, other scripts) is left out."""
UPLOADING = ".upload-"
"""Start of the names of folders of what is being uploaded; that of no team starts so."""
OF_OTHERS = "it states what an earlier entry of another team states, or nearly: is it a copy?"
LOG = logging.getLogger("leaderboard.serve")


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A track that teams submit to."""

    track: Track
    template: Path
    truth: Path
    training: Path | None = None
    """Training labels: who submits is warned of where a submission is far from them."""
    most_lines: int
    """Lines of a submission that the reader is troubled with."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """What a server serves."""

    url: str
    """Of the store."""
    engine: Engine
    files: Path
    """Folder of the teams' files; nobody but the server reads it."""
    challenges: Mapping[str, Challenge]
    """By the name of the track."""
    limits: Limits = Limits()


def read_challenge(track: Track, template: Path, truth: Path, training: Path | None = None) -> Challenge:
    """The challenge of these files. BadInput when they cannot be used, or when the truth is not of the template.

    Were a labelled frame not in the template, the refusal of a submission would tell that it is labelled.
    """
    rows, labels = read_template(template, track).rows, read_truth(truth, track)
    asked = plain_names(rows["image"], track)
    labels, _ = within(labels, asked)
    labelled = labels.labelled
    if number := int((~labelled.is_in(asked.to_list())).sum()):
        message = f"has labels of {number:,} frames that {template} does not ask for; name the template of these videos"
        raise refuse(truth, message)
    if labelled.is_empty():
        raise refuse(truth, f"no frame is annotated for track {track.name}")
    if training is not None:
        read_truth(training, track)
    return Challenge(track=track, template=template, truth=truth, training=training, most_lines=2 * len(rows) + 1_000)


def check_name(served: Served, challenge: Challenge, name: str) -> None:
    """Refuse a name of an entry that is none or is taken."""
    if not re.fullmatch(NAME, name):
        message = "this is no name of an entry; expected up to 80 letters, digits, spaces and . _ , + ( ) = -"
        raise Refusal(422, "bad-name", message)
    try:
        store.check_free(served.engine, challenge.track.name, name, overwrite=False)
    except BadInput:
        message = f"track {challenge.track.name} has an entry {name!r}; choose another name: none is replaced"
        raise Refusal(409, "name-taken", message) from None


def submit_upload(
    served: Served, challenge: Challenge, team: str, name: str, upload: Path, *, commit: str = "", note: str = ""
) -> tuple[board.Row, list[str]]:
    """Submit what a team has sent. Refusal when it is invalid (with every reason) or limited.

    Returns:
        Its entry, and what looks wrong with it. An entry of another team that it may be a copy of is not named: that
        is in the server's log.
    """
    submission = prepare(upload, most_bytes=served.limits.bytes, most_lines=challenge.most_lines)
    folder = served.files / team / secrets.token_hex(8)
    try:
        result = submit(
            Request(
                files=(submission,),
                track=challenge.track,
                template=challenge.template,
                truth=challenge.truth,
                training=challenge.training,
                name=name,
                author=team,
                note=note,
                commit=commit,
                store=served.url,
                out=folder,
            )
        )
    except BadInput:
        check_name(served, challenge, name)  # another upload of this name may have been faster
        raise
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    row = next(row for row in own_rows(served, challenge, team) if row.name == name)
    if result.status == "invalid":
        message = "the submission is invalid; it is kept under its name, with these reasons, and never ranked"
        raise Refusal(422, "invalid-submission", message, row.reasons)
    if result.status == "limited":
        message = "the submission is correct, but the rules of the track do not let it count"
        raise Refusal(403, "limited", message, row.reasons)
    for copy in result.copies:
        LOG.warning("%s/%s of team %s: %s", challenge.track.name, name, team, copy)
    return row, _told(result, team)


def _told(result: Submitted, team: str) -> list[str]:
    """The warnings that a team may read."""
    own = [str(one) for one in result.copies if one.author == team]
    return [*result.drift, *own, *([OF_OTHERS] if len(own) < len(result.copies) else [])]


def tidy(served: Served) -> None:
    """Remove what a killed server has left, uploads and files of entries that are not in, before another one starts."""
    for folder in served.files.glob(f"{UPLOADING}*"):
        shutil.rmtree(folder)
    for folder in served.files.glob("*/*"):
        mend(served.engine, folder)
        if not any(folder.iterdir()):
            folder.rmdir()


def own_rows(served: Served, challenge: Challenge, team: str) -> list[board.Row]:
    """A team's entries, with reasons that name none of the server's files."""
    rows = board.rows(served.url, challenge.track)
    return [_without_paths(row, challenge) for row in rows if row.author == team]


def own_file(served: Served, row: board.Row) -> Path | None:
    """The submission file of a valid entry that came through the server."""
    file = Path(row.file)
    inside = row.status == "valid" and file.resolve().is_relative_to(served.files.resolve())
    return file if inside and file.is_file() else None


def _without_paths(row: board.Row, challenge: Challenge) -> board.Row:
    known = {str(challenge.template): "the template"} | ({row.file: "upload"} if row.file else {})
    reasons = row.reasons
    for path, said in known.items():
        reasons = tuple(reason.replace(path, said) for reason in reasons)
    return replace(row, reasons=reasons)
