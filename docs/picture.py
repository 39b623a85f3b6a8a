"""Draw docs/demo.png from a finished demo: its contact sheet, and its leaderboard beside it.

Run `python docs/picture.py runs/demo`.
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

COLUMNS = {"VA": "S_VA", "EXPR": "S_EXPR", "AU": "S_AU", "MTL": "P_MTL"}
WIDTH, LINE = 620, 34


def leaderboard(entries: list[dict], height: int) -> Image.Image:
    """The ranked entries as a table on white."""
    picture = Image.new("RGB", (WIDTH, height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=19)
    draw.text((20, 14), "$ make demo", font=font, fill="black")
    for row, cells in enumerate([["#", "entry", *COLUMNS], *map(cells_of, entries)]):
        y = 70 + row * LINE
        for x, cell, anchor in zip((30, 56, 390, 455, 520, 595), cells, ("ra", "la", *("ra",) * 4), strict=True):
            draw.text((x, y), cell, font=font, fill="black" if row else "gray", anchor=anchor)
    draw.line((20, 70 + LINE - 6, WIDTH - 20, 70 + LINE - 6), fill="gray")
    return picture


def cells_of(entry: dict) -> list[str]:
    return [str(entry["rank"]), entry["name"], *(f"{entry['metrics'][key]:.3f}" for key in COLUMNS.values())]


def main(run: Path) -> None:
    (board,) = run.glob("board-*/result.json")
    (sheet,) = run.glob("prepare-*/faces/contact_sheet.png")
    faces = Image.open(sheet).convert("RGB")
    entries = [entry for entry in json.loads(board.read_text())["entries"] if entry["rank"]]
    height = 80 + LINE * (len(entries) + 1)
    faces = faces.crop((0, 0, faces.width, min(faces.height, 18 + 112 * 5)))
    faces = faces.resize((round(faces.width * height / faces.height), height), Image.Resampling.LANCZOS)
    picture = Image.new("RGB", (faces.width + WIDTH, height), "white")
    picture.paste(faces, (0, 0))
    picture.paste(leaderboard(entries, height), (faces.width, 0))
    picture.save(Path(__file__).parent / "demo.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
