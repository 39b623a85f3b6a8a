"""The single images of the Learning from Synthetic Data challenge (LSD, ABAW4): folders of six expressions.

`ANGRER` is misspelt as in the organisers' delivery. Every image has an expression at its apex; the test images have
shuffled numbers for names.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abaw.faces.filming import shoot
from abaw.faces.plan import Clip, seed_of
from abaw.tracks import EXPRESSIONS, LSD, get_track

CLASS_FOLDERS = ("ANGRER", *(name.upper() for name in LSD.columns[1:]))
APEX_FRAMES = (8, 10, 12, 14, 16)
_FRAMES, _FPS = 24, 12


@dataclass(frozen=True, kw_only=True)
class Still:
    """Images of one person with one expression."""

    clip: Clip
    paths: tuple[str, ...]
    """Where the apex frames go, below the data set's folder."""
    expression: int
    """Index in the track's six classes."""


def plan_stills(*, people: int, seed: int) -> list[Still]:
    """Three fifths of the people are for training, one fifth each for validation and for the test."""
    test, validation = max(1, people // 5), max(1, people // 5)
    rng = np.random.default_rng(seed_of(seed, "lsd"))
    numbers = rng.permutation(test * len(LSD.columns) * len(APEX_FRAMES)).tolist()
    stills = []
    for k in range(people):
        split = "test" if k < test else "validation" if k < test + validation else "train"
        for expression, name in enumerate(LSD.columns):
            clip = Clip(
                name=f"lsd{k:03d}_{name}",
                folder="lsd",
                split="unlabelled",
                person=f"lsd{k:03d}",
                camera=f"lsd{k:03d}_{name}",
                expressions=(EXPRESSIONS.index(name),),
                frames=_FRAMES,
                fps=_FPS,
            )
            stem = f"lsd/{split}/{CLASS_FOLDERS[expression]}/{k:03d}"
            paths = [f"lsd/test/{numbers.pop()}.jpg" if split == "test" else f"{stem}_{f:02d}.jpg" for f in APEX_FRAMES]
            stills.append(Still(clip=clip, paths=tuple(paths), expression=expression))
    return stills


def take(still: Still, out: Path, *, seed: int, size: int) -> int:
    """Write the images of one person with one expression, each whole or not at all; returns their number."""
    shots = shoot(still.clip, seed, size, list(APEX_FRAMES))
    for path, (_, jpeg) in zip(still.paths, shots, strict=True):
        file = out / path
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_name(f".{file.name}.unfinished")
        unfinished.write_bytes(jpeg)
        unfinished.replace(file)
    return len(still.paths)


def write_still_lists(stills: list[Still], out: Path) -> None:
    """The template of the test images, and apart from it their truth."""
    truth = {path.rpartition("/")[2]: still.expression for still in stills for path in still.paths if "/test/" in path}
    names = sorted(truth, key=lambda name: int(name.removesuffix(".jpg")))
    header = ",".join(get_track("lsd").submission_header)
    (out / "lsd" / "test_template.txt").write_text("\n".join([header, *(f"{name}," for name in names)]) + "\n")
    rows = [f"{name},{truth[name]}" for name in names]
    (out / "held_out_truth" / "lsd.txt").write_text("\n".join([header, *rows]) + "\n")
