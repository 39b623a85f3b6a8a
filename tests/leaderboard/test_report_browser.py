"""The report in a real browser (headless Chromium): it sorts, filters, opens, fits a phone, and complains of nothing.

Run `make test-browser`. Set `SCREENSHOTS` to a folder to keep the pictures.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abaw.tracks import TRACKS
from leaderboard.entries import Request, submit
from leaderboard.report import Sources, make_page

pytestmark = pytest.mark.browser

MTL, VA = TRACKS["mtl"], TRACKS["va"]
SCRIPT = "<script>alert(1)</script>"
Open = Callable[..., Any]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "no Chromium; on Debian: apt install chromium"
    with sync_playwright() as playwright:
        # Chromium's sandbox does not run as root, as which some containers run tests.
        sandbox = [] if os.getuid() else ["--no-sandbox"]
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture
def report(tmp_path: Path, request_: Request, truth_list: Path, table_files: list[Path]) -> Path:
    """Two tracks; ranked entries, a baseline, an invalid one, one without a score, and a name that is a script."""
    request = replace(request_, name="best")
    made = submit(request)
    submit(replace(request, name=SCRIPT, files=(table_files[1],), author="bea"))
    submit(replace(request, name="constant", files=(table_files[2],), baseline=True))
    submit(replace(request, name="blind", truth=None))
    bad = tmp_path / "bad.txt"
    bad.write_text(made.file.read_text().replace("jpg,", "jpg,nan"))
    submit(replace(request, name="broken", files=(bad,)))
    rows = [line.split(",") for line in made.file.read_text().splitlines()[1:]]
    va = tmp_path / "va.txt"
    va.write_text("image_location,valence,arousal\n" + "".join(f"{r[0]},{r[1]},{r[2]}\n" for r in rows))
    submit(replace(request, name="perfect", files=(va,), track=VA, template=va, truth=va, out=None))
    sources = Sources(truth={"mtl": truth_list}, raw={("mtl", "best"): table_files[1]})
    path = tmp_path / "board.html"
    path.write_text(make_page(request.store, [MTL, VA], sources).html)
    return path


@pytest.fixture
def show(chromium: Any, report: Path) -> Iterator[Open]:
    """Opens the report without a network; at the end the browser must have complained of nothing."""
    contexts, complaints = [], []

    def open_page(fragment: str = "", *, width: int = 1280, scheme: str = "light", **options: Any) -> Any:
        viewport = {"width": width, "height": 900}
        context = chromium.new_context(viewport=viewport, color_scheme=scheme, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: request.url.startswith("file:") or complaints.append(request.url))
        page.goto(f"{report.as_uri()}{fragment}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def names(page: Any, track: str = "mtl") -> list[str]:
    """The entries of a board that are seen, from the top."""
    rows = page.locator(f"section[data-track={track}] .board tbody tr:visible th")
    return [text.split("\n")[0].replace(" ◇ baseline", "") for text in rows.all_inner_texts()]


def sort(page: Any, title: str) -> str | None:
    heading = page.locator("section[data-track=mtl] .board thead th").filter(has=page.get_by_text(title, exact=True))
    heading.get_by_role("button").click()
    return str(heading.get_attribute("aria-sort"))


def test_every_column_sorts_both_ways_and_what_has_no_value_stays_last(show: Open) -> None:
    page = show()
    ranked, unranked = ["best", SCRIPT, "constant"], ["blind", "broken"]
    assert names(page) == ranked + unranked
    assert sort(page, "MTL") == "descending"
    assert names(page) == ranked + unranked
    assert sort(page, "MTL") == "ascending"
    assert names(page) == ranked[::-1] + unranked
    assert sort(page, "entry") == "ascending"
    assert names(page) == [SCRIPT, "best", "blind", "broken", "constant"]
    assert sort(page, "#") == "ascending"
    for title in page.locator("section[data-track=mtl] .board thead button").all_inner_texts():
        sort(page, title)
        once = names(page)
        sort(page, title)
        assert sorted(names(page)) == sorted(once) == sorted(ranked + unranked), title
        if title not in ("#", "entry", "status", "filled", "author", "date"):
            assert sorted(once[3:]) == sorted(names(page)[3:]) == unranked, title
        assert page.locator("section[data-track=mtl] [aria-sort]").count() == 1


def test_the_keyboard_sorts_filters_and_opens(show: Open) -> None:
    page = show()
    page.locator("section[data-track=mtl] .board thead button").first.focus()
    page.keyboard.press("Enter")
    assert names(page)[:3] == ["constant", SCRIPT, "best"]
    page.keyboard.press("Space")
    assert names(page)[:3] == ["best", SCRIPT, "constant"]
    page.locator("#text").focus()
    page.keyboard.type("ann BEST")
    assert names(page) == ["best"]
    page.keyboard.press("Enter")
    assert names(page) == ["best"]
    link = page.locator("section[data-track=mtl] .board a:visible")
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('mtl-1').open")


def test_filters_by_text_track_and_status(show: Open) -> None:
    page = show()
    assert page.locator("#count").inner_text() == "6 of 6 entries"
    page.fill("#text", "alert(1)")
    assert names(page) == [SCRIPT]
    assert names(page, "va") == []
    assert page.locator("table.heat:not(.matrix) tr[data-entry]:visible").count() == 1
    assert page.locator("details.entry:visible").count() == 1
    assert page.locator("#count").inner_text() == "1 of 6 entries"
    page.fill("#text", "")
    page.select_option("#track", "va")
    assert (names(page), names(page, "va")) == ([], ["perfect"])
    page.select_option("#track", "")
    for status, expected in (("invalid", ["broken"]), ("no score", ["blind"]), ("baseline", ["constant"])):
        page.select_option("#status", status)
        assert names(page) == expected
    page.select_option("#status", "ranked")
    assert names(page) == ["best", SCRIPT, "constant"]


def test_a_link_opens_the_section_of_an_entry(show: Open) -> None:
    page = show("#mtl-2")
    assert page.locator("details.entry[open]").count() == 1
    assert SCRIPT in page.locator("details.entry[open] summary").first.inner_text()
    page.locator("section[data-track=mtl] .board a").first.click()
    page.wait_for_function("document.getElementById('mtl-1').open")
    assert page.locator("#mtl-1 svg").count() > 20
    assert page.locator("#mtl-1 .curve svg").first.bounding_box()["width"] > 600


def test_the_page_fits_its_window(show: Open, tmp_path: Path) -> None:
    shades = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}
    for scheme, width in (("light", 320), ("dark", 390), ("light", 390), ("dark", 1280), ("light", 1280)):
        page = show("#mtl-1", width=width, scheme=scheme)
        picture = Path(os.environ.get("SCREENSHOTS", tmp_path)) / f"report-{scheme}-{width}.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 50_000
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == shades[scheme]
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_text_is_readable_on_every_shade(show: Open) -> None:
    """The contrast of WCAG 2.2 for text of this size, 4.5, in either scheme."""
    for scheme in ("light", "dark"):
        page = show("#mtl-1", scheme=scheme)
        page.evaluate(
            "document.querySelector('.heat tbody').insertAdjacentHTML('beforeend',"
            "'<tr>' + [...Array(11).keys()].map(k => `<td class=h${k}>.5</td>`).join('') + '</tr>')"
        )
        worst = page.evaluate(
            """() => {
              const channels = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number)
                .map(v => text.startsWith('color') ? v : v / 255);
              const light = c => c.map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
                .reduce((sum, v, k) => sum + v * [.2126, .7152, .0722][k], 0);
              const ratio = cell => {
                const style = getComputedStyle(cell);
                const pair = [light(channels(style.color)), light(channels(style.backgroundColor))];
                return (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
              };
              const cells = document.querySelector('.heat tbody').lastChild.querySelectorAll('td:not(.h0)');
              return Math.min(...[...cells].map(ratio));
            }"""
        )
        assert worst > 4.5, scheme


def test_everything_but_sorting_and_filtering_works_without_scripts(show: Open) -> None:
    page = show("#mtl-1", java_script_enabled=False)
    assert names(page) == ["best", SCRIPT, "constant", "blind", "broken"]
    assert not page.locator("#filter").is_visible()
    page.locator("#mtl-1 > summary").click()
    assert page.locator("#mtl-1 .matrix").is_visible()
