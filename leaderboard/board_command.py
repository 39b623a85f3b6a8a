"""What `show`, `compare`, `rules` and `reveal` print: the commands of a board that several entries share."""

import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from abaw.problems import refuse
from abaw.tracks import TRACKS, Track, get_track
from leaderboard import board, store
from leaderboard.checks import check_once
from leaderboard.commands import note_counted, tuning_of
from leaderboard.terminal import print_table

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from leaderboard.compare import Comparison, Contender
    from leaderboard.schema import Rules

SHOWN_ENTRIES = 20
"""Ranked entries of a track that `show` prints, and as many others; --top says another number, --json has them all."""
SHOWN_VIDEOS = 10
"""Videos that `compare` prints; --json has them all."""


def show(arguments: Namespace) -> int:
    """`leaderboard show`: the board of one track, or of each that has entries."""
    engine = store.open_store(arguments.store, create=False)
    tracks = [get_track(arguments.track)] if arguments.track else _with_entries(engine)
    top = arguments.top or (None if arguments.json else SHOWN_ENTRIES)
    boards = [(track, *board.top_rows(engine, track, top)) for track in tracks]
    if arguments.json:
        plain = [{"track": t.name, "entries": [row.as_json() for row in rows]} for t, rows, _ in boards if rows]
        print(json.dumps(plain, allow_nan=False))
        return 0
    for track, rows, more in boards:
        if any(row.rank is not None for row in rows):
            which = _which_videos(store.rules_of(engine, track.name))
            print(f"{track.title} ({track.name}), ranked by {track.score}{which}")
            print_table(board.render(rows, track))
        for line in board.unranked_lines(rows, track):
            print(line)
        if more:
            print(f"{track.name}: {more:,} more entries; --top {more + len(rows)} shows all")
    if not any(rows for _, rows, _ in boards):
        where = engine.url.render_as_string(hide_password=True)
        print(f"no entry {'of track ' + arguments.track if arguments.track else 'yet'} in {where}", file=sys.stderr)
    return 0


def _with_entries(engine: "Engine") -> list[Track]:
    found = store.tracks_of(engine)
    return [track for name, track in TRACKS.items() if name in found]


def compare(arguments: Namespace) -> int:
    """`leaderboard compare`: the first entry against the others, on the same videos."""
    from leaderboard.compare import compare as compare_entries
    from leaderboard.compare import warning
    from leaderboard.ranking import ranking

    track = get_track(arguments.track)
    names = [arguments.first, *arguments.others]
    check_once(names, "entry")
    engine = None if all(map(_is_submission, names)) else store.open_store(arguments.store, create=False)
    found = compare_entries(track, [_contender(name, track, engine, arguments.truth) for name in names])
    ranked = len(ranking(engine, track.name, store.rules_of(engine, track.name))) if engine else 0
    caution = warning(len(found), ranked)
    if arguments.json:
        plain = {"track": track.name, "comparisons": [one.as_json() for one in found], "caution": caution}
        print(json.dumps(plain, allow_nan=False))
        return 0
    for one in found:
        _print_comparison(one, track, adjusted=len(found) > 1)
    if caution:
        print(caution)
    return 0


def rules(arguments: Namespace) -> int:
    """`leaderboard rules`: set the rules of a track before its first entry, or say what they are."""
    from leaderboard.images import of_stills
    from leaderboard.schema import Rules

    track = get_track(arguments.track)
    given = {"private_share": arguments.private, "step": arguments.step, "most": arguments.limit}
    sets = any(value is not None for value in given.values())
    if arguments.seed is not None and arguments.private is None:
        raise refuse("--seed", "decides which videos are private; give --private too")
    if arguments.private and of_stills(track):
        raise refuse(f"rules of track {track.name}", "its images are stills: there are no videos to split")
    engine = store.open_store(arguments.store, create=sets)
    if sets:
        given["private_share"] = arguments.private or 0.0
        store.set_rules(engine, Rules(track=track.name, seed=arguments.seed or 0, **given))
    print("\n".join(_rules_lines(store.rules_of(engine, track.name))))
    return 0


def reveal(arguments: Namespace) -> int:
    """`leaderboard reveal`: rank by the private videos from now on, and show the board."""
    store.reveal(store.open_store(arguments.store, create=False), arguments.track)
    return show(arguments)


def _is_submission(name: str) -> bool:
    """Whether there is such a file, or a folder of one file a video: what else is there may be named as an entry is."""
    return Path(name).is_file() or any(Path(name).glob("*.txt"))


