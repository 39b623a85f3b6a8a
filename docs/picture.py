"""Draw docs/demo.png: the contact sheet of the demo's faces, and the scores that docs/demo.md measured beside it.

Run `python docs/picture.py` after `python benchmarks/demo.py`.
"""

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from abaw.faces.plan import plan_videos
from abaw.faces.sheet import MARGIN, write_sheet
from experiments.demo import demo

DOCS = Path(__file__).parent
PEOPLE = 5
WIDTH, LINE = 750, 34
PLACES = (20, 355, 480, 605, 730)
"""Where the name of an entry begins, and where the scores end."""


def scores() -> list[list[str]]:
    """The rows of the first table of the page, its heading among them."""
    lines = (DOCS / "demo.md").read_text().partition("\n|")[2].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]


def table(rows: list[list[str]]) -> Image.Image:
    """The rows on white."""
    picture = Image.new("RGB", (WIDTH, 80 + LINE * len(rows)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=17)
    draw.text((20, 14), "make demo: mean and standard deviation over three seeds", font=font, fill="black")
    for number, cells in enumerate(rows):
        for x, cell, anchor in zip(PLACES, cells, ("la", *("ra",) * 4), strict=True):
            draw.text((x, 70 + number * LINE), cell, font=font, fill="black" if number else "gray", anchor=anchor)
    draw.line((20, 64 + LINE, WIDTH - 20, 64 + LINE), fill="gray")
    return picture


def sheet() -> Image.Image:
    """The top of the contact sheet that the demo draws."""
    faces = demo().faces
    clips = plan_videos(videos=faces.videos, test_videos=faces.test_videos, frames=faces.frames, seed=faces.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.png"
        write_sheet(clips, path, seed=faces.seed, size=faces.size)
        whole = Image.open(path).convert("RGB")
    return whole.crop((0, 0, whole.width, MARGIN + faces.size * PEOPLE))


def main() -> None:
    right, left = table(scores()), sheet()
    left = left.resize((round(left.width * right.height / left.height), right.height), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (left.width + WIDTH, right.height), "white")
    picture.paste(left, (0, 0))
    picture.paste(right, (left.width, 0))
    picture.save(DOCS / "demo.png", optimize=True)


if __name__ == "__main__":
    main()
