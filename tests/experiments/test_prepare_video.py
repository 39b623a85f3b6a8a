"""`abaw prepare video` and `images --align --deduplicate` as a person types them."""

import json

import numpy as np
import polars as pl
import pytest
import simplejpeg

from experiments.cli import run
from experiments.prepare import WITH_DROPS


def test_videos_become_aligned_shards_and_a_second_run_follows_the_table(
    local_ray, astronaut_HWC, face_task, write_video, tmp_path, capsys
):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    frames_THWC = np.stack([astronaut_HWC] * 4)
    frames_THWC[1] = 0
    write_video(root / "clip.mp4", frames_THWC)
    command = ["prepare", "video", str(root), str(out), "--align", "--detector", "mediapipe", "--json"]
    command += ["--weights", str(face_task), "--size", "64", "--slots", "2"]
    assert run(command) == WITH_DROPS
    printed = capsys.readouterr()
    manifest = json.loads(printed.out)
    assert (manifest["frames"], manifest["videos"], manifest["dropped"]) == (3, 1, 1)
    assert manifest["image_sizes"] == {"64x64": 3}
    assert manifest["source"] == f"Video {root}"
    assert manifest["preprocessing"]["alignment"].startswith("similarity transform on the eyes, by mediapipe face_land")
    assert manifest["preprocessing"]["crop"] == "eyes at .34 and .66 of the width, .46 of the height"
    assert pl.read_parquet(out / "shards" / "drops.parquet").rows() == [(f"{root / 'clip.mp4'}:2", "no face")]
    assert (out / "sheets" / "clip.jpg").is_file()
    # Without being told to go on, nothing is touched.
    assert run(command) == 1
    assert "holds crops, shards, sheets, videos; give --resume to finish it, --overwrite to" in capsys.readouterr().err
    table = out / "choices.csv"
    table.write_text(table.read_text() + "clip,3,4,none\n")
    assert run([*command, "--resume"]) == WITH_DROPS
    assert json.loads(capsys.readouterr().out)["frames"] == 1
    table.write_text("video,first,last,choose\nclop,1,,left\n")
    assert run([*command, "--overwrite"]) == 1
    assert f"{table}:2: no video 'clop' among the 1 that are prepared" in capsys.readouterr().err
    assert (out / "crops" / "clip" / "00001.jpg").is_file(), "a refused run removes nothing"


def test_crops_are_not_written_to_a_remote_folder(astronaut_HWC, tmp_path, capsys):
    (tmp_path / "one.jpg").write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(astronaut_HWC)))
    assert run(["prepare", "images", str(tmp_path), "memory://out", "--deduplicate"]) == 1
    assert "memory://out: is not a local folder; crops are written to local folders" in capsys.readouterr().err


def test_images_without_duplicates_become_shards(local_ray, astronaut_HWC, tmp_path, capsys):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    jpeg = simplejpeg.encode_jpeg(np.ascontiguousarray(astronaut_HWC))
    (root / "one.jpg").write_bytes(jpeg)
    (root / "two.jpg").write_bytes(jpeg)
    assert run(["prepare", "images", str(root), str(out), "--deduplicate", "--json"]) == WITH_DROPS
    manifest = json.loads(capsys.readouterr().out)
    assert (manifest["frames"], manifest["dropped"]) == (1, 1)
    assert manifest["preprocessing"]["crop"] == "as delivered"
    assert manifest["source"] == f"Images {root}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["video", "IN"], "abaw prepare video: 1 path; expected ROOT [ROOT ...] OUT"),
        (["video", "IN", "OUT"], "IN: no such file or folder; expected .mp4, .avi, .mkv, .mov, .webm"),
        (["video", "IN", "OUT", "--quality", "0"], "--quality: is 0; expected 1 to 100"),
        (["video", "IN", "OUT", "--align", "--size", "0"], "--size: is 0, --min-side is 32; expected 1 or more"),
        (["video", "IN", "OUT", "--align", "--weights", "w.onnx"], "w.onnx: no such file of weights for retinaface"),
        (
            ["video", "IN", "OUT", "--align", "--detector", "mediapipe"],
            "--weights: mediapipe needs its face_landmarker",
        ),
        (["images", "IN", "OUT", "--near", "17"], "--near: is 17; expected 0 to 16"),
        (
            ["images", "IN", "OUT", "--near", "4"],
            "--near: has no effect without --deduplicate; give that too, or leave",
        ),
        (["images", "IN", "OUT", "--min-side", "9"], "--min-side: has no effect without --align or --deduplicate;"),
        (["images", "IN", "OUT", "--deduplicate", "--choose", "left"], "--choose: has no effect without --align;"),
        (["images", "IN", "OUT", "--deduplicate", "--quality", "50"], "--quality: has no effect without --align;"),
        (["video", "IN", "OUT", "--min-side", "9"], "--min-side: has no effect without --align;"),
        (["video", "IN", "OUT", "--size", "9"], "--size: has no effect without --align;"),
        (["video", "IN", "OUT", "--slots", "0"], "--slots: is 0; expected 1 to 65,536"),
        (["images", "IN", "OUT", "--deduplicate", "--slots", "-1"], "--slots: is -1; expected 1 to 65,536"),
        (["lsd", "IN", "OUT", "--slots", "65537"], "--slots: is 65537; expected 1 to 65,536"),
        (["video", "IN", "OUT", "--resume", "--overwrite"], "--resume: is given with --overwrite: --resume keeps what"),
        (["lsd", "IN", "OUT", "--resume", "--overwrite"], "--resume: is given with --overwrite: --resume keeps what"),
        (["video", "s3://b/in", "OUT"], "s3://b/in: is not a local folder; videos are read from local folders, and"),
        (["video", "IN", "s3://b/out"], "s3://b/out: is not a local folder; videos are read from local folders, and"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["prepare", *arguments]) == 1
    assert capsys.readouterr().err.startswith(f"abaw: {message}")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path, capsys, write_video):
    (tmp_path / "thesis.tex").write_text("dear")
    clip = write_video(tmp_path / "clip.mp4", np.zeros((2, 32, 32, 3), np.uint8))
    assert run(["prepare", "video", str(clip), str(tmp_path), "--overwrite"]) == 1
    assert "holds clip.mp4, thesis.tex, which this command does not write" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "dear"
