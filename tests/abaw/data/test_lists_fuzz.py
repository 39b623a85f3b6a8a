"""Any bytes as a list or table: refused with reasons, or read with every line either a frame or a drop."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaw.data.affectnet import OFFICIAL, read_affectnet
from abaw.data.emo135 import read_emo135
from abaw.data.frames import Collection
from abaw.data.images import read_images
from abaw.problems import BadInput

fuzz = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIECES = [
    *(b"a/1.jpg", b"b/2.JPG", b"c.png", b"a/../a/1.jpg", b" 3", b" 134", b" 135", b" -1", b"\t7", b" x", b"/", b" "),
    *(b",1,2,3,4,,3,0.5,-2", b",1,2,3,4,,8,-2,-2", b",1,2,3,4,,7,9,nan", b",", b"{}", b"'", b'"'),
    *(b"\n", b"\n", b"\n", b"\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf"),
]
contents = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=30).map(b"".join)


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


def test_a_list_that_may_not_be_read_as_text_names_its_lines(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes(b"\xff\xfea\x00.\x00j\x00p\x00g\x00\n\x00")
    with pytest.raises(BadInput, match=r"train\.txt:1: is not UTF-8 text"):
        read_emo135(tmp_path)