def _contender(name: str, track: Track, engine: "Engine | None", truth: Path | None) -> "Contender":
    """A submission or prediction table of that path, else the entry of that name.

    Beside an entry, a file counts on the videos that the board shows the entry's score on.
    """
    if engine is None:
        return _file(name, track, truth)
    if not _is_submission(name):
        return _entry(name, track, engine)
    from leaderboard.split import visible
    from leaderboard.tuning import is_hidden

    found, track_rules = _file(name, track, truth), store.rules_of(engine, track.name)
    tuning = None if is_hidden(track_rules, withheld=False) else found.tuning
    return replace(found, counted=visible(found.counted, track_rules), tuning=tuning)


def _file(name: str, track: Track, truth: Path | None) -> "Contender":
    """The submission or prediction table of that path."""
    from leaderboard.compare import Contender
    from leaderboard.scoring import score_file

    result = score_file(Path(name), track, truth)
    note_counted(result, Path(name))
    tuning = tuning_of(Path(name), track)
    return Contender(name=name, counted=result.counted, tuning=tuning, tuned=tuning is not None)


def _entry(name: str, track: Track, engine: "Engine") -> "Contender":
    """The entry of that name."""
    from leaderboard.compare import Contender
    from leaderboard.per_video import from_json
    from leaderboard.ranking import is_withheld
    from leaderboard.split import visible
    from leaderboard.tuning import is_hidden

    entry = store.entry_of(engine, track.name, name)
    if entry is None:
        raise refuse(name, f"no such file, and no entry of this name in track {track.name} of the store")
    track_rules, plain = store.rules_of(engine, track.name), store.counts_of(engine, entry)
    if not plain:
        why = "it is of an older version, without counts" if entry.score is not None else "it has no score"
        why = f"{why}; submit it with --truth" if entry.status == "valid" else f"it is {entry.status}"
        raise refuse(name, f"cannot be compared: {why}")
    if is_withheld(entry, track_rules):
        raise refuse(name, "cannot be compared before the reveal: the Ladder rule withholds its score")
    tuning = None if is_hidden(track_rules, withheld=False) else entry.tuning
    counted = visible(from_json(track, plain), track_rules)
    return Contender(name=name, counted=counted, tuning=tuning, tuned=bool(entry.tuning))


def _print_comparison(one: "Comparison", track: Track, *, adjusted: bool) -> None:
    from rich.table import Table

    ends = f"[{one.score.interval.low:+.4f}, {one.score.interval.high:+.4f}]"
    p = f"p = {one.p:.4f}" + (f", adjusted {one.adjusted_p:.4f}" if adjusted else "")
    print(f"{one.first} against {one.second}: {track.score} {one.score.first:.4f} and {one.score.second:.4f}")
    print(f"difference {one.score.difference:+.4f}, 95 % interval {ends}, {p}")
    for side in one.tuned:
        print(side)
    table = Table("metric")
    for heading in ("first", "second", "difference", "95 % interval"):
        table.add_column(heading, justify="right")
    for name, metric in one.metrics.items():
        sure = f"[{metric.interval.low:+.4f}, {metric.interval.high:+.4f}]"
        table.add_row(name, f"{metric.first:.4f}", f"{metric.second:.4f}", f"{metric.difference:+.4f}", sure)
    print_table(table)
    shown = list(one.videos.items())[:SHOWN_VIDEOS]
    if shown:
        print("videos that made it (the difference minus the difference without the video):")
        for video, share in shown:
            print(f"  {share:+.4f}  {video}")
    if len(one.videos) > len(shown):
        print(f"  and {len(one.videos) - len(shown)} more videos; --json shows them")


def _which_videos(rules: "Rules") -> str:
    if rules.revealed_at is not None and rules.private_share:
        return f" on the private videos, revealed {rules.revealed_at:%Y-%m-%d %H:%M} UTC"
    return " on the public videos; `leaderboard reveal` shows the private ones" if rules.private_share else ""


def _rules_lines(rules: "Rules") -> list[str]:
    """What holds in a track, in words."""
    lines = [f"rules of track {rules.track}"]
    if rules.private_share:
        until = f"until the reveal ({rules.revealed_at:%Y-%m-%d %H:%M} UTC)" if rules.revealed_at else "until `reveal`"
        lines.append(f"  about {rules.private_share:.0%} of the videos are private {until} (seed {rules.seed})")
    if rules.step is not None:
        lines.append(f"  a score is shown only if it beats the best of its author by more than {rules.step:g} (Ladder)")
    if rules.most is not None:
        lines.append(f"  an author may submit {rules.most} valid entries; baselines do not count")
    return lines if len(lines) > 1 else [f"{lines[0]}: none; every valid entry with a score is ranked"]
