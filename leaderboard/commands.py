"""What each command does and prints; `leaderboard.cli` parses its arguments and turns refusals into exit code 1.

A command imports what only it needs: most of the time of a small `score --json` is imports.
"""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abaw.problems import refuse
from abaw.tracks import TRACKS, Track, get_track
from leaderboard.scoring import Score, score_file
from leaderboard.templates import size_text
from leaderboard.templates import validate as validate_file

if TYPE_CHECKING:
    from rich.table import Table

PLAIN_WIDTH = 200
"""Columns of a table that is printed to a file or a pipe, where nothing says how wide it may be."""


def score(arguments: Namespace) -> int:
    """`leaderboard score`: the metrics of a file."""
    track = get_track(arguments.track)
    result = score_file(arguments.file, track, arguments.truth)
    _note_ignored(result, arguments.file)
    if arguments.json:
        _print_json(result.as_json())
    else:
        videos = f" in {result.videos:,} videos" if result.videos else ""
        print(f"{track.title}: {track.score} {result.score:.4f} over {result.frames:,} frames{videos}")
        _print(_metrics_table(result, track))
    return 0


def validate(arguments: Namespace) -> int:
    """`leaderboard validate`: every reason why a file would be refused."""
    track = get_track(arguments.track)
    rows, reasons = validate_file(arguments.file, track, arguments.template)
    if reasons or rows is None:
        print("\n".join(reasons.lines))
        _note(reasons.summary)
        return 1
    print(f"ok: {size_text(rows, track)}")
    return 0


def submit(arguments: Namespace) -> int:
    """`leaderboard submit`: an entry, and where it ranks."""
    from leaderboard.entries import Request, Submitted
    from leaderboard.entries import submit as submit_entry

    track = get_track(arguments.track)
    fields = ("template", "truth", "name", "author", "note", "baseline", "store", "out", "overwrite")
    options = {field: getattr(arguments, field) for field in fields}
    result: Submitted = submit_entry(Request(files=tuple(arguments.files), track=track, **options))
    if result.filled:
        share = result.filled / result.rows
        _note(
            f"{result.filled:,} of {result.rows:,} rows ({share:.1%}) had no prediction: filled from their neighbours"
        )
    if arguments.json:
        _print_json(result.as_json())
    for reason in result.reasons:
        print(reason, file=sys.stderr)
    if result.status == "invalid":
        _note(f"stored as invalid, not ranked: {result.name}")
        return 1
    if result.score is not None:
        _note_ignored(result.score, result.file)
    if not arguments.json:
        _print_submitted(result.as_json(), track)
    return 0


def show(arguments: Namespace) -> int:
    """`leaderboard show`: the board of one track, or of each that has entries."""
    from leaderboard import board

    tracks = [get_track(arguments.track)] if arguments.track else list(TRACKS.values())
    boards = [(track, board.rows(arguments.store, track)) for track in tracks]
    if arguments.json:
        _print_json([{"track": t.name, "entries": [row.as_json() for row in rows]} for t, rows in boards if rows])
        return 0
    for track, rows in boards:
        if any(row.rank is not None for row in rows):
            print(f"{track.title} ({track.name}), ranked by {track.score}")
            _print(board.render(rows, track))
        for line in board.unranked_lines(rows, track):
            print(line)
    if not any(rows for _, rows in boards):
        _note(f"no entry {'of track ' + arguments.track if arguments.track else 'yet'} in {arguments.store}")
    return 0


def ensemble(arguments: Namespace) -> int:
    """`leaderboard ensemble`: the mean of prediction tables."""
    from abaw.predictions import read_predictions, write_predictions
    from leaderboard.ensemble import mean_of

    track, out = get_track(arguments.track), Path(arguments.out)
    if out.exists() and not arguments.overwrite:
        raise refuse(out, "exists already; name another --out, or replace it with --overwrite")
    if repeated := sorted({str(path) for path in arguments.files if arguments.files.count(path) > 1}):
        raise refuse(repeated[0], "is given more than once; name each table once")
    table = mean_of({str(path): read_predictions(path, track) for path in arguments.files}, track)
    write_predictions(table, out)
    print(f"{out}: {table.num_rows:,} rows, the mean of {len(arguments.files)} tables")
    return 0


def _metrics_table(result: Score, track: Track) -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in result.metrics.items():
        table.add_row(name, f"{value:.4f}", style="bold" if name == track.score else None)
    return table


def _print_submitted(result: dict[str, Any], track: Track) -> None:
    if result["score"] is None:
        print(f"{result['name']}: valid, {result['rows']:,} rows; not ranked, since there is no --truth")
    else:
        print(
            f"{result['name']}: {track.score} {result['score']:.4f}, rank {result['rank']} of {result['ranked']}",
            end="",
        )
        print(f", {result['delta_to_best']:+.4f} to the best" if result["rank"] > 1 else ", the best")
    print(f"file: {result['file']}\nmanifest: {result['manifest']}")


def _note_ignored(result: Score, path: Path) -> None:
    if result.ignored:
        _note(f"{path}: {result.ignored:,} predictions are for frames without truth; they do not count")


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _print_json(value: object) -> None:
    print(json.dumps(value, allow_nan=False))


def _print(table: "Table") -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False).print(table)
