from pathlib import Path
from typing import Any

import pytest

from abaw.data.lsd import read_lsd
from abaw.problems import BadInput
from abaw.tracks import LSD


def test_class_folders_splits_and_the_misspelt_one(tree: Any) -> None:
    for k, name in enumerate(("ANGRER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE")):
        tree.crops(f"Training_Set/{name}", [k + 1])
    tree.crops("Validation_Set/ANGER/batch 1", [1])
    tree.crops("test", [1, 2])
    found = read_lsd(tree.root)
    assert found.track == "lsd"
    rows = found.frames.select("video", "frame", "expression", "split").rows()
    assert rows == [
        *((f"Training_Set/{n}", k + 1, k, "train") for k, n in enumerate(("ANGRER", *map(str.upper, LSD.columns[1:])))),
        ("Validation_Set/ANGER/batch 1", 1, 0, "validation"),
        ("test", 1, None, "test"),
        ("test", 2, None, "test"),
    ]
    assert found.drops.is_empty()


def test_the_number_in_a_name_that_counts_from_zero_is_kept(tree: Any) -> None:
    tree.crops("test", [1])
    for number in (0, 9, 10):
        (tree.root / "test" / "00001.jpg").with_name(f"{number}.jpg").write_bytes(b"x")
    (tree.root / "test" / "00001.jpg").unlink()
    frames = read_lsd(tree.root).frames
    assert [(frame, Path(path).name) for frame, path in frames.select("frame", "path").rows()] == [
        (1, "0.jpg"),
        (10, "9.jpg"),
        (11, "10.jpg"),
    ]


def test_images_that_fit_nowhere_are_named(tree: Any) -> None:
    tree.crops("train/ANGER", [1])
    tree.crops("train/NEUTRAL", [1])
    tree.crops("more/ANGER", [1])
    tree.file("train/FEAR/1.png", "x")
    found = read_lsd(tree.root)
    assert found.frames.height == 1
    assert {path.removeprefix(str(tree.root)): reason.split(";")[0] for path, reason in found.drops.rows()} == {
        "/more/ANGER/00001.jpg": "lies in no folder named train, val or test",
        "/train/FEAR/1.png": "is not named .jpg or .jpeg",
        "/train/NEUTRAL/00001.jpg": "lies in no class folder",
    }
    with pytest.raises(BadInput, match="holds no image that can be used; 1 files or lines were left out"):
        read_lsd(tree.root / "more")
