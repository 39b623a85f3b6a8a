"""The contact sheet: people of the data set, each with every expression, and below them stretches of videos."""

from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from abaw.faces.filming import shoot
from abaw.faces.plan import Clip
from abaw.tracks import EXPRESSIONS

MARGIN = 18
PEOPLE, STRIPS = 7, 3
_APEX, _FRAMES, _FPS = 12, 24, 12


def write_sheet(clips: list[Clip], path: Path, *, seed: int, size: int) -> None:
    """Draw the sheet of some clips as a PNG file."""
    chosen = [clips[k] for k in np.linspace(0, len(clips) - 1, min(PEOPLE, len(clips))).astype(int)]
    rows = [_expressions(clip, seed, size) for clip in chosen]
    rows += [_strip(clip, seed, size) for clip in clips[: min(STRIPS, len(clips))]]
    picture_HW3 = np.concatenate(rows)
    sheet = Image.new("RGB", (picture_HW3.shape[1], picture_HW3.shape[0] + 2 * MARGIN), "white")
    sheet.paste(Image.fromarray(picture_HW3[: len(chosen) * size]), (0, MARGIN))
    sheet.paste(Image.fromarray(picture_HW3[len(chosen) * size :]), (0, 2 * MARGIN + len(chosen) * size))
    draw = ImageDraw.Draw(sheet)
    for k, name in enumerate(EXPRESSIONS):
        draw.text((k * size + 4, 3), name, fill="black")
    draw.text((4, MARGIN + len(chosen) * size + 3), "videos, every third frame", fill="black")
    sheet.save(path)


def _decode(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(simplejpeg.decode_jpeg(jpeg, colorspace="RGB"))


def _expressions(clip: Clip, seed: int, size: int) -> NDArray[np.uint8]:
    """One person's apex of each expression, side by side."""
    cells = []
    for expression, name in enumerate(EXPRESSIONS):
        acted = {"name": f"{clip.name}/{name}", "expressions": (expression,), "frames": _FRAMES, "fps": _FPS}
        cells += [_decode(jpeg) for _, jpeg in shoot(Clip(**{**vars(clip), **acted}), seed, size, [_APEX])]
    return np.concatenate(cells, axis=1)


def _strip(clip: Clip, seed: int, size: int) -> NDArray[np.uint8]:
    """Every third frame of a video."""
    count = len(EXPRESSIONS)
    first = max(1, clip.frames // 2 - 3 * count // 2)
    frames = [min(first + 3 * k, clip.frames) for k in range(count)]
    return np.concatenate([_decode(jpeg) for _, jpeg in shoot(clip, seed, size, frames)], axis=1)
