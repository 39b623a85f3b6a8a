"""Tuned things: the three scores are read together, and a board shows them together."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board, store
from leaderboard.cli import main
from leaderboard.entries import Request, submit
from leaderboard.report_board import board_of
from leaderboard.schema import Rules
from leaderboard.tuned import known_tuning
from leaderboard.tuning import WAYS, read_tuning, told, total

MTL, VA = TRACKS["mtl"], TRACKS["va"]
THREE = {"untuned": 0.4, "in_sample": 0.5, "cross_fitted": 0.45}


def written(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_tasks_add_up_to_the_track(tmp_path: Path) -> None:
    found = {task: {**THREE, "smoothing": {"width": 3}} for task in ("va", "expr", "au")}
    tuning = read_tuning(written(tmp_path / "t.json", found), MTL)
    assert tuning == {task: THREE for task in ("va", "expr", "au")}
    assert total(tuning, MTL) == {way: pytest.approx(3 * value) for way, value in THREE.items()}
    assert total(None, MTL) is None
    assert total({"va": THREE}, MTL) == dict.fromkeys(WAYS), "a sum needs every task, and tuned it is"
    assert total(read_tuning(written(tmp_path / "t.json", THREE), MTL), MTL) == THREE
    assert total(read_tuning(written(tmp_path / "t.json", {"va": THREE}), VA), VA) == THREE


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"va": {"untuned": 0.4, "in_sample": 0.5}}, "cross_fitted of va is None; expected a number"),
        ({"va": {**THREE, "in_sample": "0.5"}}, "in_sample of va is '0.5'"),
        ({"va": 3}, "untuned of va is None"),
        ({"va": {**THREE, "in_sample": math.nan}}, "in_sample of va is nan"),
        ({"expr": THREE}, "holds none of these tasks; expected untuned, in_sample, cross_fitted of each task"),
        ([1], "no JSON object"),
    ],
)
def test_two_of_three_are_refused(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_tuning(written(tmp_path / "t.json", value), VA)


def test_a_score_may_be_said_not_to_be_known(tmp_path: Path) -> None:
    found = read_tuning(written(tmp_path / "t.json", {**THREE, "cross_fitted": None}), VA)
    assert found == {"va": {**THREE, "cross_fitted": None}}
    assert told(found) == ["tuned on labels, va: untuned 0.4000, in-sample 0.5000, cross-fitted not known"]
    parts = {task.name: THREE for task in MTL.tasks} | found
    assert total(parts, MTL) == {"untuned": pytest.approx(1.2), "in_sample": pytest.approx(1.5), "cross_fitted": None}


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(BadInput, match="no JSON"):
        read_tuning(tmp_path / "t.json", VA)
    with pytest.raises(BadInput, match="No such file"):
        read_tuning(tmp_path / "none.json", VA)


def test_the_board_shows_the_three_beside_the_score(tmp_path: Path, request_: Request, table_files: list[Path]) -> None:
    tuning = written(tmp_path / "search.json", {task: THREE for task in ("va", "expr", "au")})
    request = replace(request_, name="tuned", tuning=tuning)
    result = submit(request)
    submit(replace(request, name="plain", files=(table_files[1],), tuning=None))
    assert result.manifest is not None
    assert json.loads(result.manifest.read_text())["tuning"]["va"] == THREE
    console = Console(width=200, record=True)
    console.print(board.render(board.rows(request.store, MTL), MTL))
    lines = console.export_text().splitlines()
    cells = [[cell.strip() for cell in line.replace("┃", "│").split("│")] for line in lines if line[0] in "┃│"]
    assert [row[-4:-1] for row in cells[3:]] == [
        ["untuned", "in-sample", "cross-fitted"],
        ["1.2000", "1.5000", "1.3500"],
        ["", "", ""],
    ]


@pytest.fixture
def chosen(tmp_path: Path, table_files: list[Path]) -> tuple[Path, dict[str, float]]:
    """An ensemble whose weights were chosen by labels, and its three scores."""
    out = tmp_path / "chosen.parquet"
    assert run("ensemble", *table_files, "--track", "mtl", "--method", "greedy", "--out", out) == 0
    scores = json.loads((tmp_path / "chosen.parquet.recipe.json").read_text())["scores"]
    return out, dict(zip(WAYS, (scores["mean"], scores["inner"], scores["outer"]), strict=True))


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def test_chosen_weights_are_shown_three_ways_without_being_asked_for(
    request_: Request, chosen: tuple[Path, dict[str, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    table, three = chosen
    capsys.readouterr()
    assert run("score", table, "--track", "mtl", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tuning"] == {"mtl": three}
    assert run("score", table, "--track", "mtl") == 0
    told = "tuned on labels, mtl: untuned {untuned:.4f}, in-sample {in_sample:.4f}, cross-fitted {cross_fitted:.4f}"
    assert told.format(**three) in capsys.readouterr().out
    assert submit(replace(request_, files=(table,))).as_json()["tuning"] == {"mtl": three}
    (row,) = board.rows(request_.store, MTL)
    assert row.tuning == {"mtl": three}
    assert run("show", "--store", request_.store) == 0
    shown = capsys.readouterr().out
    assert all(f"{value:.4f}" in shown for value in three.values())


def test_what_a_search_left_beside_a_table_is_found(request_: Request) -> None:
    """The folder of a search holds `smoothing.json`; no --tuning is needed to show what it says."""
    (table,) = request_.files
    written(table.with_name("smoothing.json"), {task.name: THREE for task in MTL.tasks})
    submit(request_)
    tuning = {row.name: row.tuning for row in board.rows(request_.store, MTL)}
    assert tuning == {"first": {task.name: THREE for task in MTL.tasks}}
    written(table.with_name("smoothing.json"), {"va": {"untuned": 1}})
    with pytest.raises(BadInput, match="in_sample of va is None"):
        submit(replace(request_, name="third"))


def test_a_mean_of_tables_that_were_tuned_one_by_one_is_tuned_and_its_scores_are_not_known(
    request_: Request, table_files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However the mean is made: when it is submitted, by `ensemble`, by `export`, or of such means again."""
    (tmp_path / "search").mkdir()
    smoothed = tmp_path / "search" / "val.parquet"
    smoothed.write_bytes(table_files[0].read_bytes())
    left = written(smoothed.with_name("smoothing.json"), {task.name: THREE for task in MTL.tasks})
    unknown = {"mtl": dict.fromkeys(WAYS)}
    submit(replace(request_, name="plain", files=(table_files[1], table_files[2])))
    submit(replace(request_, name="mean", files=(smoothed, table_files[1])))
    for method in ("mean", "greedy"):
        out = tmp_path / f"{method}.parquet"
        assert run("ensemble", smoothed, table_files[1], "--track", "mtl", "--method", method, "--out", out) == 0
        assert f"tuned one by one: {smoothed}; cross-fitted score of the ensemble: not known" in capsys.readouterr().out
        submit(replace(request_, name=method + " ensemble", files=(out,)))
    again = tmp_path / "again.parquet"
    assert run("ensemble", tmp_path / "mean.parquet", table_files[2], "--track", "mtl", "--out", again) == 0
    recipe = written(tmp_path / "plain.json", {**json.loads(Path(f"{again}.recipe.json").read_text()), "tuned": []})
    names = [f"{tmp_path / 'mean.parquet'}={smoothed}", f"{table_files[2]}={table_files[2]}"]
    assert run("ensemble", *names, "--track", "mtl", "--replay", recipe, "--out", tmp_path / "replayed.parquet") == 0
    template = ("--track", "mtl", "--template", request_.template)
    assert run("export", smoothed, table_files[1], *template, "--out", tmp_path / "official.txt") == 0
    left.unlink()
    capsys.readouterr()
    assert run("score", tmp_path / "official.txt", "--truth", request_.truth or "", "--track", "mtl", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tuning"] == unknown
    submit(replace(request_, name="again", files=(again,)))
    submit(replace(request_, name="replayed", files=(tmp_path / "replayed.parquet",)))
    submit(replace(request_, name="exported", files=(tmp_path / "official.txt",), out=None))
    rows = {row.name: row for row in board.rows(request_.store, MTL)}
    assert {name: row.tuning for name, row in rows.items() if row.tuning != unknown} == {"plain": None}
    assert len(rows) == 7
    capsys.readouterr()
    assert run("show", "--store", request_.store) == 0
    assert capsys.readouterr().out.count("not known") == 6 * len(WAYS)


def test_a_file_keeps_its_three_scores(
    request_: Request, table_files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `submit` wrote is scored, compared and submitted to another board with what its manifest says."""
    three = {task.name: THREE for task in MTL.tasks}
    file = submit(replace(request_, tuning=written(tmp_path / "search.json", three))).file
    common = ("--track", "mtl", "--truth", request_.truth or "")
    assert run("score", file, *common, "--json") == 0
    assert json.loads(capsys.readouterr().out)["tuning"] == three
    assert run("compare", file, table_files[1], *common) == 0
    assert f"{file} was tuned on labels (untuned 1.2000, in-sample 1.5000" in capsys.readouterr().out
    other = replace(request_, name="copy", files=(file,), store=f"sqlite:///{tmp_path}/other.sqlite")
    again = submit(replace(other, out=tmp_path / "copies"))
    assert again.tuning == three
    (row,) = board.rows(other.store, MTL)
    assert (row.tuning, row.members, row.filled) == (three, (str(table_files[0]),), 15)
    with pytest.raises(BadInput, match=r"mtl-first\.txt\.manifest\.json: exists already"):
        submit(replace(other, name="in place", out=None))
    file.write_bytes(file.read_bytes().rstrip() + b"\n\n")
    assert run("score", file, *common, "--json") == 0
    assert json.loads(capsys.readouterr().out)["tuning"] is None, "who knows what this file is now"


def test_an_exported_file_keeps_its_three_scores_wherever_it_is_scored(
    request_: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (table,) = request_.files
    three = {task.name: THREE for task in MTL.tasks}
    written(table.with_name("smoothing.json"), three)
    monkeypatch.chdir(tmp_path)
    template = ("--track", "mtl", "--template", request_.template)
    assert run("export", table.name, *template, "--out", "official.txt") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    capsys.readouterr()
    assert run("score", "../official.txt", "--track", "mtl", "--truth", request_.truth or "", "--json") == 0
    assert json.loads(capsys.readouterr().out)["tuning"] == three


def test_what_chose_nothing_or_another_tracks_score_is_not_tuned(tmp_path: Path) -> None:
    scores = {"mean": 0.4, "inner": 0.5, "outer": 0.45}
    recipe = {"track": "mtl", "scores": scores}
    assert known_tuning([], recipe, MTL) == {"mtl": THREE}
    for other in (None, {**recipe, "scores": None}, {**recipe, "scores": {**scores, "outer": None}}):
        assert known_tuning([tmp_path / "table.parquet"], other, MTL) is None
    assert known_tuning([], recipe, VA) is None
    written(tmp_path / "smoothing.json", THREE)
    assert known_tuning([tmp_path / "gone.parquet"], None, VA) is None, "who knows what this folder is now"


@pytest.mark.parametrize("rules", [{"private_share": 0.5, "seed": 2}, {"step": 0.01}])
def test_the_three_wait_for_the_reveal_where_they_may_count_what_is_hidden(
    request_: Request, chosen: tuple[Path, dict[str, float]], rules: dict[str, float]
) -> None:
    engine = store.open_store(request_.store, create=True)
    store.set_rules(engine, Rules(track="mtl", **{"private_share": 0.0, "seed": 0, **rules}))
    submit(request_)
    assert submit(replace(request_, name="chosen", files=(chosen[0],))).as_json()["tuning"] is None
    before = {row.name: row for row in board.rows(request_.store, MTL)}["chosen"]
    assert (before.tuning, before.tuning_hidden, before.withheld) == (None, True, "step" in rules)
    if before.rank is not None:
        columns, lines = board_of(board.rows(request_.store, MTL), MTL)
        (line,) = [line for line in lines if line.row.name == "chosen"]
        places = [k for k, column in enumerate(columns) if column.title in ("untuned", "in-sample", "cross-fitted")]
        assert [line.cells[k].text for k in places] == ["at reveal"] * 3
    assert not any(str(value) in json.dumps(before.as_json()) for value in chosen[1].values())
    store.reveal(engine, "mtl")
    after = {row.name: row for row in board.rows(request_.store, MTL)}["chosen"]
    assert (after.tuning, after.tuning_hidden) == ({"mtl": chosen[1]}, False)
