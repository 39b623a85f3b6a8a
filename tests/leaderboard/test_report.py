"""The report: what it shows, what it must not show, and that it is one small file whatever users typed."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from abaw.metrics import TrackStatistics
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board, store
from leaderboard.entries import Request, submit
from leaderboard.report import Sources, make_page
from leaderboard.report_scores import scores_of
from leaderboard.schema import Rules
from leaderboard.scoring import score_file
from leaderboard.split import split

MTL = TRACKS["mtl"]
Cells = list[str]


class Reader(HTMLParser):
    """Tags, attributes, and the texts of the cells of every table row by the entry that the row is of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[tuple[str, Cells]] = []
        self.text: list[str] = []
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append((dict(attributes).get("data-entry") or "", []))
        if tag in ("td", "th"):
            self.rows[-1][1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._in_cell:
            self.rows[-1][1][-1] += data

    def board(self) -> list[Cells]:
        """The rows of the first board, one an entry."""
        seen: dict[str, Cells] = {}
        for entry, cells in self.rows:
            if entry:
                seen.setdefault(entry, [cell.strip() for cell in cells])
        return list(seen.values())


def html_of(request: Request, **sources: Any) -> str:
    return make_page(request.store, [MTL], Sources(**sources)).html


def with_rules(request: Request, **rules: float) -> Engine:
    engine = store.open_store(request.store, create=True)
    plain: dict[str, Any] = {"track": "mtl", "private_share": 0.0, "seed": 0, "step": None, "most": None}
    store.set_rules(engine, Rules(**plain | rules))
    return engine


def test_the_board_is_ranked_with_intervals_and_says_why_others_are_not(
    request_: Request, table_files: list[Path], tmp_path: Path
) -> None:
    submit(replace(request_, name="worse", files=(table_files[2],), baseline=True))
    best = submit(request_)
    bad = tmp_path / "bad.txt"
    bad.write_text(best.file.read_text().replace("vid/00004.jpg,", "vid/00004.jpg,nan"))
    submit(replace(request_, name="broken", files=(bad,)))
    submit(replace(request_, name="blind", truth=None))
    first, worse, blind, broken = Reader(html_of(request_)).board()
    assert best.score is not None
    found = best.score.intervals["P_MTL"]
    assert first[:5] == ["1", "first", "✓ ranked", f"{best.score.score:.4f}", f"{found.low:.3f}–{found.high:.3f}"]
    assert first[5] == "best"
    assert worse[0] == "2"
    assert worse[1] == "worse ◇ baseline"
    assert float(worse[5]) == pytest.approx(float(worse[3]) - best.score.score, abs=1e-4)
    assert (blind[0], blind[2], blind[3]) == ("–", "○ no score", "")
    assert (broken[0], broken[2], broken[3]) == ("–", "✗ invalid", "")
    assert "1 reason" in broken[1]
    assert f"{bad}:3: valence is 'nan" in broken[1]


def test_classes_units_and_values_are_told_as_they_were_scored(request_: Request) -> None:
    result = submit(request_)
    html = html_of(request_)
    whole = score_file(result.file, MTL, request_.truth)
    heat = next(cells for entry, cells in Reader(html).rows if entry == "mtl-1" and cells[0] == "1. first")
    keys = [f"CCC_{c}" for c in ("valence", "arousal")] + [f"F1_{c}" for task in MTL.tasks[1:] for c in task.columns]
    assert [float(cell) for cell in heat[1:]] == [round(whole.metrics[key], 2) for key in keys]
    statistics = TrackStatistics(MTL)
    for one in whole.counted:
        statistics.merge(one.statistics)
    matrix = statistics.parts["expr"].matrix  # type: ignore[attr-defined]
    assert _true_counts(html) == matrix.tolist()
    row = board.rows(request_.store, MTL)[0]
    va, expr, au = scores_of(MTL, statistics, row)
    assert min(low for low, _ in (spread.interval or (1, 1) for spread in va.spreads)) < 0
    bars = html.partition('<th scope="row">valence</th>')[2].partition("</tbody>")[0].split('<svg class="bar"')[1:]
    assert ["<line" in one for one in bars] == [True] * 2, "an interval that begins below 0 is drawn from 0"
    assert [spread.ccc for spread in va.spreads] == [whole.metrics["CCC_valence"], whole.metrics["CCC_arousal"]]
    for spread in va.spreads:
        scale = 2 * spread.correlation * spread.sd_true * spread.sd_predicted
        bottom = spread.sd_true**2 + spread.sd_predicted**2 + (spread.mean_true - spread.mean_predicted) ** 2
        assert scale / bottom == pytest.approx(spread.ccc, abs=1e-12)
    for part in (*expr.parts, *au.parts):
        precision, recall = part.precision or 0.0, part.recall or 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        assert f1 == pytest.approx(part.f1, abs=1e-12)


def test_the_file_loads_nothing_and_runs_its_own_script_alone(request_: Request) -> None:
    submit(request_)
    html = html_of(request_, truth={"mtl": request_.truth})
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html)
    tags = Reader(html).tags
    assert not [a for _, a in tags if {"src", "style", "onclick"} & set(a)]
    assert not [a for tag, a in tags if tag in ("link", "img", "iframe", "base", "object")]
    (policy,) = [a["content"] or "" for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (own,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert f"'sha256-{base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()}'" in policy


def test_what_users_typed_is_text(request_: Request, tmp_path: Path) -> None:
    typed = {
        "name": "<script>alert(1)</script>",
        "author": '"><img src=x onerror=alert(2)>',
        "note": "{{ 7 * 7 }} & <b>",
    }
    member = tmp_path / "<i>member.parquet"
    member.write_bytes(request_.files[0].read_bytes())
    submit(replace(request_, files=(member,), **typed))
    bad = tmp_path / "<u>bad.txt"
    bad.write_text("<script>alert(3)</script>")
    submit(replace(request_, name="'); alert(4); ('", files=(bad,)))
    page = Reader(html_of(request_))
    assert [tag for tag, _ in page.tags if tag in ("img", "b", "i", "u", "script")].count("script") == 1
    assert not [tag for tag, _ in page.tags if tag in ("img", "i", "u")]
    text = "".join(page.text)
    for one in ("<script>alert(1)</script>", typed["author"], typed["note"], "<i>member.parquet", "'); alert(4); ('"):
        assert one in text
    assert page.board()[0][1] == "<script>alert(1)</script>"


def test_private_videos_stand_nowhere_before_the_reveal(request_: Request, table_files: list[Path]) -> None:
    engine = with_rules(request_, private_share=0.5, seed=2)
    result = submit(request_)
    submit(replace(request_, name="second", files=(table_files[1],)))
    whole = score_file(result.file, MTL, request_.truth)
    public, private = split(MTL, whole.counted, share=0.5, seed=2)
    assert public
    assert private
    entry = store.entries(engine, "mtl")[0]
    secrets = [*(entry.private_metrics or {}).items(), ("whole", whole.score)]
    sources = {"truth": {"mtl": request_.truth}, "raw": {("mtl", "first"): table_files[0]}}
    html = html_of(request_, **sources)
    text = "".join(Reader(html).text)
    for key, value in secrets:
        if len(str(value)) > 10 and value != entry.metrics.get(key):
            assert str(value) not in html, key
        if key.startswith(("P_", "S_", "whole")):
            assert f"{value:.4f}" not in html, key
    assert not [one.video for one in private if f"{one.video}, frames" in text]
    assert f"{public[0].video}, frames" in text
    counted = sum(map(sum, _true_counts(html)))
    assert counted == sum(one.statistics.parts["expr"].n for one in public)
    assert "about 50% are private until the reveal" in text
    with pytest.raises(BadInput, match=f"that the board of track mtl shows is called {private[0].video}; there are"):
        html_of(request_, truth={"mtl": request_.truth}, videos=[private[0].video])
    store.reveal(engine, "mtl")
    first = Reader(html_of(request_, **sources)).board()[0]
    assert first[3] == f"{entry.private_score:.4f}"
    assert f"{entry.score:.4f}" in first


def _true_counts(html: str) -> list[list[int]]:
    """The first confusion matrix."""
    titles = [a.get("title") or "" for tag, a in Reader(html).tags if tag == "td"]
    counts = [int(title) for title in titles if title.isdecimal()][:64]
    return [counts[k : k + 8] for k in range(0, 64, 8)]


def test_a_withheld_entry_has_no_score_and_no_picture(request_: Request, table_files: list[Path]) -> None:
    engine = with_rules(request_, step=0.01)
    submit(request_)
    submit(replace(request_, name="same again", files=(table_files[1],)))
    hidden = next(one for one in store.entries(engine, "mtl") if one.withheld)
    html = html_of(request_, truth={"mtl": request_.truth})
    assert [row[2] for row in Reader(html).board()] == ["✓ ranked", "◐ withheld"]
    assert f"{hidden.score:.4f}" not in html
    section = html.partition('id="mtl-2"')[2]
    assert "withheld by the Ladder rule until the reveal" in section
    assert "<svg" not in section
    store.reveal(engine, "mtl")
    assert f"{hidden.score:.4f}" in html_of(request_)


def test_a_limited_entry_is_told_with_its_reason(request_: Request) -> None:
    with_rules(request_, most=1)
    submit(request_)
    submit(replace(request_, name="one too many"))
    limited = Reader(html_of(request_)).board()[1]
    assert (limited[0], limited[2]) == ("–", "△ limited")
    assert "ann has used all 1 submissions of track mtl" in limited[1]


def test_what_cannot_be_drawn_is_said(request_: Request, table_files: list[Path], template: Path) -> None:
    result = submit(request_)
    submit(replace(request_, name="gone", files=(table_files[1],))).file.unlink()
    result.file.write_text(result.file.read_text().replace(",0,", ",1,", 1))
    submit(replace(request_, name="blind", truth=None))
    raw = {("mtl", "blind"): table_files[0]}
    page = make_page(request_.store, [MTL], Sources(truth={"mtl": request_.truth or template}, raw=raw))
    assert page.notes == (
        "mtl/first: no densities and timelines: its file mtl-first.txt has changed since it was submitted",
        "mtl/gone: no densities and timelines: its file mtl-gone.txt cannot be read (No such file or directory)",
        "mtl/blind: it has no timeline, so its raw predictions are not drawn",
    )
    assert all(note in "".join(Reader(page.html).text) for note in page.notes)
    assert "viewBox" not in page.html


def test_another_truth_than_the_one_scored_against_is_not_drawn(request_: Request, tmp_path: Path) -> None:
    submit(request_)
    lines = (request_.truth or tmp_path).read_text().splitlines()
    other = tmp_path / "shorter_set_annotations.txt"
    other.write_text("\n".join(lines[:31]) + "\n")
    page = make_page(request_.store, [MTL], Sources(truth={"mtl": other}))
    assert page.notes == (
        "mtl/first: no densities and timelines: the truth has labels of 29 of its frames, its score counts 59",
    )


@pytest.mark.parametrize(
    ("cross_fitted", "shown", "gain"),
    [(0.625, ["1.8750", "0.6250"], "+0.1250"), (None, ["not known", "not known"], "")],
)
def test_tuned_scores_stand_together(
    request_: Request, tmp_path: Path, cross_fitted: float | None, shown: list[str], gain: str
) -> None:
    tuning = tmp_path / "smoothing.json"
    three = {"untuned": 0.5, "in_sample": 0.75, "cross_fitted": cross_fitted}
    tuning.write_text(json.dumps({task.name: three for task in MTL.tasks}))
    submit(replace(request_, tuning=tuning))
    page = Reader(html_of(request_))
    headings = [cell.strip() for cell in page.rows[0][1]]
    row = page.board()[0]
    at = headings.index("untuned")
    assert headings[at : at + 3] == ["untuned", "in-sample", "cross-fitted"]
    assert row[at : at + 3] == ["1.5000", "2.2500", shown[0]]
    assert ["va", "0.5000", "0.7500", shown[1], gain] in [[cell.strip() for cell in cells] for _, cells in page.rows]


def test_fifty_entries_with_every_picture_are_a_small_file(request_: Request, table_files: list[Path]) -> None:
    submit(request_)
    engine = store.open_store(request_.store, create=False)
    (entry,) = store.entries(engine, "mtl")
    counted = store.counts_of(engine, entry)
    for k in range(49):
        copy = replace(entry, name=f"copy {k}")
        store.add_entry(engine, copy, overwrite=False, publish=lambda: None, counted=counted)
    names = [entry.name, *(f"copy {k}" for k in range(49))]
    raw = {("mtl", name): table_files[1] for name in names}
    html = html_of(request_, truth={"mtl": request_.truth}, raw=raw, videos=["vid", "other"])
    assert html.count("vid, frames 1 to 58") == 50
    assert len(html.encode()) < 3_000_000
