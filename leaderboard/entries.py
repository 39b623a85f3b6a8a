"""Submitting: write the official file, validate it, score it, store it, and say where it ranks.

Nothing is queued and nothing is left half done: the file, its manifest and the entry appear together or not at all; of
a submission that was killed midway, the next one into the same folder removes what is left. An invalid submission is
stored with every reason and is never ranked.
"""

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Track
from leaderboard import store
from leaderboard.candidates import Candidate, make_candidate
from leaderboard.copies import Suspected, copies
from leaderboard.drift import warnings
from leaderboard.images import count_videos
from leaderboard.manifest import manifest_bytes, manifest_of, manifest_path
from leaderboard.per_video import to_json
from leaderboard.predicted import predicted_of_rows
from leaderboard.publishing import Published, mend
from leaderboard.ranking import ranking
from leaderboard.schema import Entry, Origin, Rules, now
from leaderboard.scoring import TABLE_SUFFIX, Score, score, summary
from leaderboard.split import split
from leaderboard.templates import read_template
from leaderboard.truth import Truth, read_truth
from leaderboard.tuned import given_tuning
from leaderboard.tuning import Tuning, is_hidden
from leaderboard.video_lists import NO_LENGTHS
from leaderboard.zips import is_zip

DEFAULT_OUT = Path("submissions")
"""Where the official files of prediction tables go."""
LONGEST_NAME = 200
"""Bytes of an official file's name. File systems take 255, and the names of its manifest and of parts are longer."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is submitted, and under which name."""

    files: tuple[Path, ...]
    """One submission file, ABAW3's folder of one file a video, a zip of either, or prediction tables (`.parquet`), of
    which the mean is made."""
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
    """Folder of the official file; None: a submission file stays where it is, others go to `submissions`."""
    commit: str | None = None
    """Of the code that made the predictions; None: it is looked up where the files are."""
    overwrite: bool = False
    """Replace an entry of the same name, and its files."""
    tuning: Path | None = None
    """What a search or a greedy soup says of what was tuned; None: it is looked up (`leaderboard.tuned`)."""
    training: Path | None = None
    """Training labels: what is submitted is warned of where it is far from them (`leaderboard.drift`)."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """The score of a submission, in the parts that the track's rules make of it."""

    whole: Score
    public: Score
    """What the board shows; the whole score where no video is private."""
    private: Score | None


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """What became of a submission."""

    track: str
    name: str
    status: str
    """valid, invalid, or limited: correct, but the track's rules do not let it count."""
    reasons: tuple[str, ...]
    """Why it is invalid or limited, one line a reason."""
    withheld: bool
    """The Ladder rule keeps the score from being shown."""
    score: Score | None
    """The score that is shown: on the public videos, where the track keeps private ones."""
    rank: int | None
    """From 1; None where no score is shown."""
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
    """None for a submission that is not valid: it has no manifest."""
    sha256: str
    tuning: Tuning | None
    """Untuned, in-sample and cross-fitted score of what was tuned; None before the reveal of what may tell of it."""
    drift: tuple[str, ...] = ()
    """What looks wrong with a valid submission, or could not be checked: drift from the training labels, constant
    videos, lengths of videos."""
    copies: tuple[Suspected, ...] = ()
    """Earlier entries that a valid submission may be a copy of."""

    @property
    def warnings(self) -> list[str]:
        """All that looks wrong, one line each."""
        return [*self.drift, *map(str, self.copies)]

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
            "intervals": self.score.as_json()["intervals"] if self.score else {},
            "per_video": self.score.as_json()["per_video"] if self.score else [],
            "withheld": self.withheld,
            "tuning": self.tuning,
        }
        return plain | {
            "rows": self.rows,
            "videos": self.videos,
            "filled": self.filled,
            "coverage": (self.rows - self.filled) / self.rows if self.rows else None,
            "file": str(self.file),
            "manifest": str(self.manifest) if self.manifest else None,
            "sha256": self.sha256,
            "reasons": list(self.reasons),
            "warnings": self.warnings,
        }


def submit(request: Request) -> Submitted:
    """Submit, as the module describes. An entry too many, by the track's rules, is stored as limited and not ranked.

    Raises BadInput, storing nothing, when the name or the output file is taken, or when template, truth or prediction
    tables cannot be read.
    """
    engine = store.open_store(request.store, create=True)
    track = request.track
    file = _target(request)
    mend(engine, file.parent)
    store.check_free(engine, track.name, request.name, overwrite=request.overwrite)
    template = read_template(request.template, track)
    _check_outputs(request, file)
    _check_owner(engine, request, file)
    tuning = given_tuning(request.tuning, track) if request.tuning else None
    training = read_truth(request.training, track) if request.training else None
    truth = read_truth(request.truth, track) if request.truth else None
    candidate = make_candidate(request.files, template, truth, tuning)
    rules = store.rules_of(engine, track.name)
    scored = _score(track, candidate, truth, file, rules)
    entry = _entry(request, candidate, scored, file)
    counted = to_json(scored.whole.counted) if scored else ()
    with Published(engine, entry, _outputs(request, candidate, entry, file, rules)) as files:
        options: dict[str, Any] = {"overwrite": request.overwrite, "publish": files.publish}
        entry = store.add_entry(engine, entry, counted=counted, origin=_origin(candidate), **options)
    result = _result(engine, request, candidate, scored, entry)
    if result.status != "valid":
        return result
    assert candidate.rows is not None
    drift = tuple(warnings(candidate.rows, track, training, {}))
    if truth is None and template.lists_videos:
        drift = (f"{request.template} {NO_LENGTHS}", *drift)
    return replace(result, drift=drift, copies=tuple(copies(engine, track.name, entry.name)))


