"""The report: a store as one HTML file that opens from disk and asks no network for anything.

It shows what `board.rows` shows and nothing else: before the reveal only public videos, of a withheld entry no score
and no picture. Counts come from the store; densities and timelines are made from the entries' files where a truth is
given. Everything that users typed goes through the template's escaping; the page's own script is the only one that its
content security policy lets run.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import jinja2
from markupsafe import Markup
from sqlalchemy import Engine

from abaw.problems import BadInput, refuse
from abaw.tracks import TRACKS, Track
from abaw.version import tool_version
from leaderboard import board, store
from leaderboard import recipe as recipes
from leaderboard import report_frames as frames
from leaderboard.board import Row
from leaderboard.per_video import from_json, pooled
from leaderboard.report_board import STATES, Column, Heat, Line, board_of, heat_columns, heat_map, rules_text, state_of
from leaderboard.report_history import History, history
from leaderboard.report_recipe import Makeup, makeup
from leaderboard.report_scores import TaskScores, scores_of
from leaderboard.schema import Entry, Rules
from leaderboard.split import visible
from leaderboard.truth import Truth
from leaderboard.tuning import way_text

DETAILED = 100
"""Entries of a track that have a section of their own, from the top of the board; the others have a line alone."""
SHOWN_REASONS = board.SHOWN_REASONS


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What a report may look at beside the store; entries by track and name."""

    truth: Mapping[str, Path] = field(default_factory=dict)
    """Labels by track: without them there are no densities and timelines."""
    videos: Sequence[str] = ()
    """Videos of the timelines; none: the one with the most labelled frames."""
    raw: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    """Predictions before smoothing, a prediction table or a submission file, of entries whose runs do not tell them."""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """The section of one entry."""

    row: Row
    state: str
    tasks: tuple[TaskScores, ...] = ()
    densities: tuple[frames.Density, ...] = ()
    timelines: tuple[frames.Timeline, ...] = ()
    makeup: Makeup | None = None
    tables: tuple[str, ...] = ()
    """Prediction tables that it was submitted as."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part of one track."""

    track: Track
    keys: Mapping[str, str]
    """Entry -> what the page calls it: nothing that a user typed stands in an id."""
    rules: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    history: History | None
    heat_columns: tuple[str, ...]
    heat: tuple[tuple[Row, list[Heat]], ...]
    details: tuple[Detail, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report."""

    html: str
    entries: int
    tracks: int
    notes: tuple[str, ...]
    """What could not be shown, and why; the page says it too."""


def make_page(url: str, tracks: Sequence[Track], sources: Sources, *, of_teams: bool = False) -> Page:
    """The report of these tracks of a store. BadInput when there is no entry, or a source cannot be used.

    With `of_teams` several teams read it (`leaderboard.serve_page`): it holds nothing that is one team's own, and no
    counts of the truth.
    """
    engine = store.open_store(url, create=False)
    boards = {track: rows for track in tracks if (rows := board.rows(url, track))}
    if of_teams:
        boards = {track: [_of_teams(row) for row in rows] for track, rows in boards.items()}
    if not boards:
        names = ", ".join(track.name for track in tracks) if len(tracks) < len(TRACKS) else "any track"
        raise refuse(engine.url.render_as_string(hide_password=True), f"holds no entry of {names}; submit one first")
    notes: list[str] = []
    parts = [_part(engine, track, rows, sources, notes, of_teams) for track, rows in boards.items()]
    content = {"parts": parts, "shared": _shared(parts), "notes": notes}
    html = _render(**content, made=datetime.now(UTC), version=tool_version(), states=STATES, reasons=SHOWN_REASONS)
    return Page(html=html, entries=sum(map(len, boards.values())), tracks=len(boards), notes=tuple(notes))


def _of_teams(row: Row) -> Row:
    """The row without what is its team's own: reasons quote its file."""
    return replace(
        row, file="", sha256="", commit="", note="", members=(), reasons=(), tuning=None, tuning_hidden=False
    )


def _shared(parts: Sequence[Part]) -> dict[str, str]:
    """Ids of the paths of the truth: entries share them, so the page holds each once."""
    details = [detail for part in parts for detail in part.details]
    curves = [curve.truth for detail in details for timeline in detail.timelines for curve in timeline.curves]
    outlines = [density.outline for detail in details for density in detail.densities if density.outline]
    return {path: f"truth-{number}" for number, path in enumerate(dict.fromkeys([*curves, *outlines]))}


def _part(
    engine: Engine, track: Track, rows: Sequence[Row], sources: Sources, notes: list[str], of_teams: bool
) -> Part:
    rules = store.rules_of(engine, track.name)
    entries = {entry.name: entry for entry in store.entries(engine, track.name)}
    if of_teams:
        details = [Detail(row=row, state=state_of(row)) for row in rows[:DETAILED]]
    else:
        details = [_counted(engine, track, row, entries[row.name], rules) for row in rows[:DETAILED]]
        details = [_made_up(engine, detail, entries[detail.row.name], rules, notes) for detail in details]
    if len(rows) > DETAILED:
        notes.append(f"{track.name}: the first {DETAILED} of {len(rows):,} entries have a section of their own")
    if track.name in sources.truth:
        truth = frames.read_shown_truth(sources.truth[track.name], track, rules)
        videos = frames.choose_videos(truth, track, sources.videos)
        details = [_drawn(detail, truth, videos, track, sources, notes) for detail in details]
    notes += _unused(track, details, sources)
    columns, lines = board_of(rows, track)
    heated = heat_columns(track, rows)
    return Part(
        track=track,
        keys={row.name: f"{track.name}-{number}" for number, row in enumerate(rows, start=1)},
        rules=tuple(rules_text(rules)),
        columns=tuple(columns),
        lines=tuple(lines),
        history=history(rows, higher_is_better=track.higher_is_better),
        heat_columns=tuple(heated),
        heat=tuple(heat_map(rows[:DETAILED], heated)),
        details=tuple(details),
    )


def _unused(track: Track, details: Sequence[Detail], sources: Sources) -> list[str]:
    """What was given for entries that do not show it."""
    drawn = {(track.name, detail.row.name) for detail in details if detail.timelines}
    raw = [name for of, name in sources.raw if of == track.name and (of, name) not in drawn]
    return [f"{track.name}/{name}: it has no timeline, so its raw predictions are not drawn" for name in raw]


def _counted(engine: Engine, track: Track, row: Row, entry: Entry, rules: Rules) -> Detail:
    """What the store's counts tell of an entry that has a score to show."""
    detail = Detail(row=row, state=state_of(row))
    plain = store.counts_of(engine, entry) if row.rank is not None else []
    if not plain:
        return detail
    statistics = pooled(track, visible(from_json(track, plain), rules))
    return replace(detail, tasks=tuple(scores_of(track, statistics, row)))


def _drawn(
    detail: Detail, truth: Truth, videos: Sequence[str], track: Track, sources: Sources, notes: list[str]
) -> Detail:
    """The section with what its file shows. An entry whose score is not shown has no picture either."""
    row = detail.row
    if row.rank is None:
        return detail
    note = partial("{0}/{1}: {2}".format, track.name, row.name)
    predicted = frames.read_entry(row, track)
    if isinstance(predicted, str):
        notes.append(note(f"no densities and timelines: {predicted}"))
        return detail
    found = frames.labelled_rows(predicted, truth)
    if found != row.frames:
        message = f"no densities and timelines: the truth has labels of {found:,} of its frames, its score counts"
        notes.append(note(f"{message} {row.frames:,}"))
        return detail
    source, raw = sources.raw.get((track.name, row.name)), None
    try:
        raw = frames.read_raw(source, detail.tables, track)
    except BadInput as error:
        if source is not None:
            raise
        notes.append(note(f"no raw predictions: {error}"))
    timelines = [frames.timeline(predicted, truth, raw, track, video) for video in videos]
    densities = [one for task in track.tasks for one in frames.densities(predicted, truth, task)]
    return replace(detail, densities=tuple(densities), timelines=tuple(one for one in timelines if one))


def _made_up(engine: Engine, detail: Detail, entry: Entry, rules: Rules, notes: list[str]) -> Detail:
    """The section with what the entry was made from, as the store has it.

    A recipe says what its members scored, on all videos that their tables have: not before that may be shown.
    """
    origin = store.origin_of(engine, entry)
    if origin is None:
        return detail
    detail = replace(detail, tables=tuple(origin.tables))
    if origin.recipe is None:
        return detail
    try:
        recipe = recipes.from_json(origin.recipe)
        if detail.row.rank is None or (rules.private_share and rules.revealed_at is None):
            recipe = replace(recipe, scores=None, trajectories={})
        return replace(detail, makeup=makeup(recipe))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        notes.append(f"{entry.track}/{entry.name}: its recipe cannot be read ({type(error).__name__}: {error})")
        return detail


def _render(**content: object) -> str:
    """The page. Style and script stand in it, and a policy lets the browser use these two and load nothing."""
    loader = jinja2.PackageLoader("leaderboard", "page")
    templates = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["known"] = way_text
    texts = {name: loader.get_source(templates, f"report.{name}")[0] for name in ("css", "js")}
    hashes = {name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for name, text in texts.items()}
    # Two files of this package, and no user's text.
    own = {name: Markup(text) for name, text in texts.items()}  # nosec B704
    return templates.get_template("report.html.j2").render(own=own, hashes=hashes, **content)
