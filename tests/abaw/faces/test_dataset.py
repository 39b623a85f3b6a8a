import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from abaw.annotations import read_annotation, read_annotations, read_mtl_list
from abaw.faces.dataset import FacesConfig, write_faces
from abaw.faces.stills import CLASS_FOLDERS
from abaw.problems import BadInput
from abaw.tracks import TRACKS

CONFIG = FacesConfig(videos=6, frames=24, test_videos=5, pool_people=1, pool_frames=6, lsd_people=3, size=48, seed=5)
FOLDERS = {"va": "VA_Estimation_Challenge", "expr": "EXPR_Classification_Challenge", "au": "AU_Detection_Challenge"}


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def written(local_ray, tmp_path_factory):
    out = tmp_path_factory.mktemp("faces") / "out"
    return out, write_faces(out, CONFIG, progress=False, workers=1)


def crops_of(root: Path) -> dict[str, set[int]]:
    return {f.name: {int(p.stem) for p in f.iterdir()} for f in (root / "cropped_aligned").iterdir()}


def rows_of(path: Path) -> list[str]:
    return [line.split(",")[0] for line in path.read_text().splitlines()[1:]]


def test_the_bytes_do_not_depend_on_the_number_of_workers(written, tmp_path):
    write_faces(tmp_path / "two", CONFIG, progress=False, workers=2)
    assert digests(written[0]) == digests(tmp_path / "two")


def test_what_a_killed_run_left_is_finished_and_complete_videos_are_kept(written, tmp_path):
    out = tmp_path / "killed"
    shutil.copytree(written[0], out)
    (out / "manifest.json").unlink()
    lost, *kept = sorted((out / "cropped_aligned").iterdir())
    lost.rename(lost.with_name(f".{lost.name}.unfinished"))
    made_at = {path: path.stat().st_ino for video in kept for path in video.iterdir()}
    assert write_faces(out, CONFIG, progress=False, resume=True) == written[1]
    assert digests(out) == digests(written[0])
    assert {path: path.stat().st_ino for path in made_at} == made_at


def test_the_layout_is_complete(written):
    out, summary = written
    assert {path.name for path in out.iterdir()} == {
        "cropped_aligned", "annotations", "training_set_annotations.txt", "validation_set_annotations.txt",
        "test_templates", "held_out_truth", "pool", "lsd", "contact_sheet.png", "README.md", "manifest.json",
    }  # fmt: skip
    for folder in FOLDERS.values():
        assert {path.name for path in (out / "annotations" / folder).iterdir()} == {"Train_Set", "Validation_Set"}
        assert {path.name for path in (out / "held_out_truth" / folder).iterdir()} == {"Test_Set"}
    assert not list(out.rglob(".*")), "unfinished files were left"
    crops = crops_of(out)
    assert len(crops) == summary.videos == 11
    assert sum(map(len, crops.values())) == summary.crops
    assert len(list((out / "pool").rglob("*.jpg"))) == summary.pool_crops == 6
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["config"]["seed"] == 5
    assert all(manifest["traps"].values())


def test_images_are_faces_of_the_asked_size(written):
    for path in [*(written[0] / "cropped_aligned").rglob("00001.jpg"), *(written[0] / "lsd").rglob("*_08.jpg")]:
        pixel_HW3 = simplejpeg.decode_jpeg(path.read_bytes())
        assert pixel_HW3.shape == (48, 48, 3)
        assert pixel_HW3.std() > 10
    assert Image.open(written[0] / "contact_sheet.png").size[0] == 8 * 48


@pytest.mark.parametrize("name", ["va", "expr", "au"])
def test_annotations_are_official_and_cover_every_frame(written, name):
    out, _ = written
    crops, traps = crops_of(out), json.loads((out / "manifest.json").read_text())["traps"]
    extra, missing = traps["extra_label_lines"], traps["missing_crops"]
    for path in (out / "annotations" / FOLDERS[name]).rglob("*.txt"):
        table = read_annotation(path, TRACKS[name].tasks[0])
        frames = len(crops[path.stem]) + len(missing.get(path.stem, []))
        assert len(table) == frames + extra.get(path.stem, 0)
        holed = table.drop("frame").null_count().to_numpy().sum() > 0
        assert holed == (name in traps["annotation_gaps"].get(path.stem, []))
    sentinel = "-5" if name == "va" else "-1"
    text = (out / "annotations" / FOLDERS[name] / "Train_Set" / "102.txt").read_text()
    assert sentinel in text.replace("\n", ",").split(",") or f"\n{sentinel}.0000" in text


