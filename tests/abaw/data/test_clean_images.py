import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import simplejpeg
from PIL import Image

from abaw.data.clean_images import Cleaning, check_group, clean_images
from abaw.data.cropping import Alignment
from abaw.data.detectors.detector import DetectorConfig, find_weights
from abaw.data.images import read_images
from abaw.problems import BadInput


def picture(seed, size=64):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def save(path, pixels_HWC, quality=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels_HWC), quality=quality))
    return str(path)


def test_what_cannot_be_used_and_duplicates_are_dropped_with_their_reasons(local_ray, tmp_path):
    root = tmp_path / "in"
    kept = [save(root / "a" / "first.jpg", picture(1)), save(root / "a" / "other.jpg", picture(2))]
    exact = save(root / "b" / "copy.jpg", picture(1))
    near = save(root / "b" / "near.jpg", picture(1), quality=60)
    small = save(root / "b" / "small.jpg", picture(3, size=24))
    (root / "b" / "text.jpg").write_text("dear diary")
    (root / "b" / "notes.txt").write_text("dear diary")
    found = read_images(root)
    cleaned = clean_images(found, tmp_path / "out", Cleaning(near=3))
    assert cleaned.frames["path"].to_list() == kept
    assert cleaned.frames.schema == found.frames.schema
    reasons = dict(cleaned.drops.rows())
    assert reasons[exact] == f"exact duplicate: of {kept[0]}"
    assert reasons[near] == f"near duplicate: of {kept[0]}"
    assert reasons[small] == "too small: 24 x 24 pixels; expected 32 on a side"
    assert reasons[str(root / "b" / "text.jpg")].startswith("no complete JPEG: "), "as without cleaning"
    assert len(reasons) == 5
    assert set(found.drops["path"]) == {str(root / "b" / "notes.txt")} < set(reasons)
    without = clean_images(found, tmp_path / "out", Cleaning())
    assert set(without.frames["path"]) == {*kept, exact, near}
    with pytest.raises(BadInput, match=r"too small: .*; none of the 6 pictures is left"):
        clean_images(found, tmp_path / "out", Cleaning(min_side=1000))


def test_faces_are_cut_out_and_a_group_that_is_done_is_not_done_again(astronaut_HWC, face_task, tmp_path):
    rows = [
        ("set/a", 1, save(tmp_path / "face.jpg", astronaut_HWC)),
        ("set/a", 2, save(tmp_path / "empty.jpg", picture(4, size=200))),
    ]
    weights = find_weights(DetectorConfig(backend="mediapipe", weights=face_task))
    cleaning = Cleaning(alignment=Alignment(weights=weights, size=80))
    note = check_group(rows, tmp_path / "out", cleaning)
    face, empty = json.loads(Path(note).read_text())["pictures"]
    crop = tmp_path / "out" / "crops" / "set" / "a" / "00001.jpg"
    assert (face["image"], face["reason"]) == (str(crop), "")
    assert simplejpeg.decode_jpeg(crop.read_bytes()).shape == (80, 80, 3)
    assert (empty["image"], empty["reason"]) == (rows[1][2], "no face")
    made = Path(note).stat().st_mtime_ns
    assert check_group(rows, tmp_path / "out", cleaning) == note
    assert Path(note).stat().st_mtime_ns == made, "all is there"
    crop.unlink()
    check_group(rows, tmp_path / "out", cleaning)
    assert crop.exists(), "what is missing is made"
    large = crop.stat().st_size
    check_group(rows, tmp_path / "out", dataclasses.replace(cleaning, quality=50))
    assert crop.stat().st_size < large, "with other options it is made again"
    save(tmp_path / "face.jpg", picture(5, size=200))
    check_group(rows, tmp_path / "out", cleaning)
    face, _ = json.loads(Path(note).read_text())["pictures"]
    assert face["reason"] == "no face", "another picture under the same path is looked at"


def test_the_crop_of_a_duplicate_does_not_stay(local_ray, astronaut_HWC, face_task, tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    first = save(root / "a" / "1.jpg", astronaut_HWC)
    second = save(root / "a" / "2.jpg", astronaut_HWC)
    weights = find_weights(DetectorConfig(backend="mediapipe", weights=face_task))
    cleaned = clean_images(read_images(root), out, Cleaning(alignment=Alignment(weights=weights), near=0))
    crops = [str(path) for path in sorted((out / "crops").rglob("*.jpg"))]
    assert cleaned.frames["path"].to_list() == crops == [str(out / "crops" / "a" / "00001.jpg")]
    assert cleaned.drops.rows() == [(second, f"exact duplicate: of {first}")]
    (root / "a" / "1.jpg").unlink()
    again = clean_images(read_images(root), out, Cleaning(alignment=Alignment(weights=weights), near=0))
    crops = [str(path) for path in sorted((out / "crops").rglob("*.jpg"))]
    assert again.frames["path"].to_list() == crops == [str(out / "crops" / "a" / "00002.jpg")], "the other is gone"
    assert len(list((out / "notes").iterdir())) == 1


def test_an_original_is_never_overwritten_by_its_crop(local_ray, astronaut_HWC, face_task, tmp_path):
    originals = [save(tmp_path / "set" / "1.jpg", astronaut_HWC), save(tmp_path / "next" / "2.jpg", astronaut_HWC)]
    before = [Path(path).read_bytes() for path in originals]
    listed = tmp_path / "work" / "list.txt"
    listed.parent.mkdir()
    listed.write_text(f"{originals[0]}\n../next/2.jpg\n")
    weights = find_weights(DetectorConfig(backend="mediapipe", weights=face_task))
    cleaning, out = Cleaning(alignment=Alignment(weights=weights)), tmp_path / "work" / "out"
    cleaned = clean_images(read_images(listed), out, cleaning)
    assert all(Path(path).is_relative_to(out / "crops") for path in cleaned.frames["path"])
    assert sorted(cleaned.frames["original"]) == sorted([f"{out.parent}/../next/2.jpg", originals[0]])
    assert [Path(path).read_bytes() for path in originals] == before
    with pytest.raises(BadInput, match=r"set: lies in .*/crops, where its crops would overwrite it; give another fol"):
        clean_images(read_images(out / "crops"), out, cleaning)
    found = read_images(tmp_path / "set")
    for video in ("/elsewhere/x", "../x", "a/../../x"):
        outside = dataclasses.replace(found, frames=found.frames.with_columns(video=pl.lit(video)))
        with pytest.raises(BadInput, match=rf"^{re.escape(video)}: names no folder below that of the crops"):
            clean_images(outside, out, cleaning)
