import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from abaw.data.affectnet import NPY_BYTES, _scalar, read_affectnet
from abaw.folds import official_fold
from abaw.problems import BadInput

HEADER = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"


def row(path: str, *labels: object) -> str:
    return ",".join([path, "1,2,3,4,1.0;2.0", *map(str, labels)])


def table(tree: Any, name: str, *rows: str, header: str | None = HEADER) -> None:
    tree.file(name, "\n".join([*([header] if header else []), *rows]) + "\n")


def image(tree: Any, *names: str) -> None:
    for name in names:
        tree.file(f"Manually_Annotated_Images/{name}", "x")


def labels_of(found: Any) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = found.frames.select(
        "video", "path", "expression", "valence", "arousal", "split"
    ).rows()
    return [(video, Path(path).name, *rest) for video, path, *rest in rows]


def drops_of(found: Any, root: Path) -> dict[str, str]:
    return {path.removeprefix(f"{root}/"): reason for path, reason in found.drops.rows()}


def test_tables_give_labels_by_subdirectory(tree: Any) -> None:
    image(tree, "1/aa.jpg", "1/bb.JPG", "689/aa.jpg")
    table(tree, "training.csv", row("1/aa.jpg", 1, 0.5, -0.25), row("689/aa.jpg", 7, -2, -2))
    # The validation table was also delivered without a header.
    table(tree, "validation.csv", row("1/bb.JPG", 0, 0, 1), header=None)
    found = read_affectnet(tree.root)
    assert found.track == "affectnet8"
    assert labels_of(found) == [
        ("Manually_Annotated_Images/1/train", "aa.jpg", 1, 0.5, -0.25, "train"),
        ("Manually_Annotated_Images/1/validation", "bb.JPG", 0, 0.0, 1.0, "validation"),
        ("Manually_Annotated_Images/689", "aa.jpg", 7, None, None, "train"),
    ]
    held_out = official_fold(found.frames).held_out(0)
    assert held_out == ["Manually_Annotated_Images/1/validation"], "the tables share folders, and that is no leak"
    assert found.drops.is_empty()
    again = read_affectnet(tree.root / ".." / tree.root.name)
    assert again.drops.is_empty(), "a table is known however its folder is spelled"


def test_seven_classes_and_the_codes_that_are_no_class(tree: Any) -> None:
    names = [f"1/{code:02d}.jpg" for code in range(11)]
    image(tree, *names)
    table(tree, "training.csv", *(row(name, code, -2, -2) for code, name in enumerate(names)))
    eight, seven = read_affectnet(tree.root), read_affectnet(tree.root, classes=7)
    assert (eight.frames["expression"].to_list(), eight.track) == (list(range(8)), "affectnet8")
    assert (seven.frames["expression"].to_list(), seven.track) == (list(range(7)), "affectnet7")
    assert seven.drops["reason"].to_list() == [
        f"expression {code} is none of the 7 classes"
        for code in ("7 (Contempt)", "8 (None)", "9 (Uncertain)", "10 (No-Face)")
    ]
    assert [Path(path).name for path in eight.drops["path"]] == ["08.jpg", "09.jpg", "10.jpg"]
    with pytest.raises(ValueError, match="classes is 6; expected 7 or 8"):
        read_affectnet(tree.root, classes=6)


def test_rows_and_files_that_do_not_fit_are_named_and_cost_nothing_else(tree: Any) -> None:
    image(tree, "1/a.jpg", "1/b.jpg", "1/c.jpg", "1/d.png", "1/extra.jpg")
    rows = [
        row("1/a.jpg", 11, 0.5, 0.5),
        row("1/b.jpg", 2, 1.5, "x"),
        row("1/c.jpg", 3, 0, 0),
        row("1/c.jpg", 4, 0, 0),
        row("1/d.png", 1, 0, 0),
        row("1/gone.jpg", 1, 0, 0),
        "1/c.jpg,1",
    ]
    table(tree, "training.csv", *rows)
    found = read_affectnet(tree.root)
    assert [label[1:5] for label in labels_of(found)] == [
        ("a.jpg", None, 0.5, 0.5),
        ("b.jpg", 2, None, None),
        ("c.jpg", 3, 0.0, 0.0),
    ]
    assert found.drops.rows() == [
        (
            f"{tree.root}/Manually_Annotated_Images/1/d.png",
            "is not named .jpg or .jpeg; expected JPEG files, convert other images",
        ),
        (f"{tree.root}/Manually_Annotated_Images/1/extra.jpg", "is not listed in training.csv"),
        (f"{tree.root}/training.csv:2", "expression is '11'; expected an integer from 0 to 10"),
        (f"{tree.root}/training.csv:3", "arousal is 'x'; expected a number in [-1, 1], or -2"),
        (f"{tree.root}/training.csv:3", "valence is '1.5'; expected a number in [-1, 1], or -2"),
        (f"{tree.root}/training.csv:5", "1/c.jpg was listed before"),
        (f"{tree.root}/training.csv:7", f"1/gone.jpg is not below {tree.root}"),
        (f"{tree.root}/training.csv:8", "has 2 values; expected 9"),
    ]


