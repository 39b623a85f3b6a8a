"""Each source of still images and crops through `abaw prepare`: its labels arrive, and what is left out is listed."""

import json
import os

import numpy as np
import polars as pl
import pytest
import simplejpeg

from abaw.data.shards import open_frames
from abaw.tracks import CEXPR
from experiments.cli import run
from experiments.prepare import SOURCES, WITH_DROPS

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "delivery"


def jpegs(root, *names):
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((48, 48, 3), 40 * k % 256, np.uint8)
        (root / name).write_bytes(simplejpeg.encode_jpeg(pixels))


def text(root, name, *lines):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("\n".join(lines) + "\n")


def lsd(root):
    jpegs(root, "train/ANGRER/1.jpg", "train/SURPRISE/2.jpg", "test/0.jpg")
    return "lsd", [("test", 1, None), ("train/ANGRER", 1, 0), ("train/SURPRISE", 2, 5)]


def cexpr(root):
    jpegs(root, "01/00001.jpg", "01/00004.jpg", "02/00001.jpg")
    text(root, "01.txt", ",".join(CEXPR.columns), "6", "-1", "-1", "2")
    return "cexpr", [("01", 1, 6), ("01", 4, 2), ("02", 1, None)]


def affectnet(root):
    jpegs(root, "images/1/a.jpg", "images/1/b.jpg")
    text(root, "training.csv", "subDirectory_filePath,expression,valence,arousal", "1/a.jpg,7,-1,1", "1/b.jpg,3,-2,-2")
    return "affectnet8", [("images/1", 1, 7), ("images/1", 2, 3)]


def emo135(root):
    jpegs(root, "pictures/a.jpg", "pictures/b.jpg")
    text(root, "train.txt", "pictures/a.jpg 134", "pictures/b.jpg 128")
    return "emo135", [("pictures", 1, 134), ("pictures", 2, 128)]


def images(root):
    jpegs(root, "p1/x.JPG", "p1/y.jpeg", "p2/7.jpg")
    return "mtl", [("p1", 1, None), ("p1", 2, None), ("p2", 7, None)]


@pytest.mark.parametrize("make", [lsd, cexpr, affectnet, emo135, images], ids=lambda make: make.__name__)
def test_labels_arrive_in_the_shards(make, root, tmp_path, capsys):
    track, rows = make(root)
    out = tmp_path / "out"
    assert run(["prepare", make.__name__, str(root), str(out), "--slots", "1", "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["track"], manifest["frames"], manifest["dropped"]) == (track, len(rows), 0)
    table = pl.DataFrame(open_frames(out, columns=["video", "frame", "expression"]))
    assert table.rows() == rows


def test_every_image_that_cannot_be_used_is_listed_and_nothing_else_is_lost(root, tmp_path, capsys):
    jpegs(root, *(f"p{k % 5}/{k}.jpg" for k in range(100)))
    whole = (root / "p1" / "1.jpg").read_bytes()
    (root / "p1" / "1.jpg").write_bytes(b"")
    (root / "p2" / "2.jpg").write_bytes(whole[:-30])
    (root / "p3" / "note.png").write_bytes(whole)
    (root / "p4" / "loop").symlink_to(root)
    (root / "p4" / "gone.jpg").symlink_to("nowhere.jpg")
    with open(os.fsencode(root / "p0") + b"/\xe9.jpg", "wb") as file:
        file.write(whole)
    out = tmp_path / "out"
    assert run(["prepare", "images", str(root), str(out), "--slots", "2"]) == WITH_DROPS
    printed = capsys.readouterr()
    assert printed.err.endswith(f"6 images, files or labels were left out: see {out / 'drops.parquet'}\n")
    assert "frames: 98\n" in printed.out
    drops = dict(pl.read_parquet(out / "drops.parquet").rows())
    assert {path.removeprefix(f"{root}/"): reason.split(":")[0].split(";")[0] for path, reason in drops.items()} == {
        "p0/\\xe9.jpg": "its name is not UTF-8",
        "p1/1.jpg": "empty file",
        "p2/2.jpg": "no complete JPEG",
        "p3/note.png": "is not named .jpg or .jpeg",
        "p4/gone.jpg": "cannot be read",
        "p4/loop": "is a symbolic link to a folder above it",
    }


def test_several_image_folders_and_the_annotations_are_named_on_the_command_line(root, tmp_path, capsys):
    jpegs(root, "disk1/v/00001.jpg", "disk2/w/00001.jpg")
    text(root, "labels/VA_Set/Train_Set/v.txt", "valence,arousal", "0.5,0.5")
    disks = ["--images", str(root / "disk1"), str(root / "disk2"), "--annotations", str(root / "labels")]
    assert run(["prepare", "affwild2", str(root), str(tmp_path / "out"), *disks]) == 0
    rows = open_frames(tmp_path / "out", columns=["video", "valence", "split"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("v", 0.5, "train"), ("w", None, "unlabelled")]


def test_a_person_reads_counts_and_not_a_line_a_file(root, tmp_path, capsys):
    for k in range(7):
        (root / "p").mkdir(parents=True, exist_ok=True)
        (root / "p" / f"{k}.jpg").write_bytes(simplejpeg.encode_jpeg(np.zeros((16 + k // 2, 16, 3), np.uint8)))
        (root / "p" / f"{k + 7}.jpg").write_bytes(simplejpeg.encode_jpeg(np.zeros((40 + k, 16, 3), np.uint8)))
    assert run(["prepare", "images", str(root), str(tmp_path / "out"), "--slots", "3"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "files: 3" in printed
    assert "image_sizes: 16x16 2, 17x16 2, 18x16 2, 19x16 1, 40x16 1, other sizes 6" in printed
    assert "splits: unlabelled (frames 14, videos 1, va 0, expr 0, au 0)" in printed
    assert f"source: Images {root}" in printed


def test_seven_classes_of_affectnet_are_an_option(root, tmp_path, capsys):
    affectnet(root)
    assert run(["prepare", "affectnet", str(root), str(tmp_path / "out"), "--classes", "7", "--json"]) == WITH_DROPS
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["track"], manifest["frames"], manifest["dropped"]) == ("affectnet7", 1, 1)
    (reason,) = pl.read_parquet(tmp_path / "out" / "drops.parquet")["reason"]
    assert reason == "expression 7 (Contempt) is none of the 7 classes"


def test_help_has_a_line_a_source(capsys):
    assert run(["prepare", "--help"]) == 0
    printed = capsys.readouterr()
    for source in SOURCES:
        assert f"\n  {source} " in printed.out
    assert "3 done, and something was left out: see drops.parquet" in printed.out
