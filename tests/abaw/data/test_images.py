from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.data.images import find_images, read_images
from abaw.data.stills import number_frames, split_named
from abaw.data.storage import as_path
from abaw.problems import BadInput


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def rows_of(frames: pl.DataFrame) -> list[tuple[str, int, str]]:
    return [(video, frame, Path(path).name) for video, frame, path in frames.select("video", "frame", "path").rows()]


def test_images_that_are_no_frames_are_drops(tree: Any) -> None:
    tree.crops("pool/p1", [1, 2])
    tree.crops("pool/.p2.unfinished", [1])
    touch(tree.root / "pool" / "p1", "00000.jpg", "3.jpg", "00004.JPG", ".DS_Store")
    rows, drops = find_images([tree.root / "pool"])
    assert rows["frame"].to_list() == [1, 2]
    assert [Path(path).name for path, _ in drops] == ["00000.jpg", "00004.JPG", "3.jpg"]
    assert {reason for _, reason in drops} == {"is not named as a frame, such as 00001.jpg, counted from 1"}


def test_a_tree_has_a_video_a_folder_and_no_labels(tmp_path: Path) -> None:
    touch(tmp_path / "faces", "0000045/001.jpg", "0000045/015.jpg", "a/b/x.jpg", "a/b/Y.JPEG", "a/z.jpg", "own.jpg")
    found = read_images(tmp_path / "faces")
    assert rows_of(found.frames) == [
        ("0000045", 1, "001.jpg"),
        ("0000045", 15, "015.jpg"),
        ("a", 1, "z.jpg"),
        ("a/b", 1, "Y.JPEG"),
        ("a/b", 2, "x.jpg"),
        ("faces", 1, "own.jpg"),
    ]
    assert found.track == "mtl"
    assert found.frames["split"].unique().to_list() == ["unlabelled"]
    assert found.frames["expression"].null_count() == 6
    assert found.frames["au"].to_list() == [[None] * 12] * 6


def test_a_root_that_is_given_from_inside_has_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "faces", "00001.jpg", "sub/00001.jpg")
    monkeypatch.chdir(tmp_path / "faces" / "sub")
    assert set(read_images(Path("..")).frames["video"]) == {"faces", "sub"}
    assert set(find_images([Path("..")])[0]["video"]) == {"faces", "sub"}


def test_celeba_casia_and_imdb_wiki_keep_every_image(tmp_path: Path) -> None:
    touch(tmp_path / "celeba", "img_align_celeba/000001.jpg", "img_align_celeba/202599.jpg")
    touch(tmp_path / "imdb", "00/nm0000100_rm12818688_1955-1-6_2003.jpg", "00/nm0000100_rm99_1955-1-6_2003.jpg")
    assert rows_of(read_images(tmp_path / "celeba").frames) == [
        ("img_align_celeba", 1, "000001.jpg"),
        ("img_align_celeba", 202599, "202599.jpg"),
    ]
    assert [frame for _, frame, _ in rows_of(read_images(tmp_path / "imdb").frames)] == [1, 2]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.from_regex(r"[0-9x]{1,3}", fullmatch=True)), min_size=1, unique=True)
)
def test_frames_are_different_numbers_from_one(names: list[tuple[str, str]]) -> None:
    images = pl.DataFrame({"video": [v for v, _ in names], "name": [f"{n}.jpg" for _, n in names]})
    numbered = number_frames(images.with_columns(path=pl.col("name")))
    assert numbered.height == len(names)
    assert not numbered.select(pl.struct("video", "frame").is_duplicated().any()).item()
    assert numbered["frame"].min() >= 1  # type: ignore[operator]
    for (_,), rows in numbered.group_by("video"):
        stems = [name.removesuffix(".jpg") for name in rows["name"]]
        numbers = [int(stem) for stem in stems if stem.isdigit()]
        if len(set(numbers)) == len(stems):
            shift = 1 if min(numbers) == 0 else 0
            assert rows["frame"].to_list() == [number + shift for number in numbers]
        else:
            assert dict(zip(sorted(rows["name"]), range(1, 1000), strict=False)) == dict(
                zip(rows["name"], rows["frame"], strict=True)
            )


def test_a_list_names_images_relative_to_itself_or_anywhere(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "all.txt"
    lines = ["../faces/p 1/b.jpg", "./c.JPG", "", "/data/x/1.jpg", "s3://bucket/y/2.jpg", "d.png", "c.JPG"]
    path.write_bytes("\r\n".join(lines).encode() + b"\n\xff.jpg\n")
    found = read_images(path)
    assert found.frames.select("video", "frame", "path").rows() == [
        ("bucket/y", 2, "s3://bucket/y/2.jpg"),
        ("data/x", 1, "/data/x/1.jpg"),
        ("faces/p 1", 1, f"{tmp_path}/lists/../faces/p 1/b.jpg"),
        ("lists", 1, f"{tmp_path}/lists/c.JPG"),
    ]
    assert found.drops.rows() == [
        (f"{path}:7", "c.JPG was listed before"),
        (f"{path}:8", "is not UTF-8 text"),
        (f"{tmp_path}/lists/d.png", "is not named .jpg or .jpeg; expected JPEG files, convert other images"),
    ]


def test_nothing_to_read_is_refused_with_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none: no such folder or list; expected a folder of JPEGs, or a text file"):
        read_images(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"empty: holds no image that can be used$"):
        read_images(tmp_path / "empty")
    touch(tmp_path / "pngs", "1.png")
    with pytest.raises(BadInput, match=r"1 files or lines were left out: .*1\.png: is not named \.jpg or \.jpeg"):
        read_images(tmp_path / "pngs")


def test_another_file_system_is_read_alike() -> None:
    root = as_path("memory://images/celebs")
    for name in ("p/1.jpg", "p/2.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    frames = read_images(root).frames
    assert frames.select("video", "frame", "path").rows() == [
        ("p", 1, "memory://images/celebs/p/1.jpg"),
        ("p", 2, "memory://images/celebs/p/2.jpg"),
    ]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train/ANGER", "train"),
        ("Training_Set/x", "train"),
        ("val_set/images", "validation"),
        ("LSD/Validation Set", "validation"),
        ("list-test.txt", "test"),
        ("TESTING", "test"),
        ("latest/x", None),
        ("trainer/valley", None),
    ],
)
def test_splits_are_whole_words_of_a_name(name: str, split: str | None) -> None:
    assert pl.select(split_named(pl.lit(name))).item() == split
