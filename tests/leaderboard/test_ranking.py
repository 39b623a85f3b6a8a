"""Who has a rank: the queries keep the written rule, and they read the entries that are shown and no others."""

import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from leaderboard.ranking import ranked, ranking, unranked
from leaderboard.schema import ENTRIES, Entry, Rules, add
from leaderboard.store import entries, open_store

START = datetime(2026, 1, 1)
REVEALED = datetime(2026, 2, 1)


def made_up(number: int, rng: random.Random) -> Entry:
    """An entry with few possible scores and dates, so that many are equal."""
    status = rng.choice(["valid", "valid", "valid", "limited", "invalid"])
    return Entry(
        track="va",
        name=f"entry {number}",
        created_at=START + timedelta(days=rng.randrange(3)),
        status=status,
        score=rng.choice([0.0, 0.25, 0.5, None]) if status == "valid" else None,
        private_score=rng.choice([0.125, 0.75, None]) if status == "valid" else None,
        withheld=rng.choice([True, False, None]),
        file="f",
    )


def shown(entry: Entry, rules: Rules) -> float | None:
    if rules.revealed_at is None:
        return None if entry.withheld else entry.score
    return entry.score if entry.private_score is None else entry.private_score


@pytest.mark.parametrize("revealed_at", [None, REVEALED])
@pytest.mark.parametrize("top", [None, 7, 1_000])
def test_the_first_ranked_are_those_of_the_rule(store_url: str, revealed_at: datetime | None, top: int | None) -> None:
    engine, rng = open_store(store_url, create=True), random.Random(3)
    with engine.begin() as connection:
        for number in range(60):
            add(connection, ENTRIES, made_up(number, rng))
    rules = Rules(track="va", private_share=0.5, revealed_at=revealed_at)
    everyone = [(entry, shown(entry, rules)) for entry in entries(engine, "va")]
    best = [(entry, score) for entry, score in everyone if score is not None]
    best.sort(key=lambda one: (-one[1], one[0].created_at, one[0].id))
    assert ranked(engine, "va", rules, top) == best[:top]
    assert ranking(engine, "va", rules) == [(entry.name, score) for entry, score in best]
    others = [entry for entry, score in everyone if score is None]
    others.sort(key=lambda entry: (["valid", "limited", "invalid"].index(entry.status), entry.id))
    assert unranked(engine, "va", rules, top) == others[:top]
    assert min(len(best), len(others)) > 7


@pytest.mark.parametrize("revealed_at", [None, REVEALED])
def test_entries_that_are_not_shown_are_not_read(tmp_path: Path, revealed_at: datetime | None) -> None:
    engine = open_store(f"sqlite:///{tmp_path}/board.sqlite", create=True)
    asked: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    rules = Rules(track="va", revealed_at=revealed_at)
    ranked(engine, "va", rules, 20)
    unranked(engine, "va", rules, 20)
    ranking(engine, "va", rules)
    queries = [query for query in asked if "FROM entries" in query[0]]
    with engine.connect() as connection:
        plans = [
            [step.detail for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)]
            for query, values in queries
        ]
    by_index = "SEARCH entries USING COVERING INDEX entries_by_rank (track=?)"
    by_number = "SEARCH entries USING INTEGER PRIMARY KEY (rowid=?)"
    steps = [[step for step in plan if step.startswith(("SEARCH", "SCAN"))] for plan in plans]
    assert steps == [[by_number, by_index], [by_number, by_index], [by_index]]
