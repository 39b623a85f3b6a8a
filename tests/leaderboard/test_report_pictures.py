"""The report's pictures: densities, timelines and history as numbers, whose size does not grow with the frames."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw.metrics import TrackStatistics
from abaw.predictions import write_predictions
from abaw.tracks import TRACKS
from leaderboard import report_paths as paths
from leaderboard.board import Row
from leaderboard.entries import Request, submit
from leaderboard.report import Sources, make_page
from leaderboard.report_history import history
from leaderboard.report_scores import MOST, scores_of

MTL = TRACKS["mtl"]


def row(name: str = "", **fields: Any) -> Row:
    plain: dict[str, Any] = dict.fromkeys(("author", "commit", "file", "sha256", "note", "videos_scored"), "")
    plain |= dict.fromkeys(("rows", "videos", "frames", "filled"), 0)
    plain |= dict.fromkeys(("rank", "score", "public_score", "tuning", "coverage"), None)
    plain |= {"status": "valid", "baseline": False, "withheld": False, "metrics": {}, "intervals": {}}
    plain |= {"members": (), "reasons": (), "created_at": datetime(2026, 1, 1, tzinfo=UTC)}
    return Row(name=name, **plain | fields)


def test_of_many_classes_those_with_the_most_frames_are_shown() -> None:
    track = TRACKS["emo135"]
    statistics = TrackStatistics(track)
    true_N1 = np.concatenate([np.arange(135), np.arange(100, 130)])[:, None].astype(np.float64)
    statistics.update({"expr": true_N1}, {"expr": true_N1}, {"expr": np.ones(len(true_N1), dtype=bool)})
    (scores,) = scores_of(track, statistics, row(metrics=statistics.compute()))
    assert [part.name for part in scores.parts] == [f"emotion_{k}" for k in range(100, 100 + MOST)]
    assert scores.left_out == 135 - MOST
    assert scores.confusions is not None
    assert len(scores.confusions.rows) == MOST


def test_the_history_keeps_the_bests_of_each_author() -> None:
    told = (("a1", 0.3, "ann"), ("b1", 0.5, "bea"), ("a2", 0.6, "ann"), ("a3", 0.4, "ann"), ("b2", 0.5, "bea"))
    day = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        row(name, score=score, author=author, created_at=day + timedelta(days=k))
        for k, (name, score, author) in enumerate(told)
    ]
    rows += [row("base", score=0.9, baseline=True, created_at=day), row("hidden", created_at=day)]
    found = history(rows[::-1], higher_is_better=True)
    assert found is not None
    assert [(one.mark, one.name, [best.row.name for best in one.bests]) for one in found.authors] == [
        ("A", "ann", ["a1", "a2"]),
        ("B", "bea", ["b1"]),
    ]
    assert len(found.dots) == 5, "baselines and entries without a score are left out"
    first, second = found.authors[0].bests
    assert second.gain == pytest.approx(0.3)
    assert second.dot.y < first.dot.y, "better is higher up"
    assert second.dot.x > first.dot.x
    assert [text for _, text in found.dates][:: len(found.dates) - 1] == ["01 Jan 2026", "05 Jan 2026"]
    assert [text for _, text in found.scores][:: len(found.scores) - 1] == ["0.300", "0.600"]
    lower = history(rows, higher_is_better=False)
    assert lower is not None
    assert [[best.row.name for best in one.bests] for one in lower.authors] == [["a1"], ["b1"]]
    assert history(rows[:1], higher_is_better=True) is None
    revealed = [replace(one, public_score=one.score, score=0.0) for one in rows[:2]]
    after = history(revealed, higher_is_better=True)
    assert after is not None
    assert [best.score for one in after.authors for best in one.bests] == [0.5, 0.3], "what the authors saw"


def numbers(path: str) -> list[float]:
    return [float(number) for number in re.findall(r"[\d.]+", path)]


@given(st.lists(st.one_of(st.just(float("nan")), st.floats(-1, 1)), max_size=60))
def test_a_line_has_a_point_for_every_value_and_is_broken_where_there_is_none(values: list[float]) -> None:
    known_N = ~np.isnan(values) if values else np.zeros(0, dtype=bool)
    x, y, points = 0.0, 0, []
    drawn = paths.line(np.array(values))
    for move, dx, dy in re.findall(r"([Ml])([\d.]+) (-?\d+)", drawn):
        x, y = (float(dx), int(dy)) if move == "M" else (x + float(dx), y + int(dy))
        points.append((x, y))
    assert [x for x, _ in points] == [k + 0.5 for k in np.flatnonzero(known_N)]
    for (_, y), value in zip(points, np.array(values)[known_N], strict=True):
        assert abs(y - paths.HEIGHT / 2 * (1 - value)) <= 0.5
    starts_N = known_N & ~np.concatenate([[False], known_N])[:-1]
    assert drawn.count("M") == starts_N.sum()


@given(st.lists(st.lists(st.booleans(), min_size=7, max_size=7), min_size=1, max_size=5))
def test_lanes_are_active_where_they_are_drawn(active: list[list[bool]]) -> None:
    found = np.zeros((len(active), 7), dtype=bool)
    for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)", paths.lanes(np.array(active))):
        found[int(y) // paths.LANE, int(x) : int(x) + int(length)] = True
    assert found.tolist() == active


@pytest.mark.parametrize("rows", [1, 7, 160, 161, 47_434])
def test_a_timeline_has_a_number_of_bins_that_does_not_grow(rows: int) -> None:
    bin_N = paths.bins_of(rows)
    assert len(bin_N) == rows
    assert np.unique(bin_N).tolist() == list(range(min(rows, paths.BINS)))
    sizes = np.bincount(bin_N)
    assert sizes.max() - sizes.min() <= 1
    values_N = np.random.default_rng(0).uniform(-1, 1, rows)
    assert (paths.bin_means(bin_N, values_N) * sizes).sum() == pytest.approx(values_N.sum())
    assert len(paths.line(paths.bin_means(bin_N, values_N))) < 8 * paths.BINS


def test_bins_hold_means_and_the_most_frequent_class() -> None:
    bin_N, nan = np.array([0, 0, 0, 1, 1, 2, 2, 2]), np.nan
    means_B = paths.bin_means(bin_N, np.array([0.5, nan, 1.0, nan, nan, 0.0, -1.0, 1.0]))
    np.testing.assert_equal(means_B, [0.75, nan, 0.0])
    active_LB = paths.bin_classes(bin_N, np.array([2, 2, 0, nan, nan, 1, 0, nan]), 3)
    assert active_LB.astype(int).T.tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_the_area_of_a_square_is_its_share_of_the_frames() -> None:
    rng = np.random.default_rng(0)
    x_N, y_N = np.clip(rng.normal(0, 0.4, (2, 5000)), -1, 1)
    count_GG = paths.density(x_N, y_N)
    edges = np.linspace(-1, 1, paths.GRID + 1)
    assert count_GG.tolist() == np.histogram2d(x_N, y_N, bins=[edges, edges])[0].astype(int).tolist()
    seen_GG = np.zeros_like(count_GG)
    for side, dots in paths.squares(count_GG):
        for x, y in re.findall(r"M([\d]+)\.5 ([\d]+)\.5h0", dots):
            share = count_GG[int(x), paths.GRID - 1 - int(y)] / count_GG.max()
            assert 0 <= side - np.sqrt(share) < 1 / paths.SIDES
            seen_GG[int(x), paths.GRID - 1 - int(y)] += 1
    assert (seen_GG == (count_GG > 0)).all()
    assert paths.outlines(count_GG).count("z") == np.count_nonzero(count_GG)
    identity = paths.mean_line(np.diag(np.full(paths.GRID, 9)))
    assert numbers(identity)[:4] == [0.5, 19.5, 1.5, 18.5]
    assert paths.mean_line(np.diag(np.full(paths.GRID, 4))) == ""


def drawn(html: str, kind: str) -> list[str]:
    return re.findall(f'<path class="{kind}" d="([^"]*)"', html)


def test_a_video_is_drawn_with_truth_raw_and_submitted(
    request_: Request, table_files: list[Path], make_table: Any, tmp_path: Path
) -> None:
    submit(request_)
    given = {"truth": {"mtl": request_.truth}, "videos": ["other"]}
    plain = html_of(request_, **given)
    assert "other, frames 1 to 58" in plain
    assert drawn(plain, "raw") == []
    html = html_of(request_, **given, raw={("mtl", "first"): table_files[1]})
    raw, own = drawn(html, "raw"), drawn(html, "own")
    assert own == drawn(plain, "own")
    shared = dict(re.findall('<path id="([^"]*)" vector-effect="non-scaling-stroke" d="([^"]*)"', html))
    truth = [shared[name] for name in re.findall('<use class="truth" href="#([^"]*)"', html)]
    assert len(truth) == len(raw) == len(own) == 4, "valence, arousal, classes, units"
    assert truth[0] != raw[0] != own[0] != truth[0]
    assert "smoothed, as submitted" in html
    table, part = make_table(0), tmp_path / "part.parquet"
    write_predictions(table.filter([video == "vid" for video in table["video"].to_pylist()]), part)
    assert drawn(html_of(request_, **given, raw={("mtl", "first"): part}), "raw") == [], "it has no frame of the video"


def html_of(request: Request, **sources: Any) -> str:
    return make_page(request.store, [MTL], Sources(**sources)).html
