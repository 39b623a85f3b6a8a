"""Draw docs/report.png: the top of a report, and the section of one of its entries beside it.

Run `python docs/report_picture.py board.html` on what `leaderboard report --out board.html` wrote; the section is that
of the best entry, or of the one that `#mtl-3` names: `python docs/report_picture.py board.html mtl-3`.
"""

import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

WIDTHS, HEIGHT = (1250, 780), 1500
COLOURS = 64
"""Few colours make a small file; the page has few."""


def pictures(report: Path, entry: str | None) -> list[Image.Image]:
    """The top of the page, and the section scrolled to the top."""
    with sync_playwright() as playwright:
        options = {"executable_path": shutil.which("chromium"), "args": [] if os.getuid() else ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        drawn = []
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme="light")
            page.goto(report.absolute().as_uri())
            if drawn:
                name = entry or page.locator("details.entry").first.get_attribute("id")
                page.evaluate("name => { location.hash = name; }", name)
                page.wait_for_function("name => document.getElementById(name).open", arg=name)
                page.locator(f"#{name}").evaluate("section => section.scrollIntoView()")
            drawn.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        browser.close()
    return drawn


def main(report: Path, entry: str | None = None) -> None:
    drawn = pictures(report, entry)
    whole = Image.new("RGB", (sum(WIDTHS), HEIGHT), "white")
    for left, picture in zip((0, WIDTHS[0]), drawn, strict=True):
        whole.paste(picture, (left, 0))
    out = Path(__file__).with_name("report.png")
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)
    print(f"{out}: {out.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
