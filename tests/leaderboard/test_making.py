"""Ensembles that choose: identical to plain loops, nested by video, saved and replayed."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.metrics import score
from abaw.predictions import read_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS, Task
from leaderboard.blending import Method, Name, Per
from leaderboard.cli import main
from leaderboard.counts import ClassPool, OneClassPool, UnitPool
from leaderboard.ensemble import recipe_of
from leaderboard.greedy import TIE, Pool, Trajectory, draw_bags, select
from leaderboard.making import make
from leaderboard.members import Members, gather
from leaderboard.moments import ConcordancePool, moments
from leaderboard.recipe import predict, read_recipe, to_json

MTL = TRACKS["mtl"]
EVERY = np.ones(1, dtype=np.bool_)


def plain_score(task: Task, mean_NC: Any, true_ND: Any) -> float:
    track = TRACKS[task.name]
    mask = {task.name: np.ones(len(true_ND), dtype=np.bool_)}
    return score(track, {task.name: task.decide(mean_NC)}, {task.name: true_ND}, mask)[track.score]


def plain_loop(task: Task, x_MNC: Any, true_ND: Any, picks: int) -> tuple[list[int], list[float]]:
    chosen: list[int] = []
    scores = []
    for _ in range(picks):
        found = [
            plain_score(task, x_MNC[[*chosen, m]].mean(axis=0, dtype=np.float64), true_ND) for m in range(len(x_MNC))
        ]
        tied = [m for m, value in enumerate(found) if value >= max(found) - TIE]
        chosen.append(next((m for m in tied if m in chosen), tied[0]))
        scores.append(max(found))
    return chosen, scores


def made_up(kind: str, seed: int, members: int = 5, rows: int = 60) -> tuple[Task, Any, Any]:
    rng = np.random.default_rng(seed)
    task = TRACKS[kind].tasks[0]
    columns = len(task.columns)
    true_ND = {
        "va": lambda: rng.uniform(-1, 1, (rows, 2)),
        "expr": lambda: rng.integers(0, columns, (rows, 1)).astype(np.float64),
        "au": lambda: (rng.random((rows, columns)) < 0.4).astype(np.float64),
    }[kind]()
    signal_NC = np.eye(columns)[true_ND[:, 0].astype(int)] if kind == "expr" else true_ND
    noisy_MNC = signal_NC * 0.5 + rng.uniform(0, 0.8, (members, rows, columns)) * (0.2 if kind == "va" else 1)
    return task, np.clip(noisy_MNC, -1 if kind == "va" else 0, 1).astype(np.float32), true_ND


def pool_of(task: Task, x_MNC: Any, true_ND: Any, rows: Any = None, allowed: list[int] | None = None) -> Pool:
    rows = np.arange(x_MNC.shape[1]) if rows is None else rows
    allowed = list(range(len(x_MNC))) if allowed is None else allowed
    if task.kind == "regression":
        return ConcordancePool(moments(x_MNC, true_ND, rows))
    if task.kind == "classes":
        return ClassPool(x_MNC, true_ND, rows, allowed)
    return UnitPool(x_MNC, true_ND, rows, allowed, 0.5)


@pytest.mark.parametrize("kind", ["va", "expr", "au"])
def test_greedy_picks_what_the_plain_loop_picks(kind: str) -> None:
    for seed in range(4):
        task, x_MNC, true_ND = made_up(kind, seed)
        found = select([pool_of(task, x_MNC, true_ND)], 6, range(len(x_MNC)))
        chosen, scores = plain_loop(task, x_MNC, true_ND, 6)
        assert list(found.members) == chosen
        np.testing.assert_allclose(found.scores, scores, atol=1e-12)


@pytest.mark.parametrize("kind", ["expr", "au"])
def test_counts_add_up_over_blocks_of_rows_for_the_members_that_may_be_picked(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("leaderboard.counts.ROWS_AT_ONCE", 7)
    task, x_MNC, true_ND = made_up(kind, 0)
    x_MNC = np.round(x_MNC * 4) / 4  # many ties
    rows, allowed = np.arange(1, 60, 2), [0, 2, 3]
    pool = pool_of(task, x_MNC, true_ND, rows, allowed)
    picked: list[int] = []
    for member in (2, 0, 2, 3):
        scores_M = pool.with_each()
        assert np.isnan(scores_M[[1, 4]]).all()
        for m in allowed:
            mean_NC = x_MNC[[*picked, m]][:, rows].mean(axis=0, dtype=np.float64)
            assert scores_M[m] == pytest.approx(plain_score(task, mean_NC, true_ND[rows]), abs=1e-12)
        pool.pick(member)
        picked.append(member)


@pytest.mark.parametrize("kind", ["expr", "au"])
def test_counting_never_holds_the_members_twice(kind: str) -> None:
    task, x_MNC, true_ND = made_up(kind, 0, members=60, rows=20_000)
    select([pool_of(task, x_MNC[:, :10], true_ND[:10])], 2, range(60))  # compiles
    tracemalloc.start()
    select([pool_of(task, x_MNC, true_ND)], 3, range(60))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < x_MNC.nbytes / 8, "the sum, the bounds and the member that is added: some six of 60 members"


def test_moments_are_sums_that_add_up_over_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaderboard.moments.ROWS_AT_ONCE", 7)
    rng = np.random.default_rng(0)
    x_MNC, y_NC, rows = rng.random((3, 40, 2), dtype=np.float32), rng.random((40, 2)), np.arange(3, 40, 2)
    x_MnC, y_nC = x_MNC[:, rows].astype(np.float64), y_NC[rows]
    expected = {
        "x_CM": np.einsum("mnc->cm", x_MnC), "y_C": y_nC.sum(axis=0), "yy_C": (y_nC**2).sum(axis=0),
        "xx_CMM": np.einsum("mnc,knc->cmk", x_MnC, x_MnC), "xy_CM": np.einsum("mnc,nc->cm", x_MnC, y_nC),
    }  # fmt: skip
    added = moments(x_MNC, y_NC, rows[:8]) + moments(x_MNC, y_NC, rows[8:])
    for found in (moments(x_MNC, y_NC, rows), added):
        assert found.n == len(rows)
        for name, value in expected.items():
            np.testing.assert_allclose(getattr(found, name), value, rtol=1e-12)
            np.testing.assert_array_equal(getattr(found.of_columns([1]), name), getattr(found, name)[[1]])


def test_what_does_not_vary_has_no_concordance() -> None:
    x_MNC = np.full((2, 5, 1), 0.5, dtype=np.float32)
    x_MNC[1, :, 0] = [0.0, 0.25, 0.5, 0.75, 1.0]
    pool = ConcordancePool(moments(x_MNC, np.full((5, 1), 0.5), np.arange(5)))
    assert pool.with_each().tolist() == [0.0, 0.0]


def test_a_tie_goes_to_a_member_that_is_in_and_the_best_prefix_is_kept() -> None:
    task, x_MNC, true_ND = made_up("au", 0, members=1)
    twins = select([pool_of(task, np.repeat(x_MNC, 3, axis=0), true_ND)], 4, [1, 2])
    assert twins.members == (1, 1, 1, 1)
    assert twins.best == 1
    falling = Trajectory(members=(0, 1, 1, 0), scores=(0.5, 0.7, 0.7, 0.6))
    assert falling.best == 2
    assert falling.weights(3).tolist() == [0.5, 0.5, 0.0]


def test_bags_are_halves_drawn_by_the_seed() -> None:
    assert draw_bags(range(5), 0, 0) == [[0, 1, 2, 3, 4]]
    bags = draw_bags(range(5), 20, 1)
    assert {(len(bag), len(set(bag))) for bag in bags} == {(3, 3)}, "nobody twice"
    assert {len(bag) for bag in draw_bags(range(4), 20, 1)} == {2}
    assert bags == draw_bags(range(5), 20, 1) != draw_bags(range(5), 20, 2)
    assert {member for bag in bags for member in bag} == set(range(5))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_one_class_beside_the_others_counts_what_argmax_decides(seed: int, c: int) -> None:
    task, x_MNC, true_ND = made_up("expr", seed, members=2, rows=20)
    x_MNC = np.round(x_MNC * 4) / 4  # many ties
    mean_NC = x_MNC.mean(axis=0).astype(np.float64)
    pool = OneClassPool(x_MNC[:, :, c], mean_NC, c, true_ND[:, 0].astype(np.int64))
    for member, found in enumerate(pool.with_each()):
        changed_NC = mean_NC.copy()
        changed_NC[:, c] = x_MNC[member, :, c]
        assert found == pytest.approx(plain_score(task, changed_NC, true_ND), abs=1e-12)


@pytest.fixture
def members(make_table: Any) -> Any:
    def read() -> Members:
        return gather(((f"m{seed}", make_table(seed, noise)) for seed, noise in enumerate((0.9, 0.3, 0.6))), 3, MTL)

    return read


@pytest.mark.parametrize("per", ["track", "task", "column"])
@pytest.mark.parametrize("name", ["weighted", "greedy", "stacking"])
@pytest.mark.parametrize("logits", [False, True])
def test_what_is_chosen_is_told_three_ways_and_replays(
    tmp_path: Path, members: Any, name: Name, per: Per, logits: bool
) -> None:
    method = Method(name=name, per=per, logits=logits, picks=4, bags=2 if logits else 0)
    recipe, predicted = make(members(), method)
    assert recipe.scores is not None
    assert recipe.scores.outer is not None
    assert recipe.scores.gap == recipe.scores.inner - recipe.scores.outer
    assert set(recipe.scores.leave_one_out) == set(recipe.members)
    if name == "greedy":
        assert recipe.scores.inner >= recipe.scores.best_single - 0.05 or logits
        assert (
            set(recipe.trajectories)
            == {
                "track": {"mtl"},
                "task": {"va", "expr", "au"},
                "column": {"expr", *MTL.columns},
            }[per]
        )
    if name != "stacking":
        for share_MC in recipe.weights.share.values():
            np.testing.assert_allclose(share_MC.sum(axis=0), 1)
            assert (share_MC >= 0).all()
    path = tmp_path / "recipe.json"
    path.write_text(to_json(recipe))
    again = read_recipe(path, MTL)
    everyone = members()
    chosen = [everyone.names.index(one) for one in again.members]
    kept = Members(
        track=MTL,
        names=again.members,
        common=everyone.common,
        scores={task: x_MNC[chosen] for task, x_MNC in everyone.scores.items()},
    )
    for task, values_NC in predict(again, kept).items():
        np.testing.assert_allclose(values_NC, predicted[task], atol=1e-6)


def test_greedy_is_no_worse_than_the_best_member_where_it_chose(members: Any) -> None:
    recipe, _ = make(members(), Method(name="greedy", per="track"))
    assert recipe.scores is not None
    assert recipe.scores.inner >= recipe.scores.best_single
    assert recipe.scores.best_member == "m1"


def test_held_out_videos_do_not_choose(members: Any) -> None:
    """The outer score must change when labels of one video are spoilt, but not the other folds' choice for it."""
    from leaderboard.fitting import Fitter
    from leaderboard.members import labels_for

    labels = labels_for(members(), folds=2, seed=0)
    spoilt = labels_for(members(), folds=2, seed=0)
    for true_ND in spoilt.true.values():
        true_ND[labels.fold_N == 1] = np.where(true_ND[labels.fold_N == 1] > 0, 0, 1)
    for name in ("weighted", "greedy", "stacking"):
        method = Method(name=name, picks=4)  # type: ignore[arg-type]
        one, other = (Fitter(members(), found, method).fit([0]).weights for found in (labels, spoilt))
        for task in MTL.tasks:
            np.testing.assert_array_equal(one.share[task.name], other.share[task.name])


