"""Every system and every track from files to predictions at the size for tests: `make test-systems`."""

import json

import numpy as np
import pytest
import simplejpeg

from abaw.predictions import read_predictions
from abaw.tracks import get_track
from experiments.cli import run
from experiments.registry import TABLES

pytestmark = pytest.mark.systems

ON_FACES = (
    "mae_face_expr_debug",
    "mae_face_au_debug",
    "mae_face_va_debug",
    "emma_mtl_debug",
    "cotex_lsd_debug",
    "contrawarping_expr_debug",
    "dual_view_expr_debug",
)
"""Recipes whose labels the embedded faces have."""
ROWS = (
    "emma_mtl_debug-epochs",
    "emma_mtl_debug-vit_imagenet",
    "mae_face_expr_debug-live",
    "contrawarping_expr_debug-byol",
    "contrawarping_expr_debug-simsiam",
    "dual_view_expr_debug-frozen",
)
"""Rows of tables that take another way through the stages."""


@pytest.fixture(scope="module")
def runs(local_ray, tmp_path_factory):
    """Where all runs of this file lie."""
    return tmp_path_factory.mktemp("systems") / "runs"


@pytest.mark.parametrize("name", [*ON_FACES, *ROWS])
def test_a_recipe_runs_from_files_to_predictions(name, runs, capsys):
    assert run(["run", name, "--runs", str(runs), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    if "entries" in printed:
        assert {entry["status"] for entry in printed["entries"]} == {"valid"}
        assert len(printed["entries"]) >= 3
    else:
        assert 0 <= printed["predict/pretrained"]["score"] <= 1


def picture(path, rng):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)))


def affectnet(root, rng):
    for name, count in (("training", 48), ("validation", 24)):
        rows = ["subDirectory_filePath,expression,valence,arousal"]
        for k in range(count):
            picture(root / "images" / str(k % 3) / f"{name}{k}.jpg", rng)
            rows.append(f"{k % 3}/{name}{k}.jpg,{k % 8},{rng.uniform(-1, 1):.3f},-2")
        (root / f"{name}.csv").write_text("\n".join(rows) + "\n")


def emo135(root, rng):
    for name, count in (("train", 135), ("val", 27)):
        for k in range(count):
            picture(root / name / f"{k}.jpg", rng)
        (root / f"{name}.txt").write_text("".join(f"{name}/{k}.jpg {k * 5 % 135}\n" for k in range(count)))


def cexpr(root, rng):
    header = ",".join(get_track("cexpr").columns)
    for video in range(6):
        for frame in range(1, 31):
            picture(root / f"{video:02d}" / f"{frame:05d}.jpg", rng)
        lines = [str((video + frame) % 7) if frame % 5 else "-1" for frame in range(30)]
        if video < 5:
            (root / f"{video:02d}.txt").write_text("\n".join([header, *lines]) + "\n")


@pytest.mark.parametrize(
    ("track", "source", "deliver"),
    [
        ("affectnet8", ["affectnet"], affectnet),
        ("affectnet7", ["affectnet", "--classes", "7"], affectnet),
        ("emo135", ["emo135"], emo135),
        ("cexpr", ["cexpr"], cexpr),
    ],
)
def test_a_track_of_another_data_set_runs_from_files_to_scores(track, source, deliver, runs, tmp_path, capsys):
    deliver(tmp_path / "delivery", np.random.default_rng(0))
    shards = tmp_path / "shards"
    command = ["prepare", source[0], str(tmp_path / "delivery"), str(shards), *source[1:]]
    assert run(command) in (0, 3)  # 3: codes that are no class of this track were left out
    capsys.readouterr()
    recipe = f"mae_face_{track}_debug"
    given = ["--delivery.root", str(shards), "--delivery.pool", str(shards)]
    assert run(["run", recipe, "--runs", str(runs), *given, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    result = printed["predict/pretrained"]
    assert (result["track"], result["score_name"]) == (track, get_track(track).score)
    (table,) = (runs / recipe).glob("predict-pretrained-*/out_of_fold.parquet")
    labels = read_predictions(table, get_track(track))["label_expression"]
    assert len(labels) - labels.null_count == result["frames"]
    for k in get_track(track).top_k:
        assert 0 <= result["metrics"][f"top{k}"] <= 1


def test_a_table_is_measured_and_written(runs, tmp_path, monkeypatch, capsys):
    """The rows of a table at the size for tests."""
    from experiments import table as module
    from experiments.sizes import debug

    monkeypatch.setattr(module, "small", debug)
    page = tmp_path / "docs" / "smoothing.md"
    assert run(["table", "smoothing", "--seeds", "2", "--runs", str(runs), "--out", str(page)]) == 0
    rows = [line for line in page.read_text().splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(TABLES["smoothing"].rows)
    assert capsys.readouterr().out.strip() == page.read_text().strip()
