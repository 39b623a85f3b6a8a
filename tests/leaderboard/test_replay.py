"""Replays of a recipe: which of the given tables is which member's, what is left, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from abaw.predictions import read_predictions, write_predictions
from abaw.tracks import TRACKS
from leaderboard.blending import Method, uniform
from leaderboard.cli import main
from leaderboard.ensemble import members_of
from leaderboard.recipe import Recipe, to_json

MTL = TRACKS["mtl"]
Replay = Callable[..., tuple[int, list[str]]]
NOT_USED = "not used: b/test.parquet: best.json gives b/val.parquet no weight"


def recipe(members: tuple[str, ...], left_out: tuple[str, ...] = (), shares: tuple[float, ...] = ()) -> None:
    weights = uniform(MTL, len(members))
    for share_MC in weights.share.values():
        share_MC[:] = np.array(shares or [1 / len(members)] * len(members))[:, None]
    made = Recipe(track=MTL, method=Method(name="greedy"), members=members, left_out=left_out, weights=weights)
    Path("best.json").write_text(to_json(made))


@pytest.fixture
def replay(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_table: Callable[..., pa.Table],
) -> Replay:
    """Replay `best.json`, made of the runs a and c of three, with tables of the runs: exit code and stderr."""
    monkeypatch.chdir(tmp_path)
    for seed, run in enumerate("abcd"):
        for name in ("val", "test"):
            write_predictions(make_table(seed), tmp_path / run / f"{name}.parquet")
    recipe(("a/val.parquet", "c/val.parquet"), ("b/val.parquet",), (0.75, 0.25))

    def run(*given: str) -> tuple[int, list[str]]:
        code = main(["ensemble", *given, "--track", "mtl", "--replay", "best.json", "--out", "out.parquet"])
        return code, capsys.readouterr().err.splitlines()

    return run


def valence(path: str) -> np.ndarray:
    return np.asarray(read_predictions(Path(path), MTL)["valence"].to_numpy())


MATCHED = ["a/val.parquet <- a/test.parquet", "c/val.parquet <- c/test.parquet"]


@pytest.mark.parametrize(
    ("given", "unused"),
    [
        (["a/test.parquet", "c/test.parquet"], []),
        (["c/test.parquet", "./a/test.parquet"], []),
        (["a/test.parquet", "b/test.parquet", "c/test.parquet"], [NOT_USED]),
        (
            ["a/test.parquet", "d/test.parquet", "c/test.parquet", "b/test.parquet"],
            ["not used: d/test.parquet: best.json has no member in its folder", NOT_USED],
        ),
        (["c/val.parquet=c/test.parquet", "a/val.parquet=a/test.parquet"], []),
        (
            ["b/val.parquet=b/test.parquet", "c/val.parquet=c/test.parquet", "a/val.parquet=a/test.parquet"],
            ["not used: b/val.parquet=b/test.parquet: best.json gives b/val.parquet no weight"],
        ),
    ],
)
def test_a_table_belongs_to_the_member_in_its_folder(replay: Replay, given: list[str], unused: list[str]) -> None:
    assert replay(*given) == (0, [*MATCHED, *unused])
    expected = 0.75 * np.clip(valence("a/test.parquet"), -1, 1) + 0.25 * np.clip(valence("c/test.parquet"), -1, 1)
    np.testing.assert_allclose(valence("out.parquet"), expected, atol=1e-6)
    assert members_of(read_predictions(Path("out.parquet"), MTL)) == ["a/test.parquet", "c/test.parquet"]


def test_tables_of_one_folder_are_the_members_themselves_or_in_their_order(replay: Replay) -> None:
    recipe(("a/one.parquet", "a/two.parquet"))
    for name, run in (("one", "a"), ("two", "b"), ("x", "c"), ("y", "d")):
        Path(f"a/{name}.parquet").write_bytes(Path(f"{run}/test.parquet").read_bytes())
    code, error = replay("a/two.parquet", "a/one.parquet")
    assert (code, error) == (0, ["a/one.parquet <- a/one.parquet", "a/two.parquet <- a/two.parquet"])
    Path("out.parquet").unlink()
    code, error = replay("a/y.parquet", "a/x.parquet")
    assert (code, error) == (0, ["a/one.parquet <- a/y.parquet", "a/two.parquet <- a/x.parquet"])


LACKING = "no table is given for"
WANTED = "give 2 tables in this order, or each as MEMBER=TABLE: a/val.parquet, c/val.parquet"
LEAVE = "leave out those of b/val.parquet, which have no weight"
FOLDER = "a table belongs to a member in its folder"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a/test.parquet"], f"{LACKING} c/val.parquet (given: a/test.parquet); {FOLDER}; {WANTED}; {LEAVE}"),
        (
            ["b/test.parquet", "c/test.parquet"],
            f"{LACKING} a/val.parquet (given: b/test.parquet, c/test.parquet); {FOLDER}; {WANTED}; {LEAVE}",
        ),
        (["d/test.parquet"], f"{LACKING} a/val.parquet, c/val.parquet (given: d/test.parquet); {WANTED}; {LEAVE}"),
        (
            ["a/val.parquet=a/test.parquet", "c/test.parquet"],
            "some tables are given as MEMBER=TABLE and others are not (c/test.parquet); name all, or none",
        ),
        (
            ["a/val.parquet", "a/test.parquet", "c/test.parquet"],
            "the member a/val.parquet has several tables: a/val.parquet, a/test.parquet; give one of them",
        ),
    ],
)
def test_what_is_refused_says_which_tables_to_give(replay: Replay, given: list[str], message: str) -> None:
    assert replay(*given) == (1, [f"best.json: {message}"])
    assert not Path("out.parquet").exists()


def test_a_table_that_is_given_twice_is_refused(replay: Replay) -> None:
    code, error = replay("a/test.parquet", "c/test.parquet", "a/test.parquet")
    assert (code, error) == (1, ["a/test.parquet: is given more than once; name each table once"])


def test_what_greedy_selection_left_out_may_be_given_to_its_replay(replay: Replay, tmp_path: Path) -> None:
    tables = [f"{run}/val.parquet" for run in "abc"]
    made = ["ensemble", *tables, "--track", "mtl", "--method", "greedy", "--picks", "1", "--per", "track"]
    assert main([*made, "--out", "made.parquet", "--recipe", "best.json", "--overwrite"]) == 0
    left_out = json.loads(Path("best.json").read_text())["left_out"]
    assert len(left_out) == 2
    code, error = replay(*tables)
    assert code == 0
    assert [line.split(": ")[1] for line in error if line.startswith("not used")] == left_out
    np.testing.assert_allclose(valence("out.parquet"), valence("made.parquet"), atol=1e-6)