def test_stacking_of_units_is_ridge_regression(members: Any) -> None:
    recipe, _ = make(members(), Method(name="stacking", ridge=0.0))
    everyone = members()
    x_NM = everyone.scores["au"][:, :, 0].T.astype(np.float64)
    labels = everyone.common["label_AU1"].to_numpy(zero_copy_only=False).astype(np.float64)
    whole = ~np.isnan(everyone.common["label_AU4"].to_numpy(zero_copy_only=False).astype(np.float64))
    design = np.column_stack([x_NM[whole], np.ones(int(whole.sum()))])
    expected, *_ = np.linalg.lstsq(design, labels[whole], rcond=None)
    np.testing.assert_allclose([*recipe.weights.share["au"][:, 0], recipe.weights.bias["au"][0]], expected, atol=1e-6)


def test_ranks_ignore_the_scale_of_a_member(members: Any) -> None:
    plain, squared = members(), members()
    recipe, one = make(plain, Method(name="ranks"))
    np.square(squared.scores["au"][0], out=squared.scores["au"][0])
    _, other = make(squared, Method(name="ranks"))
    for c in range(12):
        order, same = (np.argsort(found["au"][:, c], kind="stable").tolist() for found in (one, other))
        assert order == same
    assert recipe.scores is not None
    assert recipe.scores.outer is None


