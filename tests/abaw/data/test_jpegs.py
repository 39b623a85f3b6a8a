"""Images of a Parquet file by row, whatever its row groups."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abaw.data.jpegs import JpegColumn, copies_folder
from abaw.data.manifest import ShardFile


def test_images_are_copied_a_row_group_at_a_time_and_found_by_row(tmp_path: Path) -> None:
    # In one piece, the images of a file could not exceed 2 GiB.
    images = [bytes([row]) * (row + 1) for row in range(10)]
    pq.write_table(pa.table({"frame": range(10), "image": images}), tmp_path / "0.parquet", row_group_size=4)
    file = ShardFile(path="0.parquet", slot=0, frames=10, bytes=0, sha256="ab" * 32, first_video="a", last_video="a")
    column = JpegColumn(tmp_path, [file])
    assert [column.jpeg(0, row).tobytes() for row in (9, 0, 3, 4, *range(10))] == [
        images[row] for row in (9, 0, 3, 4, *range(10))
    ]
    (copy,) = copies_folder(tmp_path).iterdir()
    assert copy.name == file.copy_name == "abababababababab.arrow"
    assert pa.ipc.open_file(pa.memory_map(str(copy))).num_record_batches == 3


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "0.parquet"
    pq.write_table(pa.table({"image": [bytes([row]) * 9 for row in range(10)]}), path, row_group_size=5)
    content = bytearray(path.read_bytes())
    second = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    content[second : second + 20] = b"\xff" * 20
    path.write_bytes(content)
    file = ShardFile(path="0.parquet", slot=0, frames=10, bytes=0, sha256="ab" * 32, first_video="a", last_video="a")
    with pytest.raises((OSError, pa.ArrowException)):
        JpegColumn(tmp_path, [file]).jpeg(0, 0)
    assert list(copies_folder(tmp_path).iterdir()) == []
