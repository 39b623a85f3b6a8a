"""`leaderboard trial add | reply | list`: their arguments, and what they do and print."""

import argparse
import json
import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abaw.problems import refuse
from abaw.tracks import TRACKS, get_track
from leaderboard.arguments import number, printable, whole

if TYPE_CHECKING:
    from leaderboard.schema import Trial

RULES = ("uni-task", "no-aff-wild2", "known-runs")
"""As `leaderboard.guard.RULES`, which takes long to import."""


def add_trial(command: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The arguments of `leaderboard trial`; returns its three commands, which take --store and --json too."""
    commands = command.add_subparsers(dest="action", required=True, metavar="add | reply | list")
    add = commands.add_parser("add", help="note a file before it is handed in")
    add.add_argument("file", metavar="FILE", type=Path, help="what `leaderboard export` wrote, its manifest beside it")
    add.add_argument("--track", required=True, choices=tuple(TRACKS), metavar="TRACK", help="whose rules hold")
    validation = "entry of the board that was made in the same way from predictions of the validation set"
    add.add_argument("--validation", required=True, metavar="ENTRY", help=validation)
    add.add_argument("--most", type=whole(1), default=5, metavar="N", help="trials of the challenge (%(default)s)")
    allow = "a rule that this challenge does not have; kept with the trial; may be given again"
    add.add_argument("--allow", choices=RULES, action="append", default=[], help=allow)
    reply = commands.add_parser("reply", help="note what the organisers replied")
    reply.add_argument("number", metavar="NUMBER", type=whole(1), help="of the trial, from 1")
    reply.add_argument("--score", type=number("a score, such as 0.4123", lambda _: True), help="on the test set")
    reply.add_argument("--text", default="", help="anything else that they said")
    known = commands.add_parser("list", help="all trials")
    for one in (add, reply):
        has_limit = "such as 'ABAW11 VA': what has the limit"
        one.add_argument("--challenge", required=True, type=printable, metavar="NAME", help=has_limit)
    known.add_argument("--challenge", metavar="NAME", help="left out: all")
    return [add, reply, known]


def trial(arguments: Namespace) -> int:
    """`leaderboard trial`: the ledger of official trials."""
    from leaderboard import ledger, store

    if arguments.action == "add":
        request = ledger.Request(
            file=arguments.file,
            track=get_track(arguments.track),
            challenge=arguments.challenge,
            validation=arguments.validation,
            store=arguments.store,
            most=arguments.most,
            allowed=tuple(arguments.allow),
        )
        made = ledger.add_trial(request)
        for weights in made.weights:
            print(f"no run made the weights {weights}: make sure that the rules allow them", file=sys.stderr)
        _print([made], arguments.json)
        print(f"{arguments.most - made.number} of {arguments.most} trials are left", file=sys.stderr)
        return 0
    engine = store.open_store(arguments.store, create=False)
    if arguments.action == "reply":
        score, text = arguments.score, arguments.text
        if score is None and not text:
            raise refuse(f"{arguments.challenge}, trial {arguments.number}", "what was replied? give --score or --text")
        _print(
            [ledger.add_reply(engine, arguments.challenge, arguments.number, score=score, text=text)], arguments.json
        )
    else:
        found = ledger.trials(engine, arguments.challenge)
        if not found:
            of = f" of challenge {arguments.challenge}" if arguments.challenge else ""
            print(f"no trial{of} in {arguments.store}", file=sys.stderr)
        _print(found, arguments.json)
    return 0


def _print(trials: "list[Trial]", as_json: bool) -> None:
    for one in trials:
        if as_json:
            print(json.dumps({name: _plain(value) for name, value in vars(one).items()}))
            continue
        print(f"{one.challenge}, trial {one.number} of {one.at:%Y-%m-%d %H:%M} UTC: {one.file}")
        print(f"  {one.validation}: {one.score:.4f} on validation; {_reply(one)}")
        print(f"  commit {one.commit or 'unknown'}; {len(one.members)} members, {len(one.configs)} runs")
        print("".join(f"  allowed: {rule}\n" for rule in one.allowed), end="")


def _reply(one: "Trial") -> str:
    if one.reply_at is None:
        return "no reply yet"
    score = "" if one.reply_score is None else f" {one.reply_score:.4f}"
    return f"replied{score}{f' ({one.reply})' if one.reply else ''}"


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else value
