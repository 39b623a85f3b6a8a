"""`leaderboard report` on the command line: what it takes, what it refuses, and the make-up of an ensemble."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abaw.predictions import read_predictions, write_predictions
from abaw.tracks import TRACKS
from leaderboard import store
from leaderboard.cli import main
from leaderboard.ensemble import mean_of
from leaderboard.entries import Request, submit
from leaderboard.raw import raw_table
from leaderboard.schema import Rules

MTL = TRACKS["mtl"]


def test_the_make_up_of_an_ensemble_comes_from_its_recipe(
    request_: Request, table_files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, recipe = tmp_path / "best.parquet", tmp_path / "greedy.json"
    made = ["ensemble", *map(str, table_files), "--track", "mtl", "--method", "greedy", "--picks", "4"]
    assert main([*made, "--out", str(out), "--recipe", str(recipe)]) == 0
    submit(replace(request_, name="greedy = best", files=(out,)))
    submit(request_)
    told = json.loads(recipe.read_text())
    report = ["report", "--store", request_.store, "--out", str(tmp_path / "board.html")]
    out.unlink()
    recipe.unlink()
    capsys.readouterr()
    assert main(report) == 0
    html = (tmp_path / "board.html").read_text()
    for name in told["members"]:
        (cells,) = re.findall(f'<th scope="row">{re.escape(name)}</th>(.*?)</tr>', html, re.DOTALL)
        own = [told["weights"][task.name][task.columns[0]][name] for task in MTL.tasks]
        worth = f"{-told['scores']['leave_one_out'][name]:+.4f}"
        assert re.findall(">([^<\\s]+)<", cells) == [*(f"{weight:.3f}" if weight else "·" for weight in own), worth]
    assert "greedy selection with replacement, a choice per task" in html
    assert f"{told['scores']['outer']:.4f}" in html
    assert html.count("Ensemble of") == 1


def test_what_members_score_is_not_told_before_the_reveal(
    request_: Request, table_files: list[Path], tmp_path: Path
) -> None:
    out, page = tmp_path / "best.parquet", tmp_path / "board.html"
    made = ["ensemble", *map(str, table_files), "--track", "mtl", "--method", "greedy", "--out", str(out)]
    assert main(made) == 0
    engine = store.open_store(request_.store, create=True)
    store.set_rules(engine, Rules(track="mtl", private_share=0.5, seed=2))
    submit(replace(request_, files=(out,)))
    report = ["report", "--store", request_.store, "--out", str(page), "--overwrite"]
    told = []
    for _ in range(2):
        assert main(report) == 0
        told.append(page.read_text())
        store.reveal(engine, "mtl")
    outer = f"{json.loads((tmp_path / 'best.parquet.recipe.json').read_text())['scores']['outer']:.4f}"
    assert all("greedy selection with replacement" in html for html in told)
    assert [outer in html for html in told] == [False, True]
    assert ["How the members were picked" in html for html in told] == [False, True]


def test_the_mean_of_several_tables_and_an_exported_file_say_what_they_are_made_of(
    request_: Request, table_files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(replace(request_, files=tuple(table_files), name="three"))
    out = tmp_path / "exported.txt"
    tables = [str(path) for path in table_files[:2]]
    common = ["--track", "mtl", "--template", str(request_.template)]
    assert main(["export", *tables, *common, "--out", str(out)]) == 0
    again = ["submit", str(out), *common, "--name", "exported", "--store", request_.store, "--json"]
    assert main([*again, "--truth", str(request_.truth)]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["filled"] == 15
    manifest = json.loads((tmp_path / "exported.txt.manifest.json").read_text())
    assert (manifest["name"], manifest["members"], manifest["tables"]) == ("exported", tables, tables)
    out.write_text(out.read_text() + "\n")
    assert main([*again, "--overwrite"]) == 0, "another file is not that of the manifest any more"
    assert json.loads((tmp_path / "exported.txt.manifest.json").read_text())["members"] == []
    assert main(["report", "--store", request_.store, "--out", str(tmp_path / "board.html")]) == 0
    html = (tmp_path / "board.html").read_text()
    assert re.findall("Ensemble of (.*?)</h4>", html) == ["3: plain mean"]
    makeup = html.partition("3: plain mean")[2].partition("</table>")[0]
    assert makeup.count(">0.333<") == 9, "a third for each member and task"


def test_raw_predictions_are_found_where_the_run_left_them(
    request_: Request, table_files: list[Path], make_table: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def stage(name: str, table: Path, *inputs: str, smoothed: bool = False) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"name": name.rpartition("-")[0], "inputs": inputs}))
        if smoothed:
            three = {"untuned": 0.4, "in_sample": 0.5, "cross_fitted": 0.45}
            (folder / "smoothing.json").write_text(json.dumps(three))
        return table.rename(folder / "test.parquet")

    raw = [stage(f"predict/{k}-1".replace("/", "-"), table_files[k]) for k in (0, 1)]
    for k, noise in ((0, 0.1), (1, 0.5), (2, 0.05)):
        write_predictions(make_table(k, noise), table_files[k])
    one = stage("search-0-1", table_files[0], raw[0].parent.name, smoothed=True)
    two = stage("tune/smoothing", table_files[1], raw[1].parent.name, smoothed=True)
    lost = stage("search-9-1", table_files[2], "gone-1", smoothed=True)
    both, staged = tmp_path / "both.parquet", tmp_path / "staged.parquet"
    # Chosen on other tables, and replayed on those that are submitted.
    for k in (0, 1):
        write_predictions(make_table(k + 5), tmp_path / f"val{k}.parquet")
    chosen = [str(tmp_path / f"val{k}.parquet") for k in (0, 1)]
    recipe = both.with_name("recipe.json")
    weighted = ["ensemble", "--track", "mtl", "--method", "weighted"]
    assert main([*weighted, *chosen, "--out", str(tmp_path / "val.parquet"), "--recipe", str(recipe)]) == 0
    assert main([*weighted, str(one), str(two), "--replay", str(recipe), "--out", str(both)]) == 0
    assert "what the recipe scored on the frames that it was made on:" in capsys.readouterr().out
    mean = mean_of({name: read_predictions(path, MTL) for name, path in (("search-0", one), ("tune/x", two))}, MTL)
    write_predictions(mean, staged)
    ensemble = stage("ensemble-1", staged, "search-0-1", "tune/smoothing")
    (tmp_path / "runs" / "tune" / "smoothing" / "result.json").write_text(
        json.dumps({"name": "tune/x", "inputs": [raw[1].parent.name]})
    )
    entries = {"one": (one,), "two": (two,), "mean": (one, two), "weighted": (both,), "staged": (ensemble,)}
    for name, files in entries.items():
        submit(replace(request_, name=name, files=files))
    plain = [read_predictions(path, MTL) for path in raw]
    expected = {"one": plain[0], "two": plain[1], "mean": mean_of(dict(zip("ab", plain, strict=True)), MTL)}
    expected["staged"] = expected["mean"]
    engine = store.open_store(request_.store, create=False)
    for entry in store.entries(engine, "mtl"):
        origin = store.origin_of(engine, entry)
        assert origin is not None
        found = raw_table([Path(table) for table in origin.tables], MTL)
        assert found is not None
        if entry.name in expected:
            for column in MTL.columns:
                assert found[column].to_pylist() == expected[entry.name][column].to_pylist(), entry.name
    replayed = tmp_path / "replayed.parquet"
    assert main(["ensemble", *map(str, raw), "--track", "mtl", "--replay", str(recipe), "--out", str(replayed)]) == 0
    again, found = read_predictions(replayed, MTL), raw_table([both], MTL)
    assert found is not None
    assert [found[c].to_pylist() for c in MTL.columns] == [again[c].to_pylist() for c in MTL.columns]
    assert raw_table([raw[0]], MTL) is None
    submit(replace(request_, name="lost", files=(lost,)))
    capsys.readouterr()
    report = ["report", "--store", request_.store, "--out", str(tmp_path / "board.html")]
    assert main([*report, "--truth", str(request_.truth)]) == 0
    told = capsys.readouterr().err
    assert told.startswith(f"mtl/lost: no raw predictions: {lost}: was smoothed, but the stage that it was made of")
    html = (tmp_path / "board.html").read_text()
    assert html.count("smoothed, as submitted") == 5
    assert html.count("</svg>submitted") == 1


def test_two_tracks_need_to_be_told_apart(
    request_: Request, table_files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(request_)
    result = submit(replace(request_, name="other"))
    rows = [line.split(",") for line in result.file.read_text().splitlines()[1:]]
    va = tmp_path / "va.txt"
    va.write_text("image_location,valence,arousal\n" + "".join(f"{r[0]},{r[1]},{r[2]}\n" for r in rows))
    submit(replace(request_, files=(va,), track=TRACKS["va"], template=va, truth=va, out=None))
    out = tmp_path / "board.html"
    report = ["report", "--store", request_.store, "--out", str(out)]
    capsys.readouterr()
    assert main([*report, "--truth", str(request_.truth)]) == 1
    assert "the report has the tracks va, mtl; write --truth TRACK=PATH" in capsys.readouterr().err
    for track, given, message in (
        ("mtl", [str(request_.truth), f"mtl={request_.truth}"], "the truth of track mtl is given already"),
        ("mtl", [f"va={va}"], "the report has no entry of track va; it has mtl"),
    ):
        assert main([*report, "--track", track, "--truth", *given]) == 1
        assert message in capsys.readouterr().err
    assert main([*report, "--truth", f"va={va}", "--raw", f"first={table_files[0]}"]) == 1
    assert "entries of tracks va and mtl fit; choose one with --track" in capsys.readouterr().err
    assert main([*report, "--truth", f"va={va}", f"mtl={request_.truth}"]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 3 entries of 2 tracks, ")
    html = out.read_text()
    assert html.count('<section class="track"') == 2
    assert main([*report, "--track", "va"]) == 1
    assert "exists already; name another --out, or replace it with --overwrite" in capsys.readouterr().err
    assert out.read_text() == html
    assert main(["report", "--store", request_.store, "--track", "lsd", "--out", str(tmp_path / "none.html")]) == 1
    assert "holds no entry of lsd; submit one first" in capsys.readouterr().err
    assert not (tmp_path / "none.html").exists()


def test_options_that_need_a_truth_are_refused_without_one(
    request_: Request, table_files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit(request_)
    report = ["report", "--store", request_.store, "--out", str(tmp_path / "board.html")]
    for option in (["--video", "vid"], ["--raw", f"first={table_files[0]}"]):
        assert main([*report, *option]) == 1
        assert f"{option[0]}: timelines are drawn beside the truth; give --truth" in capsys.readouterr().err
    assert main([*report, "--raw", f"nobody={table_files[0]}", "--truth", str(request_.truth)]) == 1
    assert "fits no entry; --raw takes ENTRY=FILE" in capsys.readouterr().err


@pytest.mark.slow
def test_a_mean_that_a_run_made_is_told_too(request_: Request, table_files: list[Path], tmp_path: Path) -> None:
    mean = tmp_path / "mean.parquet"
    tables = {name: read_predictions(path, MTL) for name, path in zip(("fold 0", "fold 1"), table_files, strict=False)}
    write_predictions(mean_of(tables, MTL), mean)
    submit(replace(request_, name="mean", files=(mean,)))
    submit(request_)
    assert main(["report", "--store", request_.store, "--out", str(tmp_path / "board.html")]) == 0
    html = (tmp_path / "board.html").read_text()
    assert re.findall("Ensemble of (.*?)</h4>", html) == ["2: plain mean"]
    makeup = html.partition("2: plain mean")[2].partition("</table>")[0]
    assert makeup.count(">0.500<") == 6
    assert makeup.count("fold ") == 2
