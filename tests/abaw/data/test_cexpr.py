from typing import Any

import pytest

from abaw.data.cexpr import read_cexpr
from abaw.problems import BadInput
from abaw.tracks import CEXPR

HEADER = ",".join(CEXPR.columns)


def test_videos_without_labels_are_test_videos(tree: Any) -> None:
    tree.crops("cropped/01", [1, 3])
    tree.crops("cropped/02", [1])
    found = read_cexpr(tree.root)
    assert found.track == "cexpr"
    assert found.frames.select("video", "frame", "expression", "split").rows() == [
        ("01", 1, None, "test"),
        ("01", 3, None, "test"),
        ("02", 1, None, "test"),
    ]


def test_label_files_make_training_videos(tree: Any) -> None:
    tree.crops("cropped/01", [1, 3])
    tree.crops("cropped/011", [1])
    tree.file("annotations/01.txt", f"{HEADER}\n6\n2\n9\n-1\n")
    tree.file("annotations/03.txt", f"{HEADER}\n6\n")
    tree.file("readme.txt", "hello")
    found = read_cexpr(tree.root)
    assert found.frames.select("video", "frame", "expression", "split").rows() == [
        ("01", 1, 6, "train"),
        ("01", 2, 2, "train"),
        ("01", 3, None, "train"),
        ("011", 1, None, "test"),
    ]
    assert found.frames["path"].null_count() == 1
    assert found.drops.rows() == [
        (
            f"{tree.root}/annotations/01.txt:4",
            "expression is '9'; expected an integer from 0 to 6, or -1 where not annotated",
        ),
        (f"{tree.root}/annotations/03.txt", "no video 03 has crops; expected <video>.txt"),
        (f"{tree.root}/readme.txt", "no video readme has crops; expected <video>.txt"),
    ]


def test_labels_that_would_shift_and_a_folder_without_crops_are_refused(tree: Any) -> None:
    tree.crops("01", [1])
    tree.file("01.txt", f"{HEADER}\n1\n\n2\n")
    tree.file("again/01.txt", f"{HEADER}\n1\n")
    with pytest.raises(BadInput) as caught:
        read_cexpr(tree.root)
    first, second = map(str, caught.value.problems)
    assert first.endswith("01.txt:3: found ''; expected 1 values (expression)")
    assert f"again/01.txt: video 01 has labels in {tree.root}/01.txt too; remove one of them" in second
    tree.file("none/01/1.jpg", "x")
    with pytest.raises(BadInput, match=r"holds no crops; expected <video>/00001\.jpg, \.\.\.; 1 other files are there"):
        read_cexpr(tree.root / "none")
