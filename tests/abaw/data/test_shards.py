import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from abaw.data.affwild2 import read_affwild2
from abaw.data.frames import SCHEMA, residues
from abaw.data.images import read_images
from abaw.data.manifest import DROPS, SOURCES, read_manifest
from abaw.data.shards import open_frames, write_shards
from abaw.problems import BadInput

pytestmark = pytest.mark.usefixtures("local_ray")


def hashes(folder: Path) -> dict[str, str]:
    return {file.path: file.sha256 for file in read_manifest(folder).files}


def test_shards_hold_the_bytes_and_labels_as_delivered(delivery: Any, tmp_path: Path) -> None:
    frames = read_affwild2(delivery.root).frames
    manifest = write_shards(frames, tmp_path / "out", slots=3)
    table = open_frames(tmp_path / "out")
    assert table.schema.names == SCHEMA.names
    present = frames.filter(pl.col("path").is_not_null())
    assert pl.DataFrame(table).drop("image").equals(present.drop("path"))
    assert table["image"].to_pylist() == [Path(path).read_bytes() for path in present["path"]]
    assert (manifest.frames, manifest.videos, manifest.without_image, manifest.dropped) == (20, 5, 2, 0)
    assert manifest.image_sizes == {"32x32": 20}
    assert manifest.splits["train"] == {"frames": 11, "videos": 2, "va": 10, "expr": 7, "au": 3}
    assert manifest == read_manifest(tmp_path / "out")


