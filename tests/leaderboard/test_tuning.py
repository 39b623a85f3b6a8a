"""Tuned things: the three scores are read together, and a board shows them together."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board
from leaderboard.entries import Request, submit
from leaderboard.tuning import read_tuning, total

MTL, VA = TRACKS["mtl"], TRACKS["va"]
THREE = {"untuned": 0.4, "in_sample": 0.5, "cross_fitted": 0.45}


def written(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_tasks_add_up_to_the_track(tmp_path: Path) -> None:
    found = {task: {**THREE, "smoothing": {"width": 3}} for task in ("va", "expr", "au")}
    tuning = read_tuning(written(tmp_path / "t.json", found), MTL)
    assert tuning == {task: THREE for task in ("va", "expr", "au")}
    assert total(tuning, MTL) == {way: pytest.approx(3 * value) for way, value in THREE.items()}
    assert total({"va": THREE}, MTL) is None, "a sum needs every task"
    assert total(read_tuning(written(tmp_path / "t.json", THREE), MTL), MTL) == THREE
    assert total(read_tuning(written(tmp_path / "t.json", {"va": THREE}), VA), VA) == THREE


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"va": {"untuned": 0.4, "in_sample": 0.5}}, "cross_fitted of va is None; expected a number"),
        ({"va": {**THREE, "in_sample": "0.5"}}, "in_sample of va is '0.5'"),
        ({"va": 3}, "untuned of va is 3|untuned of va is None"),
        ({"expr": THREE}, "holds none of these tasks; expected untuned, in_sample, cross_fitted of each task"),
        ([1], "no JSON object"),
    ],
)
def test_two_of_three_are_refused(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_tuning(written(tmp_path / "t.json", value), VA)


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(BadInput, match="no JSON"):
        read_tuning(tmp_path / "t.json", VA)
    with pytest.raises(BadInput, match="No such file"):
        read_tuning(tmp_path / "none.json", VA)


def test_the_board_shows_the_three_beside_the_score(
    tmp_path: Path, template: Path, truth_list: Path, table_files: list[Path]
) -> None:
    tuning = written(tmp_path / "smoothing.json", {task: THREE for task in ("va", "expr", "au")})
    request = Request(
        files=(table_files[0],),
        track=MTL,
        template=template,
        truth=truth_list,
        name="tuned",
        store=f"sqlite:///{tmp_path}/b.sqlite",
        out=tmp_path / "out",
        tuning=tuning,
    )
    result = submit(request)
    submit(replace(request, name="plain", files=(table_files[1],), tuning=None))
    assert result.manifest is not None
    assert json.loads(result.manifest.read_text())["tuning"]["va"] == THREE
    console = Console(width=200, record=True)
    console.print(board.render(board.rows(request.store, MTL), MTL))
    lines = console.export_text().splitlines()
    cells = [[cell.strip() for cell in line.replace("┃", "│").split("│")] for line in lines if line[0] in "┃│"]
    assert [row[-4:-1] for row in cells[3:]] == [
        ["untuned", "in-sample", "cross-fitted"],
        ["1.2000", "1.5000", "1.3500"],
        ["", "", ""],
    ]
