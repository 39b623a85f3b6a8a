"""Images a second of our batches from shards, against a torch DataLoader of two workers over the JPEG files.

The same decoder (simplejpeg), 112x112, batches of 256, shuffled, to uint8 tensors; one consumer that does nothing else.
`python benchmarks/data.py` prints one line of JSON.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "disabled"

import numpy as np
import ray
import simplejpeg
import torch
from torch.utils.data import DataLoader, Dataset

from abaw.data.batches import FrameSource, batches
from abaw.data.images import read_pool
from abaw.data.shards import write_shards

IMAGES, PICTURES, VIDEOS, BATCH, SIZE = 20_000, 500, 20, 256, 112


class JpegFiles(Dataset[torch.Tensor]):
    """Pixels (S, S, 3) of files, one by one."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(simplejpeg.decode_jpeg(self.paths[index].read_bytes(), colorspace="RGB"))


def write_images(folder: Path) -> None:
    """Smooth pictures with a little noise: about 5 kB each, as face crops are."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[0:SIZE, 0:SIZE]
    jpegs = []
    for picture in range(PICTURES):
        waves = [128 + 60 * np.sin(row / 9 + picture + c) + 50 * np.cos(column / 13 + c) for c in range(3)]
        pixels = (np.stack(waves, axis=-1) + rng.normal(0, 5, (SIZE, SIZE, 3))).clip(0, 255).astype(np.uint8)
        jpegs.append(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=90))
    for image in range(IMAGES):
        path = folder / f"video{image % VIDEOS}" / f"{image // VIDEOS + 1:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpegs[image % PICTURES])


def rate(epoch: Callable[[], Iterable[int]]) -> float:
    """Images a second of the second epoch: the first one fills caches."""
    sum(epoch())
    started = time.perf_counter()
    return sum(epoch()) / (time.perf_counter() - started)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        pool, shards = Path(temporary) / "pool", Path(temporary) / "shards"
        write_images(pool)
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="warning")
        write_shards(read_pool(pool), shards)
        ray.shutdown()
        source = FrameSource(shards)
        loader = DataLoader(
            JpegFiles(sorted(pool.rglob("*.jpg"))),
            batch_size=BATCH, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True,
        )  # fmt: skip
        ours = rate(
            lambda: (
                len(batch["index"]) for batch in batches(source, global_batch=BATCH, rank=0, world=1, seed=0, epoch=0)
            )
        )
        theirs = rate(lambda: (len(image) for image in loader))
        kilobytes = sum(path.stat().st_size for path in pool.rglob("*.jpg")) / IMAGES / 1000
    figures = {"batches": round(ours), "DataLoader, 2 workers": round(theirs), "ratio": round(ours / theirs, 2)}
    print(
        json.dumps({"images/s": figures, "images": IMAGES, "kB an image": round(kilobytes, 1), "cores": os.cpu_count()})
    )


if __name__ == "__main__":
    main()
