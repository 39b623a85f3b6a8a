"""The contact sheet of a video: frames at even steps, the faces found, the one chosen, its crop or the reason.

Green is the chosen face, grey are the others. Frame numbers are those that `choices.csv` takes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from abaw.data.cropping import Cropped

MOST_CELLS, COLUMNS = 40, 5
PICTURE, CROP, LINE = (160, 120), 120, 14
"""Pixels: the largest picture, the side of a crop, the height of a line of text."""


class ContactSheet:
    """Collects cells while the frames go by; the step doubles whenever there are too many."""

    def __init__(self) -> None:
        """Start an empty sheet."""
        self._cells: list[Image.Image] = []
        self._step = 1

    def add(self, frame: int, pixels_HWC: NDArray[np.uint8], text: str, cropped: Cropped | None) -> None:
        """Take notice of a frame, from 1 on; `text` stands below it."""
        if (frame - 1) % self._step:
            return
        self._cells.append(_cell(f"{frame} {text}", pixels_HWC, cropped))
        if len(self._cells) > MOST_CELLS:
            self._cells = self._cells[::2]
            self._step *= 2

    def write(self, path: Path) -> None:
        """Write the sheet as a JPEG file; nothing where no frame went by."""
        if not self._cells:
            return
        width, height = self._cells[0].size
        rows = -(-len(self._cells) // COLUMNS)
        sheet = Image.new("RGB", (COLUMNS * width, rows * height), "white")
        for place, cell in enumerate(self._cells):
            sheet.paste(cell, (place % COLUMNS * width, place // COLUMNS * height))
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, quality=85)


def _cell(text: str, pixels_HWC: NDArray[np.uint8], cropped: Cropped | None) -> Image.Image:
    cell = Image.new("RGB", (PICTURE[0] + CROP + 6, PICTURE[1] + LINE + 4), "white")
    picture = Image.fromarray(pixels_HWC)
    picture.thumbnail(PICTURE)
    cell.paste(picture, (2, 2))
    draw = ImageDraw.Draw(cell)
    if cropped is not None:
        scale = picture.width / pixels_HWC.shape[1]
        for face in sorted(cropped.faces, key=lambda face: face is cropped.chosen):
            box = [2 + side * scale for side in face.box]
            draw.rectangle(box, outline="lime" if face is cropped.chosen else "gray", width=2)
        if cropped.crop_SSC is not None:
            cell.paste(Image.fromarray(cropped.crop_SSC).resize((CROP, CROP)), (PICTURE[0] + 4, 2))
    draw.text((4, PICTURE[1] + 3), text[:46], fill="black")
    return cell