def test_the_file_of_every_image_can_be_looked_up(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/celebs", [1, 2])
    for number, name in ((1, "nm0000100_1955.jpg"), (2, "nm0000099_1970.JPG")):
        (tree.root / "pool" / "celebs" / f"{number:05d}.jpg").rename(tree.root / "pool" / "celebs" / name)
    (tree.root / "pool" / "celebs" / "bad.jpg").write_bytes(b"")
    write_shards(read_images(tree.root / "pool").frames, tmp_path / "out", slots=2)
    sources = pl.read_parquet(tmp_path / "out" / SOURCES)
    shards = pl.DataFrame(open_frames(tmp_path / "out", columns=["video", "frame", "image"]))
    found = shards.join(sources, on=["video", "frame"])
    assert found.height == 2
    assert all(Path(path).read_bytes() == image for path, image in found["path", "image"].rows())
    assert sorted(Path(path).name for path in sources["path"]) == [
        "bad.jpg",
        "nm0000099_1970.JPG",
        "nm0000100_1955.jpg",
    ]


def test_a_slot_is_one_frame_of_so_many_and_its_files_are_sorted(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", list(range(1, 31)))
    tree.crops("pool/b", list(range(1, 31)))
    manifest = write_shards(read_images(tree.root / "pool").frames, tmp_path / "out", slots=5, rows_per_file=8)
    for slot in range(5):
        rows = pl.DataFrame(open_frames(tmp_path / "out", columns=["video", "frame"], slot=slot))
        assert rows.height == 12
        assert set(residues(rows, 5)) == {slot}
        files = [file for file in manifest.files if file.slot == slot]
        assert [file.frames for file in files] == [8, 4]
        parts = [pl.read_parquet(tmp_path / "out" / file.path, hive_partitioning=False) for file in files]
        assert pl.concat(parts).select("video", "frame").equals(rows)
    assert sum(file.frames for file in manifest.files) == 60


def test_bytes_do_not_depend_on_the_order_of_rows_or_on_overwriting(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", list(range(1, 21)))
    frames = read_images(tree.root / "pool").frames
    write_shards(frames, tmp_path / "one", slots=4)
    write_shards(frames.sample(fraction=1.0, shuffle=True, seed=1), tmp_path / "two", slots=4)
    assert hashes(tmp_path / "one") == hashes(tmp_path / "two")
    assert (tmp_path / "one" / "manifest.json").read_bytes() == (tmp_path / "two" / "manifest.json").read_bytes()
    write_shards(frames.head(5), tmp_path / "two", slots=2, overwrite=True)
    assert open_frames(tmp_path / "two", columns=["frame"])["frame"].to_pylist() == [1, 2, 3, 4, 5]
    assert not (tmp_path / "two" / "slot=3").exists()


def test_images_that_cannot_be_decoded_are_listed_and_the_rest_goes_on(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", list(range(1, 11)))
    folder = tree.root / "pool" / "a"
    whole = (folder / "00002.jpg").read_bytes()
    (folder / "00002.jpg").write_bytes(b"")
    (folder / "00003.jpg").write_bytes(whole[:-50])
    (folder / "00004.jpg").write_bytes(whole[:-2])
    (folder / "00005.jpg").write_bytes(b"GIF89a, no JPEG")
    frames = read_images(tree.root / "pool").frames
    (folder / "00006.jpg").unlink()
    manifest = write_shards(frames, tmp_path / "out", slots=2)
    assert (manifest.frames, manifest.dropped) == (5, 5)
    assert open_frames(tmp_path / "out", columns=["frame"])["frame"].to_pylist() == [1, 7, 8, 9, 10]
    drops = dict(pl.read_parquet(tmp_path / "out" / DROPS).iter_rows())
    assert [Path(path).name for path in drops] == [f"{frame:05d}.jpg" for frame in (2, 3, 4, 5, 6)]
    reasons = list(drops.values())
    assert reasons[0] == "empty file"
    assert reasons[1] == reasons[2] == "no complete JPEG: Premature end of JPEG file"
    assert reasons[3] == "holds a GIF image; expected JPEG, whatever the name says"
    assert reasons[4] == "cannot be read: No such file or directory"


def test_nothing_to_write_is_refused(delivery: Any, tmp_path: Path) -> None:
    frames = read_affwild2(delivery.root).frames
    with pytest.raises(BadInput, match=r"none of the 22 rows has an image"):
        write_shards(frames.with_columns(path=pl.lit(None, pl.String)), tmp_path / "out")
    with pytest.raises(BadInput, match=r"frame 1 of video 102 is there 1 more times"):
        write_shards(pl.concat([frames, frames.head(2)]), tmp_path / "out")
    for path in (delivery.root / "cropped_aligned").rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(BadInput, match=r"none of the 20 images can be used, see drops\.parquet; first: .*empty file"):
        write_shards(frames, tmp_path / "out")


def test_a_folder_that_holds_something_is_refused_and_foreign_files_are_never_removed(
    tree: Any, tmp_path: Path
) -> None:
    tree.crops("pool/a", [1, 2])
    frames = read_images(tree.root / "pool").frames
    out = tmp_path / "out"
    write_shards(frames, out, slots=1)
    before = hashes(out)
    with pytest.raises(
        BadInput, match=r"out: is not empty, it holds .*manifest\.json.*; give --resume to finish it, --overwrite to"
    ):
        write_shards(frames.head(1), out)
    (out / "thesis.tex").write_text("dear")
    with pytest.raises(BadInput, match=r"holds thesis\.tex, which this command does not write or replace"):
        write_shards(frames.head(1), out, overwrite=True)
    assert hashes(out) == before
    assert (out / "thesis.tex").read_text() == "dear"


@pytest.mark.parametrize("slots", [-1, 0, 65_537])
def test_options_that_cannot_be_are_refused_together(slots: int, delivery: Any, tmp_path: Path) -> None:
    frames = read_affwild2(delivery.root).frames
    with pytest.raises(BadInput) as caught:
        write_shards(frames, tmp_path / "out", slots=slots, overwrite=True, resume=True)
    assert list(map(str, caught.value.problems)) == [
        f"--slots: is {slots}; expected 1 to 65,536",
        "--resume: is given with --overwrite: --resume keeps what is done, --overwrite does it again; give one of them",
    ]
    assert not (tmp_path / "out").exists()


def test_going_on_removes_the_copies_of_files_that_are_no_more(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", [1, 2, 3, 4])
    frames, out = read_images(tree.root / "pool").frames, tmp_path / "out"
    first, second = write_shards(frames, out, slots=2).files
    (out / ".arrow").mkdir()
    for file in (first, second):
        (out / ".arrow" / file.copy_name).write_bytes(b"a copy")
    train = pl.when(pl.col("frame") == 1).then(pl.lit("train")).otherwise("split").alias("split")
    files = write_shards(frames.with_columns(train), out, slots=2, resume=True).files
    (kept,) = {first.copy_name, second.copy_name} & {file.copy_name for file in files}
    assert [path.name for path in (out / ".arrow").iterdir()] == [kept]


def test_unfinished_and_damaged_shards_are_refused(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", [1, 2, 3, 4])
    out = tmp_path / "out"
    with pytest.raises(BadInput, match=r"manifest\.json: no manifest: no such folder"):
        read_manifest(out)
    write_shards(read_images(tree.root / "pool").frames, out, slots=2)
    file = out / read_manifest(out).files[0].path
    file.write_bytes(file.read_bytes()[:-10])
    (out / read_manifest_path(out, 1)).unlink()
    with pytest.raises(BadInput) as caught:
        read_manifest(out)
    assert ["missing or not of" in str(problem) for problem in caught.value.problems] == [True, True]
    stored = json.loads((out / "manifest.json").read_text())
    without = {name: value for name, value in stored.items() if name != "frames"}
    for damaged in (
        "",
        '{"schema_version": 2, "fi',
        "[]",
        "\xff",
        json.dumps(without),
        json.dumps({"files": 1} | without),
    ):
        (out / "manifest.json").write_text(damaged, encoding="latin-1")
        with pytest.raises(BadInput, match=r"manifest\.json: is damaged: .*; write the shards again with --resume"):
            read_manifest(out)
    (out / "manifest.json").write_text(json.dumps(stored | {"schema_version": 99}))
    with pytest.raises(BadInput, match="schema version 99; expected 2"):
        read_manifest(out)
    (out / "manifest.json").unlink()
    with pytest.raises(BadInput, match="the shards are unfinished; write them again with --resume or --overwrite"):
        open_frames(out)


def read_manifest_path(out: Path, place: int) -> str:
    path: str = json.loads((out / "manifest.json").read_text())["files"][place]["path"]
    return path


def test_labels_are_read_without_the_images(delivery: Any, tmp_path: Path) -> None:
    write_shards(read_affwild2(delivery.root).frames, tmp_path / "out", slots=2)
    table = open_frames(tmp_path / "out", columns=["video", "expression"], splits=["validation", "test"])
    assert table.column_names == ["video", "expression"]
    assert table["video"].unique().to_pylist() == ["102-30-640x360", "t1"]
    path = tmp_path / "out" / read_manifest(tmp_path / "out").files[0].path
    kinds = {pq.ParquetFile(path).metadata.row_group(0).column(k).path_in_schema: k for k in range(3)}
    assert pq.ParquetFile(path).metadata.row_group(0).column(kinds["image"]).compression == "UNCOMPRESSED"
