"""What docs/security.md claims, where it costs little to try."""

import ast
import json
import re
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from abaw import runs
from abaw.data.frames import frame_table
from abaw.data.manifest import MANIFEST, Manifest, Preprocessing, ShardFile, read_manifest
from abaw.masking import without_passwords
from abaw.predictions import LABEL_PREFIX, schema, write_predictions
from abaw.problems import BadInput, refuse
from abaw.tracks import TRACKS
from experiments.changes import note_recipe
from experiments.demo import demo_debug
from experiments.jobs import run_as_job, runtime_env
from experiments.variants import with_fields
from leaderboard.cli import main as leaderboard
from leaderboard.soup import score_with

ROOT = Path(__file__).parent.parent
URL = "postgresql+psycopg://team:hunter2@db.example/study"


def calls():
    """Every call in the three packages: the file, the dotted name of what is called, and its keywords."""
    for top in ("platform", "experiments", "leaderboard"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield (
                        path.name,
                        ast.unparse(node.func),
                        {word.arg: ast.unparse(word.value) for word in node.keywords},
                        node,
                    )


def test_nothing_is_unpickled_unguarded_and_no_shell_is_started():
    found = [one for one in calls()]
    loads = [(path, words) for path, name, words, _ in found if name == "torch.load"]
    assert loads
    assert [path for path, words in loads if words.get("weights_only") != "True"] == []
    assert [path for path, name, words, _ in found if words.get("shell", "False") != "False"] == []
    forbidden = {
        "eval",
        "exec",
        "os.system",
        "os.popen",
        "yaml.unsafe_load",
        "yaml.full_load",
        "pickle.load",
        "pickle.loads",
    }
    assert [(path, name) for path, name, _, _ in found if name in forbidden] == []
    assert [path for path, name, words, _ in found if name == "np.load" and words.get("allow_pickle") == "True"] == []
    yamls = [ast.unparse(node.args[1]) for _, name, _, node in found if name == "yaml.load"]
    assert set(yamls) <= {"yaml.CSafeLoader", "yaml.SafeLoader"}
    # What Ray Tune wrote of a failed trial; docs/security.md says whom that trusts.
    assert [path for path, name, _, _ in found if name.endswith("cloudpickle.loads")] == ["searcher.py"]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (URL, "postgresql+psycopg://team:***@db.example/study"),
        (
            f"see {URL}, and http://me:pw@b:80/x",
            "see postgresql+psycopg://team:***@db.example/study, and http://me:***@b:80/x",
        ),
        ("redis://:secret@host", "redis://:***@host"),
        ("postgresql://team:se/cr:et@host:5432/study", "postgresql://team:***@host:5432/study"),
        ("http://host:8265/a@b", "http://host:8265/a@b"),
        ("postgresql+psycopg://USER@HOST/DATABASE", "postgresql+psycopg://USER@HOST/DATABASE"),
        ("sqlite:///runs/mlflow.db", "sqlite:///runs/mlflow.db"),
        ("s3://bucket/key: no such file, ask a@b.example", "s3://bucket/key: no such file, ask a@b.example"),
    ],
)
def test_passwords_in_urls_are_masked_and_nothing_else(text, masked):
    assert without_passwords(text) == masked


def test_a_run_folder_holds_neither_the_environment_nor_a_password(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "value-of-a-secret")
    monkeypatch.setattr("sys.argv", ["abaw", "tune", "demo", "--storage", URL])
    recipe = with_fields(demo_debug(), {"resources.mlflow": URL})
    runs.start(tmp_path / "stage", recipe)
    runs.finish(tmp_path / "stage", config=recipe, started=time.time(), remark=URL)
    assert note_recipe(recipe, tmp_path) == []
    assert note_recipe(recipe, tmp_path) == [], "a masked password is no change of the recipe"
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in written} == {"config.yaml", "result.json", "recipe.yaml"}
    for path in written:
        assert "team:***@db.example" in path.read_text()
        assert "hunter2" not in path.read_text()
        assert "value-of-a-secret" not in path.read_text()
    assert json.loads((tmp_path / "stage" / "result.json").read_text())["command"].endswith("team:***@db.example/study")


def test_messages_mask_passwords(capsys):
    assert "hunter2" not in str(refuse(URL, f"no database answers at {URL}"))
    assert leaderboard(["show", "--store", "mysql+nothing://team:hunter2@db.example/board"]) == 1
    told = capsys.readouterr().err
    assert "team:***@db.example" in told
    assert "hunter2" not in told


