"""Any bytes as a list or table: refused with reasons, or read with every line a frame with its label, or a drop."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaw.data.affectnet import OFFICIAL, read_affectnet
from abaw.data.cexpr import read_cexpr
from abaw.data.emo135 import read_emo135
from abaw.data.frames import Collection
from abaw.data.images import read_images
from abaw.data.lsd import read_lsd
from abaw.problems import BadInput
from abaw.tracks import CEXPR

fuzz = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = [
    *(b"a/1.jpg", b"b/2.JPG", b"c.png", b"a/../a/1.jpg", b" 3", b" 134", b" 135", b" -1", b"\t7", b" x", b"/", b" "),
    *(b",1,2,3,4,,3,0.5,-2", b",1,2,3,4,,8,-2,-2", b",1,2,3,4,,7,9,nan", b",", b"{}", b"'", b'"'),
    *(b"\n", b"\n", b"\n", b"\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf"),
]
contents = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)

label_lines = st.lists(
    st.sampled_from([b"0", b"6", b"-1", b" 3 ", b"+2", b"7", b"3.0", b"", b"x", b"1,2", b"2\r"]), max_size=6
).map(b"\n".join)


def lines_of(content: bytes) -> int:
    """Lines that are not blank; one that is not UTF-8 is not blank."""
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return sum(bool(line.decode("utf-8", "backslashreplace").strip()) for line in lines)


def read(reader: Callable[[], Collection]) -> Collection | None:
    try:
        return reader()
    except BadInput:
        return None


@fuzz
@given(content=contents)
def test_every_line_of_a_list_is_a_frame_or_a_drop(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(content)
    for reader in (read_images, read_emo135):
        found = read(lambda reader=reader: reader(path))  # type: ignore[misc]
        if found is not None:
            assert found.frames.height + found.drops.height == lines_of(content)
            if reader is read_emo135:
                assert set(found.frames["path", "expression"].rows()) <= emo135_rows(tmp_path, content)


def emo135_rows(folder: Path, content: bytes) -> set[tuple[str, int]]:
    """Path and class of each line of a list that ends in a class."""
    rows = set()
    for line in content.decode("utf-8", "replace").split("\n"):
        text, *label = line.strip().rsplit(maxsplit=1)[:2] if line.strip() else [""]
        if label and re.fullmatch("[0-9]{1,3}", label[0]) and int(label[0]) < 135:
            text = re.sub(r"^(\./)+", "", text.lstrip("\ufeff"))
            rows.add((text if text.startswith("/") else f"{folder}/{text}", int(label[0])))
    return rows


@fuzz
@given(content=contents, header=st.booleans())
def test_every_row_of_a_table_is_a_frame_or_a_drop(tmp_path: Path, content: bytes, header: bool) -> None:
    for name in ("a/1.jpg", "b/2.JPG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    content = (",".join(OFFICIAL).encode() + b"\n" if header else b"") + content
    (tmp_path / "training.csv").write_bytes(content)
    found = read(lambda: read_affectnet(tmp_path))
    if found is not None:
        kept = set(found.frames["path"])
        assert kept <= {f"{tmp_path}/a/1.jpg", f"{tmp_path}/b/2.JPG"}
        lines = {int(path.rsplit(":", 1)[1]) for path in found.drops["path"] if ".csv:" in path}
        codes = found.drops.filter(found.drops["reason"].str.contains("is none of the 8 classes")).height
        assert len(kept) + codes + len(lines) >= lines_of(content) - header
        labels = found.frames["path", "expression", "valence", "arousal"].rows()
        assert set(labels) <= affectnet_rows(tmp_path, content)


def affectnet_rows(folder: Path, content: bytes) -> set[tuple[Any, ...]]:
    """Path, expression, valence and arousal of each row of a table, None where there is no such label."""
    rows = set()
    for line in content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").split("\n"):
        if len(line.split(",")) == len(OFFICIAL):
            name, *_, expression, valence, arousal = [value.strip() for value in line.split(",")]
            code = plain_number(expression, 0, 7)
            klass = None if code is None or code % 1 else int(code)
            path = f"{folder}/" + "/".join(name.split("/")[-2:])
            rows.add((path, klass, plain_number(valence, -1, 1), plain_number(arousal, -1, 1)))
    return rows


def plain_number(text: str, low: float, high: float) -> float | None:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        return None
    return float(text) if low <= float(text) <= high else None


@fuzz
@given(content=contents | label_lines, header=st.booleans())
def test_labels_of_compound_expressions_are_those_of_their_lines(tmp_path: Path, content: bytes, header: bool) -> None:
    (tmp_path / "v").mkdir(exist_ok=True)
    for frame in (1, 2, 3):
        (tmp_path / "v" / f"{frame:05d}.jpg").write_bytes(b"x")
    content = (",".join(CEXPR.columns).encode() + b"\n" if header else b"") + content
    (tmp_path / "v.txt").write_bytes(content)
    found = read(lambda: read_cexpr(tmp_path))
    if found is not None:
        lines = content.decode("utf-8-sig").rstrip().split("\n")[1:]
        bad = {int(path.rsplit(":", 1)[1]) - 1 for path in found.drops["path"]}
        labels = dict(found.frames["frame", "expression"].rows())
        for frame, line in enumerate(lines, start=1):
            text = line.strip()
            good = re.fullmatch(r"[+-]?[0-9]+", text) is not None and -1 <= int(text) <= 6
            assert good == (frame not in bad)
            assert labels.get(frame) == (int(text) if good and int(text) >= 0 else None)
        assert set(labels) == {1, 2, 3} | {frame for frame in labels if labels[frame] is not None}


@fuzz
@given(
    parts=st.lists(
        st.sampled_from(["train", "TEST_set", "ANGER", "ANGRER", "sad", "SADNESS", "a ANGER", "x"]), max_size=3
    )
)
def test_the_class_of_an_image_is_the_first_folder_that_is_one(tmp_path: Path, parts: list[str]) -> None:
    root = Path(tempfile.mkdtemp(dir=tmp_path))
    path = root.joinpath(*parts, "1.jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    found = read(lambda: read_lsd(root))
    classes = [name for name in parts if name in ("ANGER", "ANGRER", "SADNESS")]
    splits = [name for name in parts if name in ("train", "TEST_set")]
    usable = bool(splits) and (bool(classes) or splits[0] == "TEST_set")
    assert (found is not None) == usable
    if found is not None:
        expected = {"ANGER": 0, "ANGRER": 0, "SADNESS": 4}.get(classes[0]) if classes else None
        assert found.frames["expression", "split"].rows() == [(expected, {"train": "train"}.get(splits[0], "test"))]


def test_a_list_that_may_not_be_read_as_text_names_its_lines(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xff\xfea\x00.\x00j\x00p\x00g\x00\n\x00")
    with pytest.raises(BadInput, match=r"train\.txt:1: is not UTF-8 text"):
        read_emo135(tmp_path)
