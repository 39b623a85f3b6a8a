"""What each command does and prints; `leaderboard.cli` parses its arguments and turns refusals into exit code 1.

A command imports what only it needs: most of the time of a small `score --json` is imports.
"""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abaw.tracks import Track, get_track
from leaderboard.reasons import SHOWN
from leaderboard.scoring import Score, score_file
from leaderboard.templates import size_text
from leaderboard.templates import validate as validate_file

if TYPE_CHECKING:
    import polars as pl
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
        sure = _interval_text(result, track.score)
        print(f"{track.title}: {track.score} {result.score:.4f}{sure} over {result.frames:,} frames{videos}")
        _print(_metrics_table(result, track))
        for fold, value in result.folds.items():
            print(f"fold {fold}: {track.score} {value:.4f}")
        if arguments.videos:
            _print(_videos_table(result, track))
    return 0


def validate(arguments: Namespace) -> int:
    """`leaderboard validate`: every reason why a file would be refused."""
    track = get_track(arguments.track)
    rows, reasons = validate_file(arguments.file, track, arguments.template, shown=None if arguments.all else SHOWN)
    if reasons or rows is None:
        print("\n".join(reasons.lines))
        _note(reasons.summary)
        return 1
    for warning in _warnings(rows, track, arguments):
        _note(f"warning: {arguments.file}: {warning}")
    print(f"ok: {size_text(rows, track)}")
    return 0


def _warnings(rows: "pl.DataFrame", track: Track, arguments: Namespace) -> list[str]:
    """What looks wrong with a valid file, compared with training labels and earlier files where they are given."""
    from leaderboard.drift import warnings
    from leaderboard.submissions import read_submission
    from leaderboard.truth import read_truth

    earlier = {}
    for path in arguments.against:
        others, reasons = read_submission(path, track)
        reasons.raise_any()
        assert others is not None
        earlier[str(path)] = others
    train = read_truth(arguments.training, track) if arguments.training else None
    return warnings(rows, track, train, earlier)


def export(arguments: Namespace) -> int:
    """`leaderboard export`: the organisers' file, folder or zip, without a board."""
    from leaderboard.export import export as write

    track = get_track(arguments.track)
    options = {"form": arguments.form, "overwrite": arguments.overwrite}
    made = write(arguments.files, track, arguments.template, arguments.out, **options)
    if made.filled:
        share = made.filled / made.rows
        _note(f"{made.filled:,} of {made.rows:,} rows ({share:.1%}) had no prediction: filled from their neighbours")
    print(f"{made.out}: {made.rows:,} rows in {made.videos:,} videos\nmanifest: {made.manifest}")
    return 0


def submit(arguments: Namespace) -> int:
    """`leaderboard submit`: an entry, and where it ranks."""
    from leaderboard.entries import Request, Submitted
    from leaderboard.entries import submit as submit_entry

    track = get_track(arguments.track)
    fields = ("template", "truth", "name", "author", "note", "baseline", "store", "out", "overwrite", "tuning")
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
    if result.status != "valid":
        _note(f"stored as {result.status}, not ranked: {result.name}")
        return 1
    if result.score is not None:
        _note_ignored(result.score, result.file)
    if not arguments.json:
        _print_submitted(result.as_json(), track)
    return 0


def show(arguments: Namespace) -> int:
    """`leaderboard show`: the board."""
    from leaderboard.board_command import show as show_board

    return show_board(arguments)


def compare(arguments: Namespace) -> int:
    """`leaderboard compare`: one entry against others."""
    from leaderboard.board_command import compare as compare_entries

    return compare_entries(arguments)


def rules(arguments: Namespace) -> int:
    """`leaderboard rules`: set or say the rules of a track."""
    from leaderboard.board_command import rules as set_rules

    return set_rules(arguments)


def reveal(arguments: Namespace) -> int:
    """`leaderboard reveal`: show the private scores."""
    from leaderboard.board_command import reveal as reveal_track

    return reveal_track(arguments)


def ensemble(arguments: Namespace) -> int:
    """`leaderboard ensemble`: one prediction table of many."""
    from leaderboard.ensemble_command import ensemble as make

    return make(arguments)


def soup(arguments: Namespace) -> int:
    """`leaderboard soup`: the mean of checkpoints."""
    from leaderboard.ensemble_command import soup as make

    return make(arguments)


def _metrics_table(result: Score, track: Track) -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, value in result.metrics.items():
        sure = _interval_text(result, name).strip()
        table.add_row(name, f"{value:.4f}", sure, style="bold" if name == track.score else None)
    return table


def _interval_text(result: Score, metric: str) -> str:
    """` [low, high]`, or nothing where the images are stills or of one video."""
    found = result.intervals.get(metric)
    return f" [{found.low:.4f}, {found.high:.4f}]" if found else ""


def _videos_table(result: Score, track: Track) -> "Table":
    """One row a video; of classes that a video does not hold, the F1 is 0 by ABAW's rule."""
    from rich.table import Table

    from leaderboard.board import score_columns

    columns = score_columns(track)
    table = Table("video", "fold")
    for heading in ("frames", *columns):
        table.add_column(heading, justify="right")
    for one in result.counted:
        found = one.metrics()
        scores = [f"{found[key]:.4f}" if key in found else "" for key in columns.values()]
        fold = "" if one.fold is None else str(one.fold)
        table.add_row(one.video.replace("[", r"\["), fold, f"{one.frames:,}", *scores)
    return table


def _print_submitted(result: dict[str, Any], track: Track) -> None:
    if result["withheld"]:
        print(f"{result['name']}: valid; not ranked, since the Ladder rule withholds its score")
    elif result["score"] is None:
        print(f"{result['name']}: valid, {result['rows']:,} rows; not ranked, since there is no --truth")
    else:
        print(
            f"{result['name']}: {track.score} {result['score']:.4f}, rank {result['rank']} of {result['ranked']}",
            end="",
        )
        print(f", {result['delta_to_best']:+.4f} to the best" if result["rank"] > 1 else ", the best")
    print(f"file: {result['file']}\nmanifest: {result['manifest']}")


def _note_ignored(result: Score, path: Path) -> None:
    if result.beyond:
        _note(f"{path}: {result.beyond:,} labelled lines come after the last row of their video; they do not count")
    if result.ignored:
        _note(f"{path}: {result.ignored:,} predictions are for frames without truth; they do not count")


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _print_json(value: object) -> None:
    print(json.dumps(value, allow_nan=False))


def _print(table: "Table") -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False).print(table)