def test_a_job_is_sent_no_environment_and_no_password(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "value-of-a-secret")
    assert set(runtime_env()["env_vars"]) <= {"ABAW_COMMIT", "ABAW_DIRTY"}
    with pytest.raises(BadInput, match="the dashboard shows the command of a job to all") as refused:
        run_as_job("http://127.0.0.1:9", "demo", ["--resources.mlflow", URL], runs=tmp_path)
    assert "hunter2" not in str(refused.value)


def test_shards_that_name_a_file_outside_their_folder_are_refused(tmp_path):
    (tmp_path / "outside.parquet").write_bytes(b"1234")
    shards = tmp_path / "shards"
    entry = ShardFile(
        path="../outside.parquet", slot=0, frames=1, bytes=4, sha256="0" * 64, first_video="a", last_video="a"
    )
    manifest = Manifest(
        source="nobody",
        frames=1,
        videos=1,
        splits={},
        without_image=0,
        dropped=0,
        image_sizes={},
        track="mtl",
        preprocessing=Preprocessing(),
        slots=1,
        files=(entry,),
    )
    runs.write_json(shards / MANIFEST, runs.plain(manifest))
    with pytest.raises(BadInput, match=r"\.\./outside\.parquet: missing or not of 4 bytes"):
        read_manifest(shards)


def test_the_command_of_a_greedy_soup_has_no_shell(tmp_path):
    hurt = tmp_path / "hurt"
    with pytest.raises(BadInput, match="the score as the last word"):
        score_with(f"echo 0.5 {{}} ; touch {hurt} | cat", tmp_path / "w.safetensors")
    assert not hurt.exists()


def test_the_dashboard_is_reached_through_ssh_and_slurm_makes_a_token():
    assert "--dashboard-host=127.0.0.1" in (ROOT / "cluster.yaml").read_text()
    assert "export RAY_AUTH_MODE=token" in (ROOT / "docs" / "cluster" / "slurm.sh").read_text()


def test_an_export_holds_predictions_and_no_label(tmp_path, capsys):
    """Neither the labels of the table, nor what the template holds behind a frame's name, get into the file."""
    track, rows = TRACKS["va"], 5
    columns = {name: np.full(rows, 0.25) for name in track.columns}
    columns |= {LABEL_PREFIX + name: np.full(rows, -0.7531) for name in track.label_columns}
    columns |= {"video": ["a"] * rows, "frame": range(1, rows + 1), "fold": [0] * rows, "checkpoint": ["x"] * rows}
    arrays = [pa.array(list(columns[field.name]), field.type) for field in schema(track)]
    write_predictions(pa.table(arrays, schema=schema(track)), tmp_path / "t.parquet")
    template = tmp_path / "template.txt"
    template.write_text("".join(f"a/{frame:05d}.jpg,0.9137,0.9137\n" for frame in range(1, rows + 1)))
    out = tmp_path / "out" / "va.txt"
    arguments = ["export", str(tmp_path / "t.parquet"), "--track", "va", "--template", str(template)]
    assert leaderboard([*arguments, "--out", str(out)]) == 0
    assert pl.read_csv(out)["valence"].to_list() == [0.25] * rows
    for path in out.parent.iterdir():
        assert not re.search("7531|9137|label_", path.read_text()), path
    assert {path.name for path in out.parent.iterdir()} == {"va.txt", "va.txt.manifest.json"}


def test_labels_are_not_exported_as_predictions(tmp_path, capsys):
    """Shards and their list of sources have columns `valence` and `arousal` too."""
    labelled = {"video": ["a"], "frame": [1], "path": ["1.jpg"], "valence": [0.5], "arousal": [0.25], "split": "train"}
    (tmp_path / "template.txt").write_text("a/00001.jpg,\n")
    frame_table(pl.DataFrame(labelled)).write_parquet(tmp_path / "frames.parquet")
    arguments = ["--track", "va", "--template", str(tmp_path / "template.txt"), "--out", str(tmp_path / "va.txt")]
    assert leaderboard(["export", str(tmp_path / "frames.parquet"), *arguments]) == 1
    assert "frames.parquet: is a frame table, which holds labels; expected predictions" in capsys.readouterr().err
    assert not (tmp_path / "va.txt").exists()