def test_tables_that_cannot_be_read_and_unclear_images_are_refused(tree: Any) -> None:
    table(tree, "training.csv", "1/a.jpg,1", header="path,label")
    with pytest.raises(
        BadInput, match=r"training\.csv:1: lacks the columns subDirectory_filePath, expression, valence"
    ):
        read_affectnet(tree.root)
    tree.file("training.csv", "\n")
    with pytest.raises(BadInput, match=r"training\.csv: is empty; expected the columns subDirectory_filePath"):
        read_affectnet(tree.root)
    image(tree, "1/a.jpg", "copy/1/a.jpg", "1/b.jpg", "copy/1/b.jpg")
    table(tree, "training.csv", row("1/a.jpg", 1, 0, 0), row("1/b.jpg", 1, 0, 0))
    with pytest.raises(BadInput, match=r"a\.jpg: is the second of 2 images for 1/a\.jpg; expected one, move one away"):
        read_affectnet(tree.root)


def annotate(tree: Any, split: str, number: int, **labels: Any) -> None:
    tree.file(f"{split}/images/{number}.jpg", "x")
    (tree.root / split / "annotations").mkdir(exist_ok=True)
    for name, value in labels.items():
        np.save(tree.root / split / "annotations" / f"{number}_{name}.npy", np.array(value))


def test_folders_of_images_and_annotations(tree: Any) -> None:
    annotate(tree, "train_set", 0, exp="3", val="0.25", aro="-1", lnd=np.zeros(136))
    annotate(tree, "train_set", 12, exp=7, val=-2.0, aro=-2.0)
    annotate(tree, "val_set", 5, exp="0", val="0.5", aro="0.5")
    found = read_affectnet(tree.root)
    assert labels_of(found) == [
        ("train_set/images", "0.jpg", 3, 0.25, -1.0, "train"),
        ("train_set/images", "12.jpg", 7, None, None, "train"),
        ("val_set/images", "5.jpg", 0, 0.5, 0.5, "validation"),
    ]
    assert found.frames["frame"].to_list() == [1, 13, 5]
    assert found.drops.is_empty()
    assert read_affectnet(tree.root, classes=7).drops["reason"].to_list() == [
        "expression 7 (Contempt) is none of the 7 classes"
    ]


def test_annotations_that_cannot_be_read_are_named(tree: Any) -> None:
    annotate(tree, "train_set", 1, exp="3", val="0.5")
    annotate(tree, "train_set", 2, exp="happy", val=[0.1, 0.2], aro="0")
    (tree.root / "train_set" / "annotations" / "1_val.npy").write_bytes(b"\x93NUMPY torn")
    tree.file("train_set/1.jpg", "x")
    found = read_affectnet(tree.root)
    assert [label[1:5] for label in labels_of(found)] == [("1.jpg", 3, None, None), ("2.jpg", None, None, 0.0)]
    assert drops_of(found, tree.root) == {
        "train_set/1.jpg": "lies in no <set>/images",
        "train_set/annotations/1_aro.npy": "arousal is 'missing'; expected a number in [-1, 1], or -2",
        "train_set/annotations/1_val.npy": "valence is 'missing'; expected a number in [-1, 1], or -2",
        "train_set/annotations/2_exp.npy": "expression is 'happy'; expected an integer from 0 to 10",
        "train_set/annotations/2_val.npy": "valence is 'missing'; expected a number in [-1, 1], or -2",
    }


def test_one_form_is_there_not_none_and_not_both(tree: Any) -> None:
    with pytest.raises(BadInput, match=r"no such folder; expected training\.csv"):
        read_affectnet(tree.root)
    tree.root.mkdir()
    with pytest.raises(BadInput, match=r"folders train_set or val_set; neither is there"):
        read_affectnet(tree.root)
    annotate(tree, "train_set", 1, exp="3")
    table(tree, "training.csv")
    with pytest.raises(BadInput, match="both forms are there, name one"):
        read_affectnet(tree.root)


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


HEADERS = st.text("{}[]()'\",: \n\\<>|=fiuOSUV0123456789.-", max_size=60).map(str.encode) | st.from_regex(
    r"\{'descr': .{0,9}, 'fortran_order': (True|False), 'shape': .{0,6}, \}\n"
).map(lambda text: text.encode("latin-1", "replace"))


@settings(deadline=None)
@given(HEADERS.map(npy))
@example(b"PK\x03\x04junk")
@example(npy(b"{'descr': ("))
@example(npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (" * 99))
def test_no_header_makes_an_annotation_fail(content: bytes) -> None:
    assert _scalar(content) is None or isinstance(_scalar(content), str)


def test_an_archive_of_arrays_is_no_annotation() -> None:
    archive = io.BytesIO()
    np.savez(archive, np.array("3"))
    assert _scalar(archive.getvalue()) is None


@given(st.binary(max_size=300) | st.binary(max_size=NPY_BYTES).map(lambda tail: b"\x93NUMPY\x01\x00" + tail))
def test_no_bytes_make_an_annotation_fail(content: bytes) -> None:
    assert _scalar(content) is None or isinstance(_scalar(content), str)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    assert _scalar(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header) is None
