"""Which images are accepted, and what is said of the others."""

import io
import os
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from PIL import Image

from abaw.data import shard_file
from abaw.data.images import read_images
from abaw.data.manifest import DROPS
from abaw.data.shard_file import MAX_PIXELS, check_jpeg, write_file
from abaw.data.shards import open_frames, write_shards
from abaw.data.storage import read_files

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 4), dtype=np.uint8)


def encoded(kind: str, mode: str = "RGB") -> bytes:
    channels = {"L": 0, "RGB": slice(3), "CMYK": slice(4)}[mode]
    file = io.BytesIO()
    Image.fromarray(NOISE[:, :, channels], mode).save(file, kind)
    return file.getvalue()


def grey16() -> bytes:
    file = io.BytesIO()
    Image.fromarray(NOISE[:, :, 0].astype(np.uint16) * 256).save(file, "PNG")
    return file.getvalue()


def bomb() -> bytes:
    """A small JPEG whose header says 60,000 x 60,000: decoding would take 10 GB."""
    jpeg = bytearray(encoded("JPEG"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = (60_000).to_bytes(2) * 2
    return bytes(jpeg)


def twelve_bits() -> bytes:
    jpeg = bytearray(encoded("JPEG"))
    jpeg[jpeg.index(b"\xff\xc0") + 4] = 12
    return bytes(jpeg)


def scrambled() -> bytes:
    jpeg = bytearray(encoded("JPEG"))
    jpeg[-2000:-1500] = zlib.compress(NOISE.tobytes())[:500]
    return bytes(jpeg)


REFUSED = {
    "empty": (b"", "empty file"),
    "text": (b"<html>404 not found</html>", "no complete JPEG: "),
    "zeros": (bytes(4000), "no complete JPEG: "),
    "truncated": (encoded("JPEG")[:2000], "no complete JPEG: Premature end of JPEG file"),
    "header only": (encoded("JPEG")[:300], "no complete JPEG: "),
    "one byte short": (encoded("JPEG")[:-1], "no complete JPEG: Premature end of JPEG file"),
    "scrambled": (scrambled(), "no complete JPEG: "),
    "twelve bits": (twelve_bits(), "no complete JPEG: "),
    "PNG": (encoded("PNG"), "holds a PNG image; expected JPEG, whatever the name says"),
    "16-bit PNG": (grey16(), "holds a PNG image; expected JPEG, whatever the name says"),
    "BMP": (encoded("BMP"), "holds a BMP image; expected JPEG, whatever the name says"),
    "TIFF": (encoded("TIFF"), "holds a TIFF image; expected JPEG, whatever the name says"),
    "WebP": (encoded("WEBP"), "holds a WebP image; expected JPEG, whatever the name says"),
    "CMYK": (encoded("JPEG", "CMYK"), "CMYK colours; expected RGB or grey"),
    "bomb": (bomb(), "60000 x 60000 pixels; expected at most 50,000,000 pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_usable_jpeg_has_a_reason(name: str) -> None:
    content, expected = REFUSED[name]
    started = time.perf_counter()
    size, reason = check_jpeg(content)
    assert size == ""
    assert reason.startswith(expected)
    assert time.perf_counter() - started < 1, "nothing large was decoded"


def test_colour_and_grey_jpegs_are_accepted() -> None:
    assert check_jpeg(encoded("JPEG")) == check_jpeg(encoded("JPEG", "L")) == ("48x64", "")
    assert MAX_PIXELS == 50_000_000


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "folder.jpg").mkdir()
    reasons = [check_jpeg(content)[1] for content in read_files([str(path) for path in sorted(tmp_path.iterdir())])]
    no_file = "cannot be read: is no regular file"
    assert reasons == ["cannot be read: Is a directory", no_file, no_file]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").touch()
    os.truncate(tmp_path / "large.jpg", 2**33)
    (content,) = read_files([str(tmp_path / "large.jpg")])
    assert check_jpeg(content) == ("", "cannot be read: has 8,589,934,592 bytes; expected at most 268,435,456")


def test_files_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"one")
    contents = read_files([str(tmp_path / "1.jpg"), str(tmp_path / "2.jpg")])
    assert next(contents) == b"one"
    (tmp_path / "2.jpg").write_bytes(b"written later")
    assert next(contents) == b"written later"


def test_a_task_holds_no_more_bytes_than_a_row_group_may(tree: Any, tmp_path: Path, monkeypatch: Any) -> None:
    tree.crops("pool/a", list(range(1, 31)))
    for frame in (7, 20):
        (tree.root / f"pool/a/{frame:05d}.jpg").write_bytes(encoded("JPEG") + bytes(9000))
    (tree.root / "pool/a/00003.jpg").write_bytes(b"")
    rows = read_images(tree.root / "pool").frames.to_arrow()
    monkeypatch.setattr(shard_file, "ROW_GROUP", 10)
    monkeypatch.setattr(shard_file, "ROW_GROUP_BYTES", 9000)
    report = write_file(rows, file="slot=0/00000.parquet", slot=0, out=str(tmp_path / "out"))
    path = tmp_path / "out" / "slot=0" / "00000.parquet"
    stored = pq.ParquetFile(path)
    groups = [stored.read_row_group(group)["frame"].to_pylist() for group in range(stored.num_row_groups)]
    assert groups == [[1, 2, *range(4, 8)], [*range(8, 18)], [18, 19, 20], [*range(21, 31)]]
    assert report["entry"]["frames"] == 29
    first = path.read_bytes()
    path.unlink()
    write_file(rows, file="slot=0/00000.parquet", slot=0, out=str(tmp_path / "out"))
    assert path.read_bytes() == first


@pytest.mark.usefixtures("local_ray")
def test_bad_images_among_good_ones_cost_nothing_else(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", list(range(1, 401)))
    folder = tree.root / "pool" / "a"
    bad = {20 * place + 7: name for place, name in enumerate(REFUSED)}
    for frame, name in bad.items():
        (folder / f"{frame:05d}.jpg").write_bytes(REFUSED[name][0])
    grey = folder / "00400.jpg"
    grey.write_bytes(encoded("JPEG", "L"))
    (folder / "00399.jpg").unlink()
    (folder / "00399.jpg").symlink_to(folder / "00399.jpg")
    (folder / "00398.jpg").unlink()
    (folder / "00398.jpg").symlink_to(folder / "gone")
    manifest = write_shards(read_images(tree.root / "pool").frames, tmp_path / "out", slots=3, rows_per_file=32)
    drops = pl.read_parquet(tmp_path / "out" / DROPS).with_columns(pl.col("path").str.extract(r"(\d+)\.jpg$").cast(int))
    assert sorted(drops["path"]) == sorted([*bad, 398, 399])
    for frame, reason in drops.rows():
        expected = REFUSED[bad[frame]][1] if frame in bad else "cannot be read: "
        assert reason.startswith(expected)
    table = open_frames(tmp_path / "out", columns=["frame", "image"])
    assert manifest.frames == table.num_rows == 400 - len(bad) - 2
    assert set(table["frame"].to_pylist()) == set(range(1, 401)) - set(bad) - {398, 399}
    assert table["image"][-1].as_py() == grey.read_bytes()