def test_multi_task_lists_are_sparse_and_have_crops(written):
    out, _ = written
    crops = crops_of(out)
    for file in ("training_set_annotations.txt", "validation_set_annotations.txt"):
        table = read_mtl_list(out / file)
        for video, frame in table.select("video", "frame").iter_rows():
            assert frame in crops[video]
        first = table.filter(table["video"] == table["video"][0])["frame"].to_numpy()
        assert first[0] == 1
        assert len(set(np.diff(first).tolist())) > 1, "the frames must be sparse, and not at one distance"
        labels = table.drop("video", "frame")
        assert not labels.select(all_null=labels.null_count().sum_horizontal() < 0)["all_null"].any()


@pytest.mark.parametrize("name", ["va", "expr", "au"])
def test_templates_ask_for_every_frame_of_the_test_videos(written, name):
    out, _ = written
    truth = read_annotations(out / "held_out_truth" / FOLDERS[name] / "Test_Set", TRACKS[name].tasks[0])
    assert truth.drop("video", "frame").null_count().to_numpy().sum() == 0
    rows = rows_of(out / "test_templates" / f"{name}.txt")
    assert sorted(rows) == sorted(
        f"{video}/{frame:05d}.jpg" for video, frame in truth.select("video", "frame").iter_rows()
    )
    crops = crops_of(out)
    without = [row for row in rows if int(row.split("/")[1][:5]) not in crops[row.split("/")[0]]]
    assert without, "some rows must have no crop"


def test_the_multi_task_template_has_the_rows_of_its_truth(written):
    out, _ = written
    truth = read_mtl_list(out / "held_out_truth" / "mtl.txt")
    assert truth.null_count().to_numpy().sum() == 0
    rows = rows_of(out / "test_templates" / "mtl.txt")
    assert rows == [f"{video}/{frame:05d}.jpg" for video, frame in truth.select("video", "frame").iter_rows()]


def test_labels_of_test_videos_are_nowhere_else(written):
    out, _ = written
    tested = set(read_mtl_list(out / "held_out_truth" / "mtl.txt")["video"])
    labelled = {path.stem for path in (out / "annotations").rglob("*.txt")}
    for file in ("training_set_annotations.txt", "validation_set_annotations.txt"):
        labelled |= set(read_mtl_list(out / file)["video"])
    assert not tested & labelled
    assert tested | labelled == set(crops_of(out))


def test_single_images_lie_in_the_organisers_folders(written):
    out, summary = written
    assert CLASS_FOLDERS == ("ANGRER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE")
    for split in ("train", "validation"):
        assert {path.name for path in (out / "lsd" / split).iterdir()} == set(CLASS_FOLDERS)
    rows = rows_of(out / "lsd" / "test_template.txt")
    assert set(rows) == {path.name for path in (out / "lsd" / "test").iterdir()}
    truth = dict(line.split(",") for line in (out / "held_out_truth" / "lsd.txt").read_text().splitlines()[1:])
    assert list(truth) == rows
    assert set(truth.values()) == set("012345")
    assert len(list((out / "lsd").rglob("*.jpg"))) == summary.lsd_images == 90


def test_a_folder_that_is_not_empty_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"is not empty.*name a new one"):
        write_faces(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_sizes_that_are_too_small_are_refused_together(tmp_path):
    with pytest.raises(BadInput) as caught:
        write_faces(tmp_path / "out", FacesConfig(videos=1, frames=2, seed=-1))
    assert [problem.path for problem in caught.value.problems] == ["--videos", "--frames", "--seed"]
    assert not (tmp_path / "out").exists()