def test_leave_one_out_is_what_the_score_loses(members: Any) -> None:
    recipe, _ = make(members(), Method(name="mean"))
    pair, _ = make(gather(_two(members()), 2, MTL), Method(name="mean"))
    assert recipe.scores is not None
    assert pair.scores is not None
    assert recipe.scores.leave_one_out["m0"] == pytest.approx(recipe.scores.inner - pair.scores.inner, abs=1e-9)


def _two(everyone: Members) -> Any:
    import pyarrow as pa

    for member in (1, 2):
        columns = {name: everyone.common[name] for name in everyone.common.column_names}
        for task in MTL.tasks:
            columns |= {name: pa.array(everyone.scores[task.name][member, :, c]) for c, name in enumerate(task.columns)}
        yield everyone.names[member], pa.table(columns)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_the_command_makes_a_recipe_and_replays_it_by_name(
    tmp_path: Path, table_files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, recipe = tmp_path / "greedy.parquet", tmp_path / "best.json"
    common = ("--track", "mtl", "--out")
    assert run("ensemble", *table_files, *common, out, "--method", "greedy", "--picks", 3, "--recipe", recipe) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{out}: 45 rows, the greedy selection of ")
    assert lines[1].startswith("P_MTL of the plain mean ")
    assert ", gap " in lines[2]
    content = json.loads(recipe.read_text())
    assert content["trajectories"].keys() == {"va", "expr", "au"}
    assert recipe_of(read_predictions(out, MTL)) == content
    assert recipe_of(read_predictions(table_files[0], MTL)) is None
    again = tmp_path / "again.parquet"
    given = [f"{name}={name}" for name in reversed(content["members"])]
    assert run("ensemble", *given, *common, again, "--replay", recipe) == 0
    one, other = read_predictions(out, MTL), read_predictions(again, MTL)
    for column in MTL.columns:
        np.testing.assert_allclose(one[column].to_numpy(), other[column].to_numpy(), atol=1e-6)
    assert run("ensemble", *table_files, table_files[0], *common, again, "--replay", recipe, "--overwrite") == 1
    repeated = f"{table_files[0]}: is given more than once; name each table once"
    assert capsys.readouterr().err.splitlines()[-1] == repeated


def test_what_cannot_be_chosen_or_replayed_is_refused(
    tmp_path: Path, make_table: Any, table_files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    unlabelled = make_table(0).select(["video", "frame", *MTL.columns])
    with pytest.raises(BadInput, match="no labelled frame for task va; this method chooses by the labels"):
        make(gather([("bare", unlabelled)], 1, MTL), Method(name="greedy"))
    one_video = make_table(0).slice(0, 10)
    assert set(one_video["video"].to_pylist()) == {"vid"}
    with pytest.raises(BadInput, match="holds one video"):
        make(gather([("short", one_video)], 1, MTL), Method(name="weighted"))
    bad = tmp_path / "bad.json"
    for text, message in (("{}", "is no recipe of an ensemble"), ("[", "is no recipe"), (None, "No such file")):
        if text is not None:
            bad.write_text(text)
        replayed = bad if text is not None else tmp_path / "none.json"
        files = ("ensemble", table_files[0], "--track", "mtl", "--out", tmp_path / "o.parquet")
        assert run(*files, "--replay", replayed) == 1
        assert message in capsys.readouterr().err