def _score(track: Track, candidate: Candidate, truth: Truth | None, file: Path, rules: Rules) -> Scored | None:
    if candidate.reasons or truth is None:
        return None
    assert candidate.rows is not None
    whole = score(predicted_of_rows(candidate.rows, track, file), truth, track)
    if not rules.private_share:
        return Scored(whole=whole, public=whole, private=None)
    public, private = split(track, whole.counted, share=rules.private_share, seed=rules.seed)
    shown = summary(track, public, ignored=whole.ignored)
    shown = replace(shown, beyond=whole.beyond)
    return Scored(whole=whole, public=shown, private=summary(track, private))


def _target(request: Request) -> Path:
    """Where the official file is or will be."""
    first = request.files[0]
    made = first.suffix == TABLE_SUFFIX or first.is_dir() or is_zip(first)
    if not made and request.out is None:
        return first
    slug = re.sub(r"[^\w.-]+", "-", request.name).strip("-.") or "entry"
    return (request.out or DEFAULT_OUT) / f"{request.track.name}-{slug}.txt"


def _check_outputs(request: Request, file: Path) -> None:
    if len(os.fsencode(file.name)) > LONGEST_NAME:
        raise refuse(f"{file.name[:80]}...", f"has more than {LONGEST_NAME} bytes; choose a shorter --name")
    if file.parent.is_file():
        raise refuse(file.parent, "is a file; --out names the folder of the official file")
    outputs = [file, manifest_path(file)]
    if file in request.files:
        # What `export` wrote is submitted as it is; the entry's manifest says all that the one of the export did.
        outputs = [] if manifest_of(file, request.track).get("form") else [manifest_path(file)]
    taken = [path for path in outputs if path.exists()]
    if taken and not request.overwrite:
        message = "exists already; choose another --name or --out, or replace it with --overwrite"
        raise BadInput([Problem(path=str(path), message=message) for path in taken])


def _check_owner(engine: Engine, request: Request, file: Path) -> None:
    """Names that differ in signs alone would share a file: replacing one entry must not replace another's."""
    for entry in store.briefs(engine, request.track.name):
        if entry.name != request.name and entry.file == str(file):
            raise refuse(file, f"is the file of the entry {entry.name!r}; choose another --name or --out")


def _entry(request: Request, candidate: Candidate, scored: Scored | None, file: Path) -> Entry:
    valid = not candidate.reasons
    public, private = (scored.public, scored.private) if scored else (None, None)
    return Entry(
        track=request.track.name,
        name=request.name,
        author=request.author,
        created_at=now(),
        status="valid" if valid else "invalid",
        score=public.score if public else None,
        metrics=dict(public.metrics) if public else {},
        intervals=_ends(public),
        private_score=private.score if private else None,
        private_metrics=dict(private.metrics) if private else None,
        private_intervals=_ends(private),
        withheld=False,
        tuning=candidate.tuning,
        reasons=list(candidate.reasons),
        rows=0 if candidate.rows is None else len(candidate.rows),
        videos=0 if candidate.rows is None else count_videos(candidate.rows["image"], request.track),
        frames=public.frames if public else 0,
        filled=candidate.filled,
        file=str(file if valid else request.files[0]),
        sha256=hashlib.sha256(candidate.data).hexdigest() if candidate.data else "",
        commit=candidate.commit if request.commit is None else request.commit,
        baseline=request.baseline,
        note=request.note,
        members=list(candidate.members),
    )


def _origin(candidate: Candidate) -> Origin | None:
    if not candidate.tables:
        return None
    tables = [str(Path(table).absolute()) for table in candidate.tables]
    return Origin(tables=tables, recipe=candidate.recipe and dict(candidate.recipe))


def _ends(score: Score | None) -> dict[str, list[float]] | None:
    """Low and high of each metric's interval."""
    return {name: [one.low, one.high] for name, one in score.intervals.items()} if score else None


def _outputs(request: Request, candidate: Candidate, entry: Entry, file: Path, rules: Rules) -> dict[Path, bytes]:
    """The files of a valid submission: the manifest, and the official file unless it is there already.

    Under the Ladder rule a manifest holds no score: whether it is shown is known when the store has the entry.
    """
    if candidate.reasons:
        return {}
    told = rules.step is None
    made: dict[str, Any] = {"tables": candidate.tables, "recipe": candidate.recipe}
    data = manifest_bytes(entry, config_hash=candidate.config_hash, with_score=told, **made)
    manifest = manifest_path(file), data
    return dict([manifest] if file in request.files else [(file, candidate.data), manifest])


def _result(engine: Engine, request: Request, candidate: Candidate, scored: Scored | None, entry: Entry) -> Submitted:
    rules = store.rules_of(engine, entry.track)
    board = ranking(engine, entry.track, rules)
    rank = next((k for k, (name, _) in enumerate(board, start=1) if name == entry.name), None)
    valid = entry.status == "valid"
    file = Path(entry.file) if valid else request.files[0]
    return Submitted(
        track=entry.track,
        name=entry.name,
        status=entry.status,
        reasons=tuple(entry.reasons),
        withheld=bool(entry.withheld),
        score=scored.public if scored and valid and not entry.withheld else None,
        rank=rank,
        ranked=len(board),
        delta_to_best=None if rank is None or entry.score is None else entry.score - board[0][1],
        rows=entry.rows,
        videos=entry.videos,
        filled=candidate.filled,
        file=file,
        manifest=manifest_path(file) if valid else None,
        sha256=entry.sha256,
        tuning=None if not valid or is_hidden(rules, withheld=bool(entry.withheld)) else entry.tuning,
    )
