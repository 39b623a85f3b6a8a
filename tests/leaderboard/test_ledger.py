"""Official trials: five a challenge, with all that they are made of; and the rules guard, which names the run."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from abaw.predictions import write_predictions
from abaw.tracks import TRACKS
from leaderboard import cli, guard, ledger_command
from leaderboard.cli import main
from leaderboard.ensemble import mean_of
from leaderboard.guard import AFF_WILD2, broken_rules
from leaderboard.ledger import trials
from leaderboard.provenance import provenance_of
from leaderboard.soup import write_soup
from leaderboard.store import open_store

Capture = pytest.CaptureFixture[str]
CHALLENGE = ("--challenge", "ABAW11 MTL")


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Path]:
    """Writes the folder of a stage as a run leaves it; returns the folder."""

    def make(name: str, *, inputs: tuple[Path, ...] = (), source: str = "", **config: Any) -> Path:
        folder = tmp_path / "runs" / "recipe" / name
        shards = folder / "data"
        shards.mkdir(parents=True)
        (shards / "manifest.json").write_text(json.dumps({"source": source or "Faces"}))
        if config:
            config = {"optimisation": {}, "train": {"shards": str(shards)}, "track": None, "init": {}} | config
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        result = {"name": name, "commit": "c" * 40, "dirty": False, "config_hash": f"hash of {name}"}
        result["inputs"] = [one.name for one in inputs]  # type: ignore[assignment]
        (folder / "result.json").write_text(json.dumps(result))
        return folder

    return make


@pytest.fixture
def board(
    tmp_path: Path,
    store_url: str,
    template: Path,
    truth_list: Path,
    table_files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "STORE", store_url)
    common = ("--track", "mtl", "--template", template, "--truth", truth_list)
    assert run("submit", table_files[0], *common, "--name", "on validation") == 0


@pytest.fixture
def handed_in(board: None, stage: Callable[..., Path], template: Path, table_files: list[Path]) -> Callable[..., Path]:
    """Exports the test predictions of a run of two stages, and returns the file."""
    pretrained = stage("pretrain-1", track=None)
    weights = pretrained / "checkpoints" / "final.safetensors"
    trained = stage("finetune-1", track="mtl", init={"encoder": str(weights), "head": "timm:some.weights"})
    (trained / "predictions").mkdir()

    def make(number: int = 1) -> Path:
        table = trained / "predictions" / f"test{number}.parquet"
        shutil.copy(table_files[number % 3], table)
        out = template.with_name(f"out{number}.zip")
        assert run("export", table, "--track", "mtl", "--template", template, "--out", out) == 0
        data = out.read_bytes() + b"%d" % number  # each trial another file
        out.write_bytes(data)
        manifest = out.with_name(out.name + ".manifest.json")
        content = json.loads(manifest.read_text())
        content["sha256"] = {out.name: hashlib.sha256(data).hexdigest()}
        manifest.write_text(json.dumps(content))
        return out

    return make


def add(file: Path, *options: str) -> int:
    return run("trial", "add", file, "--track", "mtl", "--validation", "on validation", *CHALLENGE, *options)


def test_a_trial_is_kept_with_all_that_it_is_made_of(handed_in: Callable[..., Path], capsys: Capture) -> None:
    file = handed_in()
    capsys.readouterr()
    assert add(file, "--json") == 0
    told = capsys.readouterr()
    made = json.loads(told.out)
    assert (made["number"], made["track"], made["commit"], made["validation"]) == (1, "mtl", "c" * 40, "on validation")
    assert made["configs"] == {"finetune-1": "hash of finetune-1", "pretrain-1": "hash of pretrain-1"}
    assert [Path(member).name for member in made["members"]] == ["test1.parquet"]
    assert 0 < made["score"] < 3
    assert made["weights"] == ["timm:some.weights"]
    assert "no run made the weights timm:some.weights: make sure that the rules allow them" in told.err
    assert "4 of 5 trials are left" in told.err
    assert run("trial", "reply", "1", *CHALLENGE, "--score", "1.25", "--text", "rank 3") == 0
    assert run("trial", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3].startswith("ABAW11 MTL, trial 1 of 20")
    assert lines[-2] == f"  on validation: {made['score']:.4f} on validation; replied 1.2500 (rank 3)"
    assert lines[-1] == f"  commit {'c' * 40}; 1 members, 2 runs"
    assert run("trial", "reply", "1", *CHALLENGE, "--text", "rank 2 after a recount") == 0
    assert "replied 1.2500 (rank 2 after a recount)" in capsys.readouterr().out, "the score that was noted stays"


def test_a_sixth_trial_is_refused(handed_in: Callable[..., Path], store_url: str, capsys: Capture) -> None:
    files = [handed_in(number) for number in range(1, 7)]
    assert [add(file) for file in files] == [0, 0, 0, 0, 0, 1]
    assert "ABAW11 MTL: all 5 official trials are used; the last one was" in capsys.readouterr().err
    assert [one.number for one in trials(open_store(store_url, create=False))] == [1, 2, 3, 4, 5]
    other = ("--track", "mtl", "--validation", "on validation", "--challenge", "ABAW4 MTL")
    assert run("trial", "add", files[5], *other) == 0, "another challenge has its own five"


def test_a_file_that_was_handed_in_or_changed_is_refused(handed_in: Callable[..., Path], capsys: Capture) -> None:
    file = handed_in()
    assert add(file) == 0
    assert add(file) == 1
    assert "was handed in already: trial 1 of" in capsys.readouterr().err
    file.write_bytes(file.read_bytes() + b"x")
    assert add(file) == 1
    assert "is not the file that out1.zip.manifest.json describes (SHA-256)" in capsys.readouterr().err
    assert run("trial", "add", "none.txt", "--track", "mtl", "--validation", "x", *CHALLENGE) == 1
    assert (
        "none.txt: No such file or directory; expected a file that `leaderboard export` wrote"
        in capsys.readouterr().err
    )
    assert run("trial", "reply", "7", *CHALLENGE, "--score", "0.5") == 1
    assert "ABAW11 MTL, trial 7: there is no such trial" in capsys.readouterr().err
    assert run("trial", "reply", "1", *CHALLENGE) == 1
    assert "ABAW11 MTL, trial 1: what was replied? give --score or --text" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("trial", "reply", "1", *CHALLENGE, "--score", "nan")
    assert "'nan'; expected a score, such as 0.4123" in capsys.readouterr().err
    assert run("trial", "list", "--challenge", "ABAW99") == 0
    assert capsys.readouterr().err.startswith("no trial of challenge ABAW99 in ")


def test_a_stage_that_names_its_members_and_an_ensemble_of_ensembles_are_traced(
    handed_in: Callable[..., Path], stage: Callable[..., Path], template: Path, make_table: Any, capsys: Capture
) -> None:
    handed_in()
    trained = Path("runs/recipe/finetune-1")
    predict = stage("predict-1", inputs=(trained,)) / "test.parquet"
    # A stage's table names the trainings that it is the mean of by their stages, and not by paths.
    write_predictions(mean_of({"finetune/a": make_table(1), "finetune/b": make_table(2)}, TRACKS["mtl"]), predict)
    tuned = stage("tune/smoothing", inputs=(predict.parent,)) / "test.parquet"
    shutil.copy(predict, tuned)
    one, two, three = "one.parquet", "two.parquet", "three.parquet"
    assert run("ensemble", predict, tuned, "--track", "mtl", "--out", one) == 0
    assert run("ensemble", one, trained / "predictions" / "test1.parquet", "--track", "mtl", "--out", two) == 0
    for number, tables in enumerate(((predict,), (two,), (one, two)), start=1):
        out = template.with_name(f"traced{number}.txt")
        assert run("export", *tables, "--track", "mtl", "--template", template, "--out", out) == 0
        capsys.readouterr()
        assert add(out, "--json") == 0
        made = json.loads(capsys.readouterr().out)
        assert set(made["configs"]) - {"smoothing"} == {"predict-1", "finetune-1", "pretrain-1"}
        assert ("smoothing" in made["configs"]) == (number > 1)
    write_predictions(make_table(2), Path("elsewhere.parquet"))
    assert run("ensemble", one, "elsewhere.parquet", "--track", "mtl", "--out", three) == 0
    out = template.with_name("untraced.txt")
    assert run("export", three, "--track", "mtl", "--template", template, "--out", out) == 0
    capsys.readouterr()
    assert add(out) == 1
    assert capsys.readouterr().err.startswith("member elsewhere.parquet: no run folder is known (result.json)")


def test_the_validation_score_is_that_of_an_entry(handed_in: Callable[..., Path], capsys: Capture) -> None:
    file = handed_in()
    assert run("trial", "add", file, "--track", "mtl", "--validation", "nobody", *CHALLENGE) == 1
    assert "nobody: is no entry of track mtl; --validation names the entry" in capsys.readouterr().err
    assert run("trial", "add", file, "--track", "va", "--validation", "on validation", *CHALLENGE) == 1
    assert "is of track mtl, not of va; check --track" in capsys.readouterr().err


def test_a_broken_rule_keeps_a_trial_out(
    handed_in: Callable[..., Path], stage: Callable[..., Path], capsys: Capture
) -> None:
    file = handed_in()
    config = Path("runs/recipe/pretrain-1/config.yaml")
    config.write_text(config.read_text().replace("track: null", "track: expr"))
    assert add(file) == 1
    told = capsys.readouterr().err
    assert (
        "pretrain-1: run pretrain-1 was trained on Aff-Wild2 (track expr); mtl and lsd: no weights trained on" in told
    )
    assert "test1.parquet, which stands on it, or --allow no-aff-wild2 if this challenge does" in told
    assert add(file, "--allow", "no-aff-wild2", "--json") == 0
    assert json.loads(capsys.readouterr().out)["allowed"] == ["no-aff-wild2"]


def problems(track: str, *tables: Path, allowed: tuple[str, ...] = ()) -> list[str]:
    return [str(one) for one in broken_rules(TRACKS[track], provenance_of([*map(str, tables)]), allowed=allowed)]


def test_uni_task_tracks_allow_their_own_labels_alone(stage: Callable[..., Path]) -> None:
    both, affectnet = stage("both", track="mtl"), stage("affectnet", track="affectnet8")
    expr = stage("expr", track="expr", inputs=(affectnet,))
    taught = stage("taught", track="expr", soft_targets=[str(both / "predictions" / "train.parquet")])
    smoothed = stage("smoothed", inputs=(taught, expr))
    assert problems("expr", expr / "test.parquet") == []
    (found,) = problems("expr", expr / "test.parquet", smoothed / "test.parquet")
    assert (
        f"{both}: run both was trained on the labels of track mtl; expr, au and va: no labels of Aff-Wild2 but" in found
    )
    assert f"leave out {smoothed / 'test.parquet'}, which stands on it" in found
    assert len(problems("va", expr / "test.parquet")) == 1
    assert problems("expr", smoothed / "test.parquet", allowed=("uni-task",)) == []


def test_mtl_and_lsd_allow_no_weights_of_aff_wild2(stage: Callable[..., Path]) -> None:
    unlabelled = stage("pool", track=None, source="AffWild2 /data/faces")
    own = stage("own", track="mtl", source="AffWild2 /data/s-Aff-Wild2")
    named = stage("named", track="lsd", init={"encoder": "weights/mae_affwild2.pth"})
    on_pool = stage("on-pool", track="lsd", inputs=(unlabelled,))
    assert problems("mtl", own / "test.parquet") == []
    assert "run pool was trained on the frames of Aff-Wild2 (AffWild2 /data/faces)" in problems("lsd", on_pool / "t")[0]
    assert "named after Aff-Wild2 (weights/mae_affwild2.pth)" in problems("lsd", named / "t")[0]
    assert "run own was trained on Aff-Wild2 (track mtl)" in problems("lsd", own / "t")[0]
    assert problems("va", on_pool / "t") == [], "uni-task tracks may start from its frames"


def test_a_soup_hides_no_run(stage: Callable[..., Path], tmp_path: Path) -> None:
    """Weights that are the mean of checkpoints, or of such means, stand on the runs of all of them."""
    own, expr = stage("own", track="mtl"), stage("expr", track="expr")
    files = [own / "a.safetensors", expr / "b.safetensors", tmp_path / "c.safetensors"]
    for path in files:
        save_file({"w": np.ones(2, dtype=np.float32)}, path)
    inner, outer = own / "inner.safetensors", tmp_path / "outer.safetensors"
    write_soup(files[:2], inner)
    write_soup([inner, files[2]], outer)
    user = stage("user", track="mtl", init={"encoder": str(outer)})
    (found,) = problems("mtl", user / "test.parquet")
    assert f"{expr}: run expr was trained on Aff-Wild2 (track expr)" in found
    (run,) = (one for one in provenance_of([str(user / "test.parquet")]).runs if one.name == "user")
    assert run.foreign == (str(files[2]),)
    write_soup([files[2], files[0]], files[2])
    assert problems("va", stage("again", track="va", init={"encoder": str(files[2])}) / "t") != [], "it names itself"


def test_what_no_run_proves_is_refused(stage: Callable[..., Path], tmp_path: Path) -> None:
    lost = stage("lost", track="va")
    user = stage("user", track="va", inputs=(lost,))
    shutil.rmtree(lost)
    (tmp_path / "elsewhere").mkdir()
    found = problems("va", user / "t.parquet", tmp_path / "elsewhere" / "t.parquet")
    assert [one.partition(": ")[0] for one in found] == [
        "stage lost, which user read",
        f"member {tmp_path / 'elsewhere' / 't.parquet'}",
    ]
    assert "no run folder is known (result.json)" in found[0]
    assert problems("va", user / "t.parquet", allowed=("known-runs",)) == []


@given(
    st.sampled_from(["Aff-Wild2", "affwild2", "AFF_WILD", "aff wild2"]),
    st.sampled_from(["", "/data/", "x-", "pool_of "]),
)
def test_aff_wild2_is_known_by_name(name: str, before: str) -> None:
    assert AFF_WILD2.search(before + name)
    assert not AFF_WILD2.search(f"/data/s-{name}")
    assert not AFF_WILD2.search("staff-wildlife, affectnet")


def test_the_rules_are_said_once_to_the_user() -> None:
    assert tuple(guard.RULES) == ledger_command.RULES
