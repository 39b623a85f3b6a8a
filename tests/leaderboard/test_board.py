"""The board's columns and the table that people see."""

from datetime import UTC, datetime

import pytest
from rich.console import Console

from abaw import metrics
from abaw.tracks import TRACKS, Track
from leaderboard.board import Row, render, score_columns, unranked_lines


def row(rank: int | None, name: str, status: str = "valid", **metrics: float) -> Row:
    return Row(
        rank=rank,
        name=name,
        author="",
        baseline=False,
        status=status,
        score=None,
        metrics=metrics,
        intervals={"S_VA": [0.31, 0.44]} if metrics else {},
        videos_scored="all",
        public_score=None,
        withheld=False,
        tuning=None,
        coverage=1.0,
        rows=1,
        videos=1,
        frames=1234,
        filled=0,
        created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        commit="0123456789abcdef",
        file="f.txt",
        sha256="",
        note="",
        members=(),
        reasons=("f.txt:2: bad",) if status == "invalid" else (),
    )


@pytest.mark.parametrize("track", TRACKS.values(), ids=list(TRACKS))
def test_every_column_is_a_metric_of_the_track_and_the_last_one_ranks(track: Track) -> None:
    scores = {task.name: [[0.1] * len(task.columns)] for task in track.tasks}
    true = {task.name: [[0.0] * len(task.label_columns)] for task in track.tasks}
    mask = {task.name: [True] for task in track.tasks}
    found = metrics.score(track, true, true, mask, scores)
    columns = list(score_columns(track).values())
    assert columns[-1] == track.score
    assert set(columns) <= set(found)
    assert len(set(columns)) == len(columns)


def test_mtl_shows_its_parts_by_name() -> None:
    assert score_columns(TRACKS["mtl"]) == {"VA": "S_VA", "EXPR": "S_EXPR", "AU": "S_AU", "MTL": "P_MTL"}


def test_the_table_holds_ranked_entries_only() -> None:
    rows = [
        row(1, "best", CCC_valence=0.5, CCC_arousal=0.25, S_VA=0.375),
        row(None, "bad", "invalid"),
        row(None, "new"),
    ]
    console = Console(width=160, record=True)
    console.print(render(rows, TRACKS["va"]))
    text = console.export_text()
    for part in ("best", "0.5000", "0.2500", "0.3750", "1,234", "0.31–0.44"):
        assert part in text
    assert "bad" not in text
    assert "new" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert unranked_lines(rows, TRACKS["va"]) == [
        "va, invalid, not ranked: bad",
        "  f.txt:2: bad",
        "va, no score, not ranked (submitted without --truth): new",
    ]
