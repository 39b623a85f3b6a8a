import os
from pathlib import Path
from typing import Any

import pytest

from abaw.data.files import list_files, list_jpegs
from abaw.data.storage import as_path
from abaw.problems import BadInput


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_files_are_sorted_with_their_folder_below_the_root(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/10.jpg", "a/c/1.jpg", "0.jpg", ".hidden/1.jpg", "b/.DS_Store"):
        touch(tmp_path / name)
    files, drops = list_files(tmp_path)
    assert files.select("folder", "name").rows() == [
        ("", "0.jpg"),
        ("a/c", "1.jpg"),
        ("b", "10.jpg"),
        ("b", "2.jpg"),
    ]
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in files["path"])
    assert drops == []


def test_jpegs_have_any_spelling_and_other_types_are_drops(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JPG", "c.Jpeg", "d.png", "e", "f.jpg.txt"):
        touch(tmp_path / name)
    images, drops = list_jpegs(tmp_path)
    assert images["name"].to_list() == ["a.jpg", "b.JPG", "c.Jpeg"]
    assert [(Path(path).name, reason) for path, reason in drops] == [
        (name, "is not named .jpg or .jpeg; expected JPEG files, convert other images")
        for name in ("d.png", "e", "f.jpg.txt")
    ]


def test_a_link_to_a_folder_above_is_named_and_other_links_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "root" / "a" / "1.jpg")
    touch(tmp_path / "elsewhere" / "2.jpg")
    (tmp_path / "root" / "a" / "loop").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "root" / "a")
    (tmp_path / "root" / "self.jpg").symlink_to("self.jpg")
    files, drops = list_files(tmp_path / "root")
    found = [f"{folder}/{name}" for folder, name in files.select("folder", "name").iter_rows()]
    assert found == ["/self.jpg", "a/1.jpg", "linked/2.jpg", "linked/back/1.jpg"]
    assert sorted(os.path.relpath(path, tmp_path / "root") for path, _ in drops) == ["a/loop", "linked/back/loop"]
    assert {reason for _, reason in drops} == {"is a symbolic link to a folder above it; remove the link"}


def test_names_that_are_not_utf8_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.jpg")
    with open(os.fsencode(tmp_path / "a") + b"/caf\xe9.jpg", "wb") as file:
        file.write(b"x")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    for name in (b"1.jpg", b"2.jpg"):
        with open(os.fsencode(tmp_path) + b"/\xff/" + name, "wb") as file:
            file.write(b"x")
    files, drops = list_files(tmp_path)
    assert files["name"].to_list() == ["1.jpg"]
    assert sorted(path.removeprefix(str(tmp_path)) for path, _ in drops) == [
        "/\\xff/1.jpg",
        "/\\xff/2.jpg",
        "/a/caf\\xe9.jpg",
    ]
    assert {reason for _, reason in drops} == {"its name is not UTF-8; rename it"}


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="none: no such folder"):
        list_files(tmp_path / "none")


@pytest.fixture
def remote() -> Any:
    """A folder of fsspec's file system in memory."""
    root = as_path("memory://bucket/set")
    for name in ("b/00002.jpg", "a/c/1.JPG", "0.jpg", ".cache/1.jpg", "note.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def test_other_file_systems_give_the_same_table(remote: Any) -> None:
    images, drops = list_jpegs(remote)
    assert images.rows() == [
        ("", "0.jpg", "memory://bucket/set/0.jpg"),
        ("a/c", "1.JPG", "memory://bucket/set/a/c/1.JPG"),
        ("b", "00002.jpg", "memory://bucket/set/b/00002.jpg"),
    ]
    assert [path for path, _ in drops] == ["memory://bucket/set/note.txt"]
    assert as_path(images["path"][2]).read_bytes() == b"x"
