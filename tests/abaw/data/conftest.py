"""A tiny delivery in the official layout, with the traps of the real one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

HEADERS = {
    "VA_Estimation_Challenge": "valence,arousal",
    "EXPR_Classification_Challenge": "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other",
    "AU_Detection_Challenge": "AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26",
}


def make_jpeg(seed: int, size: int = 32) -> bytes:
    """A smooth random picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    pixels = np.ascontiguousarray(coarse.repeat(size // 4, axis=0).repeat(size // 4, axis=1))
    encoded: bytes = simplejpeg.encode_jpeg(pixels, quality=90)
    return encoded


class Tree:
    """Writes files of a delivery below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def crops(self, folder: str, frames: list[int], *, size: int = 32) -> None:
        (self.root / folder).mkdir(parents=True)
        for frame in frames:
            seed = sum(Path(folder).name.encode()) * 1000 + frame
            (self.root / folder / f"{frame:05d}.jpg").write_bytes(make_jpeg(seed, size))

    def labels(self, challenge: str, name: str, lines: list[str]) -> None:
        """`name` is <set>/<video>."""
        path = self.root / "annotations" / challenge / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([HEADERS[challenge], *lines]) + "\n")

    def file(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture(scope="session")
def write_delivery() -> Callable[[Path], Tree]:
    """Writes a delivery and returns it: 102 trains, 102-30-640x360 validates, t1 and t2 are test videos."""

    def write(root: Path) -> Tree:
        tree = Tree(root)
        tree.crops("cropped_aligned/cropped_aligned/102", [1, 2, 4, 5, 6, 7, 8, 9, 10])
        tree.crops("cropped_aligned/cropped_aligned/102-30-640x360", list(range(1, 7)))
        tree.crops("cropped_aligned/cropped_aligned/t1", [2, 3])
        tree.crops("cropped_aligned/cropped_aligned/nobody", [1])
        tree.crops("cropped_aligned/cropped_aligned_new_50_vids/new", [1, 8])
        va, expr, au = HEADERS
        tree.labels(va, "Train_Set/102", [f"0.{frame:02d},-0.5" for frame in range(1, 11)] + ["-5,-5", "0.12,0"])
        tree.labels(expr, "Train_Set/102", ["0", "1", "2", "3", "-1", "-1", "6", "7"])
        tree.labels(au, "Validation_Set/102-30-640x360", [",".join("101000010001")] * 4)
        row = "{},0.9,0.9,4," + ",".join("111111111111")
        listed = [row.format(f"102/0000{frame}.jpg") for frame in (1, 5)] + [row.format("new/00008.jpg")]
        tree.file("training_set_annotations.txt", "\n".join(["image,valence,arousal,expression,aus", *listed]))
        tree.file("test_templates/va.txt", "image_location,valence,arousal\nt1/00001.jpg,\nt1/00005.jpg,\n")
        tree.file("test_templates/expr.txt", "t1\nt2\n")
        tree.file("held_out_truth/VA_Estimation_Challenge/Validation_Set/t1.txt", "never read")
        return tree

    return write


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """An empty delivery."""
    return Tree(tmp_path / "delivery")


@pytest.fixture
def delivery(tmp_path: Path, write_delivery: Callable[[Path], Tree]) -> Tree:
    """The delivery of `write_delivery`."""
    return write_delivery(tmp_path / "delivery")
