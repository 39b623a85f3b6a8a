"""`leaderboard report`: its arguments, and what it does and prints."""

import argparse
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from abaw.problems import refuse
from abaw.tracks import TRACKS, Track, get_track
from leaderboard.checks import check_free

if TYPE_CHECKING:
    from leaderboard.board import Row


def add_report(command: argparse.ArgumentParser) -> None:
    """The arguments of `leaderboard report`, beside --track and --store."""
    command.add_argument("--out", type=Path, metavar="FILE", required=True, help="HTML file to write")
    command.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    truth = "labels, as PATH, or TRACK=PATH where the report has several tracks: densities and timelines need them; "
    truth += "the file then shows labels of the videos that it draws"
    command.add_argument("--truth", metavar="PATH", nargs="+", default=[], help=truth)
    video = "videos of the timelines (the one with the most labelled frames)"
    command.add_argument("--video", metavar="NAME", nargs="+", default=[], help=video)
    raw = "predictions before smoothing, a prediction table or a submission file, of an entry whose run folders do not "
    raw += "tell them (those of `abaw run` and `abaw tune` do)"
    command.add_argument("--raw", metavar="ENTRY=FILE", nargs="+", default=[], help=raw)


def report(arguments: Namespace) -> int:
    """`leaderboard report`: the store as one HTML file."""
    from leaderboard import board
    from leaderboard.publishing import Staged
    from leaderboard.report import Sources, make_page

    out: Path = arguments.out
    if out.is_dir():
        raise refuse(out, f"is a folder; name the file, such as {out / 'board.html'}")
    check_free([out], overwrite=arguments.overwrite)
    for option, given in (("--video", arguments.video), ("--raw", arguments.raw)):
        if given and not arguments.truth:
            raise refuse(option, "timelines are drawn beside the truth; give --truth")
    tracks = [get_track(arguments.track)] if arguments.track else list(TRACKS.values())
    boards = {track: board.rows(arguments.store, track) for track in tracks}
    boards = {track: rows for track, rows in boards.items() if rows}
    sources = Sources(
        truth=_truth(arguments.truth, list(boards)) if boards else {},
        videos=arguments.video,
        raw=_raw(arguments.raw, boards),
    )
    page = make_page(arguments.store, tracks, sources)
    data = page.html.encode()
    with Staged({out: data}) as staged:
        staged.publish()
    for note in page.notes:
        print(note, file=sys.stderr)
    of = f" of {page.tracks} tracks" if page.tracks > 1 else ""
    print(f"{out}: {page.entries:,} entries{of}, {len(data) / 1000:,.0f} kB")
    return 0


def _truth(given: Sequence[str], tracks: Sequence[Track]) -> dict[str, Path]:
    """The truth by track."""
    names = [track.name for track in tracks]
    found: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (equals and name in TRACKS):
            if len(names) > 1:
                message = "write --truth TRACK=PATH, or choose one with --track"
                raise refuse(text, f"the report has the tracks {', '.join(names)}; {message}")
            name, path = names[0], text
        if name not in names:
            raise refuse(text, f"the report has no entry of track {name}; it has {', '.join(names)}")
        if name in found:
            raise refuse(text, f"the truth of track {name} is given already: {found[name]}; name one")
        found[name] = Path(path)
    return found


def _raw(given: Sequence[str], boards: Mapping[Track, Sequence["Row"]]) -> dict[tuple[str, str], Path]:
    """The raw predictions by track and name of the entry. A name may hold `=`: the longest one that fits is meant."""
    found = {}
    for text in given:
        fitting = [
            (track.name, row.name) for track, rows in boards.items() for row in rows if text.startswith(f"{row.name}=")
        ]
        longest = [one for one in fitting if len(one[1]) == max(len(name) for _, name in fitting)]
        if len(longest) != 1:
            tracks = " and ".join(track for track, _ in longest)
            fits = f"entries of tracks {tracks} fit; choose one with --track" if longest else "fits no entry"
            raise refuse(text, f"{fits}; --raw takes ENTRY=FILE, the entry by its name")
        found[longest[0]] = Path(text[len(longest[0][1]) + 1 :])
    return found
