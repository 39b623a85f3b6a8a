"""`leaderboard serve` and `leaderboard team`: their arguments, and what they do and print."""

import argparse
import json
import logging
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from abaw.problems import refuse
from abaw.tracks import TRACKS, get_track
from leaderboard.arguments import number, whole
from leaderboard.checks import check_once

if TYPE_CHECKING:
    from leaderboard.serving import Served

LOOPBACK = ("127.0.0.1", "::1", "localhost")
ACTIONS = ("add", "renew", "list", "log")


def add_serve(command: argparse.ArgumentParser) -> None:
    """The arguments of `leaderboard serve`, beside --store."""
    challenge = "a track to serve: its template and its truth, which stays on the server; may be given again"
    names = ("TRACK", "TEMPLATE", "TRUTH")
    command.add_argument(
        "--challenge", nargs=3, metavar=names, action="append", required=True, type=str, help=challenge
    )
    training = "training labels of a track: a team is warned where a submission is far from them; may be given again"
    command.add_argument("--training", nargs=2, metavar=("TRACK", "LABELS"), action="append", default=[], help=training)
    files = "folder of the teams' files (%(default)s)"
    command.add_argument("--files", type=Path, metavar="FOLDER", default=Path("served"), help=files)
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    command.add_argument("--port", type=_port, default=8000, help="port to listen on (%(default)s)")
    size, time = "size of an upload, unzipped (%(default)g)", "time that an upload may take (%(default)g)"
    above_0 = number("a number above 0", lambda value: value > 0)
    command.add_argument("--most-mb", type=above_0, default=100.0, metavar="N", help=size)
    command.add_argument("--seconds", type=above_0, default=300.0, metavar="N", help=time)
    uploads = "uploads of a team in 24 hours (%(default)s); `leaderboard rules --limit` limits its valid entries"
    command.add_argument("--uploads", type=whole(1), default=20, metavar="N", help=uploads)


def add_team(command: argparse.ArgumentParser) -> None:
    """The arguments of `leaderboard team`, beside --store and --json."""
    actions = "add: print the token of a new team, once; renew: another token, the old one holds no longer; "
    command.add_argument("action", choices=ACTIONS, help=actions + "list: name the teams; log: who did what")
    command.add_argument("name", nargs="?", metavar="NAME", help="of the team, for add and renew")


def serve(arguments: Namespace) -> int:
    """`leaderboard serve`: the board's page and API, until it is interrupted."""
    try:
        from leaderboard.serve import make_app
        from leaderboard.serve_guard import server
    except ModuleNotFoundError as error:
        message = f"{error}; the server needs the extra: pip install 'abaw-platform[serve]'"
        raise refuse("leaderboard serve", message) from None
    served = _served(arguments)
    if arguments.host not in LOOPBACK:
        print("tokens travel as they are: let a proxy that speaks TLS stand before this server", file=sys.stderr)
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s")
    print(f"the board is at http://{arguments.host}:{arguments.port}/ (interrupt to stop)", file=sys.stderr)
    server(make_app(served), served.engine, host=arguments.host, port=arguments.port).run()
    return 0


def team(arguments: Namespace) -> int:
    """`leaderboard team`: teams, their tokens and the log of the server."""
    from leaderboard import store
    from leaderboard.audit import Happening, happenings, record
    from leaderboard.teams import add_team, renew_token, team_names

    names_one = arguments.action in ("add", "renew")
    if names_one and not arguments.name:
        raise refuse(f"leaderboard team {arguments.action}", "names no team; write the name behind it")
    if arguments.name and not names_one:
        raise refuse(f"leaderboard team {arguments.action}", f"is of all teams; leave out {arguments.name}")
    engine = store.open_store(arguments.store, create=arguments.action == "add")
    if arguments.action == "list":
        names = team_names(engine)
        if not names:
            print(f"no team in {engine.url.render_as_string(hide_password=True)}", file=sys.stderr)
        print(json.dumps(names) + "\n" if arguments.json else "".join(f"{name}\n" for name in names), end="")
    elif arguments.action == "log":
        fields = ("at", "team", "address", "what", "subject", "outcome", "times")
        for row in happenings(engine):
            plain = {field: str(getattr(row, field)) for field in fields}
            print(json.dumps(plain | {"times": row.times}) if arguments.json else "  ".join(plain.values()))
    else:
        token = (add_team if arguments.action == "add" else renew_token)(engine, arguments.name)
        record(engine, Happening(team=arguments.name, address="", what=f"leaderboard team {arguments.action}"))
        print(json.dumps({"team": arguments.name, "token": token}) if arguments.json else token)
        print(f"this is the only time that the token of {arguments.name} is shown", file=sys.stderr)
    return 0


def _served(arguments: Namespace) -> "Served":
    from leaderboard import store
    from leaderboard.serving import Served, read_challenge, tidy
    from leaderboard.uploads import Limits

    if unknown := [name for name, _, _ in arguments.challenge if name not in TRACKS]:
        raise refuse("--challenge", f"{', '.join(unknown)}: no such track; expected one of {', '.join(TRACKS)}")
    for option in (arguments.challenge, arguments.training):
        check_once([name for name, *_ in option], "track")
    training = {name: Path(labels) for name, labels in arguments.training}
    if unknown := sorted(set(training) - {name for name, _, _ in arguments.challenge}):
        raise refuse("--training", f"{', '.join(unknown)}: no track that --challenge names")
    challenges = {
        name: read_challenge(get_track(name), Path(template), Path(truth), training.get(name))
        for name, template, truth in arguments.challenge
    }
    files = arguments.files.absolute()
    files.mkdir(parents=True, exist_ok=True, mode=0o700)
    limits = Limits(bytes=int(arguments.most_mb * 1e6), seconds=arguments.seconds, uploads=arguments.uploads)
    engine = store.open_store(arguments.store, create=True)
    served = Served(url=arguments.store, engine=engine, files=files, challenges=challenges, limits=limits)
    tidy(served)
    return served


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected a whole number up to 65535")
    return int(text)
