"""JPEG bytes of shards by file and row, mapped from disk, and their pixels.

Parquet cannot be read row by row, so each file's images are copied once, on first use, into an Arrow file: beside the
shards, or in a folder of this machine where the shards are remote or not ours to write. Workers of one machine share it
through the page cache; memory does not grow with the data.
"""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from abaw.data.manifest import CACHE, ShardFile
from abaw.data.storage import appearing, is_remote, open_parquet


class JpegColumn:
    """The images of a folder of shards, for any number of threads."""

    def __init__(self, shards: Path, files: Sequence[ShardFile]) -> None:
        self._shards, self._files = shards, files
        self._open: dict[int, pa.ChunkedArray] = {}
        self._locks = [threading.Lock() for _ in files]

    def jpeg(self, file: int, row: int) -> NDArray[np.uint8]:
        """The bytes of an image: `row` of the file at place `file` of the manifest."""
        if file not in self._open:
            with self._locks[file]:
                if file not in self._open:
                    self._open[file] = _mapped(self._shards, self._files[file])
        return np.frombuffer(self._open[file][row].as_buffer(), np.uint8)


def copies_folder(shards: Path) -> Path:
    """Where the Arrow copies of a folder of shards lie: in it when it is local and ours to write, else in a cache.

    The cache is the folder that ABAW_CACHE names, or `abaw` in the user's cache folder (XDG_CACHE_HOME, ~/.cache).
    """
    if not is_remote(shards) and os.access(shards, os.W_OK):
        return shards / CACHE
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "abaw"
    return Path(os.environ.get("ABAW_CACHE") or user) / "images"


def decode(jpegs: Sequence[NDArray[np.uint8]], *, size: int) -> Tensor:
    """Pixels of JPEGs, uint8 (B, 3, size, size), RGB, channels last in memory; other sizes are resized, antialiased."""
    # NumPy copies: in a thread of ours, torch would start its own pool of threads for each copy of an image.
    pixels_BHWC = np.empty((len(jpegs), size, size, 3), np.uint8)
    for row, jpeg in enumerate(jpegs):
        pixels_BHWC[row] = resize(simplejpeg.decode_jpeg(jpeg, colorspace="RGB"), size)
    return torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2)


def resize(pixels_HWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The image as size x size, bilinear and antialiased; itself where it has that size."""
    if pixels_HWC.shape[:2] == (size, size):
        return pixels_HWC
    # On uint8 in channels-last order this is vectorised: a third of the time of grid_sample on floats.
    image = torch.from_numpy(np.ascontiguousarray(pixels_HWC)).permute(2, 0, 1)[None]
    resized = functional.interpolate(image, size=(size, size), mode="bilinear", antialias=True)
    pixels: NDArray[np.uint8] = resized[0].permute(1, 2, 0).numpy()
    return pixels


def _mapped(shards: Path, file: ShardFile) -> pa.ChunkedArray:
    """The image column of a Parquet file as an Arrow column that lies on disk."""
    path = copies_folder(shards) / file.copy_name
    if not path.is_file():
        # Two workers may get here at once: both write the same bytes, and the second replaces the first.
        with open_parquet(shards / file.path) as stored, appearing(path) as local, pa.OSFile(str(local), "wb") as sink:
            schema = pa.schema([stored.schema_arrow.field("image")])
            with pa.ipc.new_file(sink, schema) as writer:
                # A chunk a row group: a chunk of binary values holds 2 GiB at most, a file may hold more.
                for group in range(stored.num_row_groups):
                    writer.write_table(stored.read_row_group(group, columns=["image"]))
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()["image"]
