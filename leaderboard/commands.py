"""What the commands on files do and print; `leaderboard.cli` parses their arguments and turns refusals into exit 1.

A command imports what only it needs: most of the time of a small `score --json` is imports.
"""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abaw.tracks import Track, get_track
from leaderboard.terminal import print_table

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

    from leaderboard.scoring import Score
    from leaderboard.tuning import Tuning


def score(arguments: Namespace) -> int:
    """`leaderboard score`: the metrics of a file."""
    from leaderboard.scoring import score_file

    track = get_track(arguments.track)
    result = score_file(arguments.file, track, arguments.truth)
    note_counted(result, arguments.file)
    tuning = tuning_of(arguments.file, track)
    if arguments.json:
        _print_json(result.as_json() | {"tuning": tuning})
    else:
        videos = f" in {result.videos:,} videos" if result.videos else ""
        sure = _interval_text(result, track.score)
        print(f"{track.title}: {track.score} {result.score:.4f}{sure} over {result.frames:,} frames{videos}")
        print_table(_metrics_table(result, track))
        _print_tuning(tuning)
        for fold, value in result.folds.items():
            print(f"fold {fold}: {track.score} {value:.4f}")
        if arguments.videos:
            print_table(_videos_table(result, track))
    return 0


def tuning_of(file: Path, track: Track) -> "Tuning | None":
    """The three scores of what was tuned, of a prediction table or an exported file."""
    from leaderboard.manifest import manifest_path
    from leaderboard.scoring import TABLE_SUFFIX

    if file.suffix != TABLE_SUFFIX and not manifest_path(file).is_file():
        return None  # and Arrow is not imported
    from leaderboard.tuned import file_tuning

    return file_tuning(file, track)


def validate(arguments: Namespace) -> int:
    """`leaderboard validate`: every reason why a file would be refused."""
    from leaderboard.reasons import SHOWN
    from leaderboard.templates import check, read_template, size_text
    from leaderboard.video_lists import NO_LENGTHS

    track = get_track(arguments.track)
    template = read_template(arguments.template, track)
    rows, reasons = check(arguments.file, template, shown=None if arguments.all else SHOWN)
    if reasons or rows is None:
        print("\n".join(reasons.lines))
        _note(reasons.summary)
        return 1
    for warning in _warnings(rows, track, arguments):
        _note(f"warning: {arguments.file}: {warning}")
    if template.lists_videos:
        _note(f"{arguments.template}: {NO_LENGTHS}")
    print(f"ok: {size_text(rows, track)}")
    return 0


def _warnings(rows: "pl.DataFrame", track: Track, arguments: Namespace) -> list[str]:
    """What looks wrong with a valid file, beside training labels, earlier files and the entries of the store."""
    import hashlib

    from leaderboard.copies import same_file
    from leaderboard.drift import warnings
    from leaderboard.store import DEFAULT_STORE, open_store
    from leaderboard.submissions import read_submission
    from leaderboard.truth import read_truth

    earlier = {}
    for path in arguments.against:
        others, reasons = read_submission(path, track)
        reasons.raise_any()
        assert others is not None
        earlier[str(path)] = others
    train = read_truth(arguments.training, track) if arguments.training else None
    found = warnings(rows, track, train, earlier)
    url = arguments.store or (DEFAULT_STORE if Path(DEFAULT_STORE.removeprefix("sqlite:///")).is_file() else None)
    if url and arguments.file.is_file():
        sha256 = hashlib.sha256(arguments.file.read_bytes()).hexdigest()
        found += same_file(open_store(url, create=False), track.name, sha256)
    return found


def export(arguments: Namespace) -> int:
    """`leaderboard export`: the organisers' file, folder or zip, without a board."""
    from leaderboard.export import export as write

    track = get_track(arguments.track)
    options = {"form": arguments.form, "overwrite": arguments.overwrite}
    made = write(arguments.files, track, arguments.template, arguments.out, **options)
    if made.filled:
        _note(filled_text(made.filled, made.rows, "rows"))
    if made.open_ended:
        _note(f"{arguments.template}: lists videos alone: each file ends with the last predicted frame of its video")
    print(f"{made.out}: {made.rows:,} rows in {made.videos:,} videos\nmanifest: {made.manifest}")
    return 0


def submit(arguments: Namespace) -> int:
    """`leaderboard submit`: an entry, and where it ranks."""
    from leaderboard.entries import Request, Submitted
    from leaderboard.entries import submit as submit_entry

    track = get_track(arguments.track)
    fields = ("template", "truth", "name", "author", "note", "baseline", "store", "out", "overwrite")
    options = {field: getattr(arguments, field) for field in (*fields, "tuning", "training")}
    result: Submitted = submit_entry(Request(files=tuple(arguments.files), track=track, **options))
    if result.filled:
        _note(filled_text(result.filled, result.rows, "rows"))
    if arguments.json:
        _print_json(result.as_json())
    for reason in result.reasons:
        print(reason, file=sys.stderr)
    if result.status != "valid":
        _note(f"stored as {result.status}, not ranked: {result.name}")
        return 1
    for warning in result.warnings:
        _note(f"warning: {result.file}: {warning}")
    if result.score is not None:
        note_counted(result.score, result.file)
    if not arguments.json:
        _print_submitted(result.as_json(), track)
    return 0


def _metrics_table(result: "Score", track: Track) -> "Table":
    from rich.table import Table

    table = Table()
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, value in result.metrics.items():
        sure = _interval_text(result, name).strip()
        table.add_row(name, f"{value:.4f}", sure, style="bold" if name == track.score else None)
    return table


def _interval_text(result: "Score", metric: str) -> str:
    """` [low, high]`, or nothing where the images are stills or of one video."""
    found = result.intervals.get(metric)
    return f" [{found.low:.4f}, {found.high:.4f}]" if found else ""


def _videos_table(result: "Score", track: Track) -> "Table":
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


def _print_tuning(tuning: "Tuning | None") -> None:
    if tuning:
        from leaderboard.tuning import told

        print("\n".join(told(tuning)))


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
    _print_tuning(result["tuning"])
    print(f"file: {result['file']}\nmanifest: {result['manifest']}")


def filled_text(filled: int, of: int, what: str) -> str:
    """How many of the rows or frames were filled, and their share."""
    return f"{filled:,} of {of:,} {what} ({filled / of:.1%}) had no prediction: filled from their neighbours"


def note_counted(result: "Score", path: Path) -> None:
    """What was filled and what did not count."""
    if result.beyond:
        _note(f"{path}: {result.beyond:,} labelled lines come after the last row of their video; they do not count")
    if result.filled:
        _note(f"{path}: {filled_text(result.filled, result.frames, 'labelled frames')}")
    if result.ignored:
        _note(f"{path}: {result.ignored:,} predictions are for frames without truth; they do not count")


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _print_json(value: object) -> None:
    print(json.dumps(value, allow_nan=False))
