from typing import Any

import pytest

from abaw.data.emo135 import read_emo135
from abaw.problems import BadInput


def labels_of(found: Any) -> list[tuple[str, int | None, str]]:
    rows: list[tuple[str, int | None, str]] = found.frames.select("path", "expression", "split").rows()
    return sorted((path.rsplit("/", 2)[-2] + "/" + path.rsplit("/", 1)[-1], k, split) for path, k, split in rows)


def test_lists_have_a_path_and_a_class(tree: Any) -> None:
    tree.file("train.txt", "img/happy face/1.jpg 134\n./img/b/2.jpg\t0\n")
    tree.file("val_list.txt", "img/b/3.JPG 7\n")
    tree.file("test.txt", "img/b/4.jpg\nimg/b/5.jpg 9\n")
    others = ("dev", "licence")
    for name in others:
        tree.file(f"{name}.txt", "img/b/6.jpg 1")
    found = read_emo135(tree.root)
    assert found.track == "emo135"
    nameless = [
        (f"{tree.root}/{name}.txt", "its name says no split; expected train, val or test in it") for name in others
    ]
    assert found.drops.rows() == nameless
    assert labels_of(found) == [
        ("b/2.jpg", 0, "train"),
        ("b/3.JPG", 7, "validation"),
        ("b/4.jpg", None, "test"),
        ("b/5.jpg", 9, "test"),
        ("happy face/1.jpg", 134, "train"),
    ]
    assert labels_of(read_emo135(tree.root / "val_list.txt")) == [("b/3.JPG", 7, "validation")]


def test_lines_that_do_not_fit_are_named(tree: Any) -> None:
    lists = tree.root / "train.txt"
    tree.file("train.txt", "a/1.jpg 3\na/2.jpg 135\na/3.jpg joy\na/4.jpg\na/5.png 1\na/1.jpg 4\n")
    tree.file("val.txt", "a/1.jpg 5\na/6.jpg 6\n")
    found = read_emo135(tree.root)
    assert labels_of(found) == [("a/1.jpg", 3, "train"), ("a/6.jpg", 6, "validation")]
    wrong = "ends in no valid class; expected a class from 0 to 134"
    assert found.drops.rows() == [
        (f"{tree.root}/a/1.jpg", "is in an earlier list too"),
        (f"{tree.root}/a/5.png", "is not named .jpg or .jpeg; expected JPEG files, convert other images"),
        (f"{lists}:2", wrong),
        (f"{lists}:3", wrong),
        (f"{lists}:4", wrong),
        (f"{lists}:6", "a/1.jpg was listed before"),
    ]


def test_class_folders_are_numbered(tree: Any) -> None:
    for folder in ("train/000", "train/134", "val/7", "train/135", "test"):
        tree.file(f"{folder}/x.jpg", "x")
    found = read_emo135(tree.root)
    assert labels_of(found) == [
        ("000/x.jpg", 0, "train"),
        ("134/x.jpg", 134, "train"),
        ("7/x.jpg", 7, "validation"),
        ("test/x.jpg", None, "test"),
    ]
    assert found.drops.rows() == [
        (f"{tree.root}/train/135/x.jpg", "lies in no class folder; expected a class from 0 to 134")
    ]


def test_named_class_folders_count_in_alphabetical_order_when_all_are_there(tree: Any) -> None:
    for k in range(135):
        tree.file(f"train/emotion {k:03d}/x.jpg", "x")
    tree.file("val/emotion 100/x.jpg", "x")
    found = read_emo135(tree.root)
    assert found.frames.filter(split="validation")["expression"].to_list() == [100]
    assert found.frames.filter(split="train")["expression"].to_list() == list(range(135))
    (tree.root / "train" / "emotion 000" / "x.jpg").unlink()
    with pytest.raises(BadInput, match="has 134 class folders that are named by no number; expected all 135, or 0, 1"):
        read_emo135(tree.root)


def test_what_is_no_delivery_is_refused(tree: Any) -> None:
    with pytest.raises(BadInput, match="no such folder or list"):
        read_emo135(tree.root / "none")
    tree.file("all.txt", "a.jpg 1\n")
    with pytest.raises(BadInput, match="its name says no split; expected train, val or test in it"):
        read_emo135(tree.root / "all.txt")
