"""Private videos, the Ladder rule, the limit and the reveal: what is hidden stays hidden, and why is always said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board, store
from leaderboard.entries import Request, submit
from leaderboard.ladder import is_withheld
from leaderboard.per_video import pooled
from leaderboard.schema import Rules
from leaderboard.scoring import score_file
from leaderboard.split import is_private, split

MTL = TRACKS["mtl"]


@pytest.fixture
def request_(request_: Request, table_files: list[Path], store_url: str) -> Request:
    return replace(request_, files=(table_files[1],), store=store_url)


def with_rules(request: Request, **rules: float) -> Engine:
    engine = store.open_store(request.store, create=True)
    plain = {"private_share": 0.0, "seed": 0, "step": None, "most": None, **rules}
    store.set_rules(engine, Rules(track="mtl", **plain))
    return engine


def test_a_hash_splits_the_videos_and_keeps_two_people_together() -> None:
    names = [f"video{k}" for k in range(2000)]
    private = [is_private(name, share=0.3, seed=1) for name in names]
    assert private == [is_private(name, share=0.3, seed=1) for name in names]
    assert 0.25 < sum(private) / len(names) < 0.35
    assert private != [is_private(name, share=0.3, seed=2) for name in names]
    assert private == [is_private(f"{name}_left", share=0.3, seed=1) for name in names]


def test_the_board_shows_public_scores_until_the_reveal(request_: Request, table_files: list[Path]) -> None:
    engine = with_rules(request_, private_share=0.5, seed=2)
    result = submit(request_)
    submit(replace(request_, name="second", files=(table_files[0],)))
    whole = score_file(result.file, MTL, request_.truth)
    public, private = split(MTL, whole.counted, share=0.5, seed=2)
    shown = next(row for row in board.rows(request_.store, MTL) if row.name == "first")
    assert result.score is not None
    assert shown.score == result.score.score == pooled(MTL, public).compute()["P_MTL"]
    assert (shown.videos_scored, shown.public_score) == ("public", None)
    secret = pooled(MTL, private).compute()["P_MTL"]
    told = json.dumps([row.as_json() for row in board.rows(request_.store, MTL)]) + json.dumps(result.as_json())
    assert str(secret) not in told
    assert not any(f'"{one.video}"' in told for one in private)
    store.reveal(engine, "mtl")
    after = board.rows(request_.store, MTL)
    own = next(row for row in after if row.name == "first")
    assert (own.score, own.public_score, own.videos_scored) == (secret, shown.score, "private")
    assert [row.rank for row in after] == [1, 2]
    assert (after[0].score or 0) > (after[1].score or 0)
    late = submit(replace(request_, name="late"))
    assert (late.status, late.rank, late.score) == ("limited", None, None)
    assert late.reasons[0].startswith("submitted after the reveal of ")


def test_a_split_that_leaves_no_public_label_is_refused_before_anything_is_stored(request_: Request) -> None:
    with_rules(request_, private_share=0.999999)
    with pytest.raises(BadInput, match="leave the public videos without a label of va, expr, au; set the rules with"):
        submit(request_)
    assert board.rows(request_.store, MTL) == []


def test_a_sixth_submission_is_kept_with_its_reason_and_never_ranked(request_: Request) -> None:
    with_rules(request_, most=2)
    for name in ("one", "two"):
        assert submit(replace(request_, name=name)).status == "valid"
    result = submit(replace(request_, name="three"))
    assert (result.status, result.rank, result.score, result.manifest) == ("limited", None, None, None)
    assert result.reasons == ("ann has used all 2 submissions of track mtl",)
    assert request_.out is not None
    assert not (request_.out / "mtl-three.txt").exists()
    assert submit(replace(request_, name="baseline", baseline=True)).status == "valid", "a baseline uses nothing up"
    assert submit(replace(request_, name="hers", author="bea")).status == "valid"
    with pytest.raises(BadInput, match="none is replaced; choose another --name"):
        submit(replace(request_, name="one", overwrite=True))
    rows = board.rows(request_.store, MTL)
    assert [(row.name, row.status) for row in rows if row.rank is None] == [("three", "limited")]
    assert board.unranked_lines(rows, MTL) == [
        "mtl, limited, not ranked: three",
        "  ann has used all 2 submissions of track mtl",
    ]


def test_the_ladder_shows_only_what_beats_the_best_of_its_author(request_: Request, table_files: list[Path]) -> None:
    engine = with_rules(request_, step=0.01)
    first = submit(request_)
    same, hers = submit(replace(request_, name="same")), submit(replace(request_, name="hers", author="bea"))
    better = submit(replace(request_, name="better", files=(table_files[0],)))
    assert [one.withheld for one in (first, same, hers, better)] == [False, True, False, False]
    assert (same.status, same.score, same.rank, same.delta_to_best) == ("valid", None, None, None)
    assert same.manifest is not None
    assert json.loads(same.manifest.read_text())["score"] is None
    rows = board.rows(request_.store, MTL)
    assert [row.name for row in rows] == ["better", "first", "hers", "same"]
    assert (rows[-1].score, rows[-1].metrics, rows[-1].rank) == (None, {}, None)
    assert board.unranked_lines(rows, MTL) == ["mtl, score withheld by the Ladder rule, not ranked: same"]
    store.reveal(engine, "mtl")
    assert [row.rank for row in board.rows(request_.store, MTL)] == [1, 2, 3, 4]


def test_ladder_by_hand() -> None:
    for score, shown, up, withheld in (
        (0.50, [], True, False),
        (0.52, [0.5, 0.4], True, False),
        (0.51, [0.5, 0.4], True, True),
        (0.40, [0.5], False, False),
        (0.60, [0.5], False, True),
    ):
        assert is_withheld(score, shown, step=0.0100001, higher_is_better=up) is withheld
    assert not is_withheld(0.1, [0.5], step=None, higher_is_better=True)


def test_rules_are_set_before_the_first_entry_and_hidden_things_are_needed_for_a_reveal(request_: Request) -> None:
    submit(request_)
    with pytest.raises(BadInput, match="has 1 entries; rules are set before the first one"):
        with_rules(request_, most=5)
    with pytest.raises(BadInput, match="nothing is hidden"):
        store.reveal(store.open_store(request_.store, create=False), "mtl")
