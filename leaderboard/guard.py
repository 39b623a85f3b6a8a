"""The rules guard: what the organisers forbid, checked against the runs that an ensemble's members stand on.

Uni-task challenges allow the labels of their own track only. MTL and LSD forbid weights that were trained on Aff-Wild2
(MTL's own set, s-Aff-Wild2, is allowed there). What no run folder proves is refused too, and not passed over.
"""

import re
from collections.abc import Collection, Iterator

from abaw.problems import Problem
from abaw.tracks import Track
from leaderboard.provenance import Provenance, Run

UNI_TASK, NO_AFF_WILD2, KNOWN_RUNS = "uni-task", "no-aff-wild2", "known-runs"
RULES = {
    UNI_TASK: "expr, au and va: no labels of Aff-Wild2 but the track's own",
    NO_AFF_WILD2: "mtl and lsd: no weights trained on Aff-Wild2",
    KNOWN_RUNS: "all tracks: every member is traced to its runs",
}
LABELLED = ("expr", "au", "va", "mtl")
"""Tracks whose labels are those of Aff-Wild2."""
AFF_WILD2 = re.compile(r"(?<![a-z0-9])(?<!\bs[-_ ])aff[-_ ]?wild", re.IGNORECASE)
"""In the name of a folder or of weights; s-Aff-Wild2, the set of MTL, is not meant."""


def rules_of(track: Track) -> tuple[str, ...]:
    """The rules that hold in a track."""
    own = {"expr": UNI_TASK, "au": UNI_TASK, "va": UNI_TASK, "mtl": NO_AFF_WILD2, "lsd": NO_AFF_WILD2}
    return (own[track.name], KNOWN_RUNS) if track.name in own else (KNOWN_RUNS,)


def broken_rules(track: Track, provenance: Provenance, *, allowed: Collection[str] = ()) -> list[Problem]:
    """A problem for each run that breaks a rule of the track, and for each that is unknown, but for `allowed` rules.

    It names the run, what it was trained on, and the member that stands on it.
    """
    problems = []
    held = [rule for rule in rules_of(track) if rule not in allowed]
    for run in provenance.runs:
        problems += [
            Problem(
                path=str(run.folder),
                message=f"run {run.name} {what}; {RULES[rule]} (rule {rule}); leave out {run.member}, which stands on "
                f"it, or --allow {rule} if this challenge does",
            )
            for rule, what in _against(track, run)
            if rule in held
        ]
    if KNOWN_RUNS in held:
        told = "no run folder is known (result.json); keep the tables in their runs' folders, or --allow known-runs"
        problems += [Problem(path=one, message=told) for one in provenance.unknown]
    return problems


def _against(track: Track, run: Run) -> Iterator[tuple[str, str]]:
    """The rules that a run breaks, and by what."""
    if not run.trains:
        return
    if run.track in LABELLED and run.track != track.name:
        yield UNI_TASK, f"was trained on the labels of track {run.track}"
        yield NO_AFF_WILD2, f"was trained on Aff-Wild2 (track {run.track})"
    elif run.track is None and (source := _named(run.sources)):
        yield NO_AFF_WILD2, f"was trained on the frames of Aff-Wild2 ({source})"
    if source := _named(run.foreign):
        yield NO_AFF_WILD2, f"starts from weights that are named after Aff-Wild2 ({source})"


def _named(sources: tuple[str, ...]) -> str | None:
    return next((source for source in sources if AFF_WILD2.search(source)), None)
