"""A prediction table with gaps is scored as its exported file would be; what cannot be filled is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from abaw.annotations import write_annotation
from abaw.predictions import write_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.cli import main
from leaderboard.scoring import score_file

MTL, VA, EXPR = TRACKS["mtl"], TRACKS["va"], TRACKS["expr"]
Capture = pytest.CaptureFixture[str]


def table(path: Path, track: str, frames: list[tuple[str, int]], scores: list[list[float]], fold: int = 0) -> Path:
    columns: dict[str, Any] = {"video": [v for v, _ in frames], "frame": pa.array([f for _, f in frames], pa.int32())}
    columns |= {name: [row[k] for row in scores] for k, name in enumerate(TRACKS[track].columns)}
    columns["fold"] = pa.array([fold + (v == "w") for v, _ in frames], pa.int8())
    write_predictions(pa.table(columns), path)
    return path


def test_values_are_interpolated_in_time_and_held_at_the_ends_but_never_across_videos(tmp_path: Path) -> None:
    known = [("v", 2), ("v", 6), ("w", 1)]
    path = table(tmp_path / "t.parquet", "va", known, [[0.0, 0.4], [0.8, 0.0], [-1.0, -1.0]])
    truth = tmp_path / "truth.txt"
    # What the gaps must hold: before the first known frame, a quarter and the end of the way, and after it.
    right = {"v/00001": "0,0.4", "v/00002": "0,0.4", "v/00003": "0.2,0.3", "v/00006": "0.8,0", "v/00009": "0.8,0"}
    right |= {"w/00001": "-1,-1", "w/00004": "-1,-1"}
    truth.write_text("image_location,valence,arousal\n" + "".join(f"{k}.jpg,{v}\n" for k, v in right.items()))
    result = score_file(path, VA, truth)
    assert result.score == pytest.approx(1, abs=1e-6)
    assert (result.frames, result.filled, result.ignored) == (7, 4, 0)
    assert result.as_json()["coverage"] == pytest.approx(3 / 7)
    assert {(one.video, one.fold): one.frames for one in result.counted} == {("v", 0): 5, ("w", 1): 2}


def test_classes_are_decided_from_interpolated_probabilities(tmp_path: Path) -> None:
    first, last = np.full(8, 0.01), np.full(8, 0.01)
    first[[2, 5]], last[[2, 5]] = (0.50, 0.44), (0.04, 0.90)
    path = table(tmp_path / "t.parquet", "expr", [("v", 1), ("v", 11)], [first.tolist(), last.tolist()])
    truth = tmp_path / "truth.txt"
    truth.write_text(
        ",".join(EXPR.submission_header) + "\nv/00001.jpg,2\nv/00002.jpg,2\nv/00003.jpg,5\nv/00011.jpg,5\n"
    )
    result = score_file(path, EXPR, truth)
    # Frame 2: 0.454 and 0.486; so class 5 there too, while holding the nearest frame would say class 2.
    assert result.metrics["F1_Disgust"] == pytest.approx(2 / 3)
    assert result.metrics["F1_Sadness"] == pytest.approx(4 / 5)
    assert result.filled == 2


def test_the_score_is_that_of_the_submitted_file(
    tmp_path: Path, table_files: list[Path], template: Path, truth_list: Path, capsys: Capture
) -> None:
    common = ["--track", "mtl", "--truth", str(truth_list), "--json"]
    store = ["--store", f"sqlite:///{tmp_path}/b.sqlite", "--out", str(tmp_path / "out"), "--template", str(template)]
    assert main(["submit", str(table_files[0]), *common, *store, "--name", "a"]) == 0
    submitted = json.loads(capsys.readouterr().out)
    assert main(["score", str(table_files[0]), *common]) == 0
    output = capsys.readouterr()
    scored = json.loads(output.out)
    for part in ("S_EXPR", "S_AU"):
        assert scored["metrics"][part] == submitted["metrics"][part]
    # The file states valence and arousal with four decimals.
    assert scored["score"] == pytest.approx(submitted["score"], abs=1e-4)
    assert (scored["frames"], scored["filled"]) == (59, 14)
    told = f"{table_files[0]}: 14 of 59 labelled frames (23.7%) had no prediction: filled from their neighbours"
    assert told in output.err
    assert main(["compare", str(table_files[0]), str(table_files[1]), *common[:-1]]) == 0
    assert told in capsys.readouterr().err


def test_a_video_or_a_still_without_any_prediction_is_refused(
    tmp_path: Path, make_table: Any, truth_list: Path
) -> None:
    whole = make_table(0)
    path = tmp_path / "two.parquet"
    write_predictions(whole.filter(pc.not_equal(whole["video"], "vid_left")), path)
    with pytest.raises(BadInput) as caught:
        score_file(path, MTL, truth_list)
    asked = f"20 labelled frames of {truth_list} ask for it"
    assert (
        str(caught.value) == f"{path}: no prediction for any frame of video vid_left ({asked}); run predict on it too"
    )
    still = table(tmp_path / "lsd.parquet", "lsd", [("", 0)], [[1.0] + [0.0] * 5])
    truth = tmp_path / "lsd.txt"
    truth.write_text("image,expression\n0.jpg,0\n1.jpg,1\n")
    with pytest.raises(BadInput, match=r"no prediction for 1\.jpg; a still image cannot be filled from others"):
        score_file(still, TRACKS["lsd"], truth)


def test_lines_after_the_last_predicted_frame_are_told_and_not_filled(tmp_path: Path) -> None:
    folder = tmp_path / "VA_Estimation_Challenge" / "Validation_Set"
    folder.mkdir(parents=True)
    write_annotation(folder / "v.txt", VA.tasks[0], np.linspace(-0.5, 0.5, 10).reshape(5, 2))
    path = table(tmp_path / "t.parquet", "va", [("v", 1), ("v", 3)], [[-0.5, -0.4], [0.0, 0.1]])
    result = score_file(path, VA, folder)
    assert (result.frames, result.filled, result.beyond) == (3, 1, 2)


def test_what_a_table_lacks_is_not_known_from_its_own_labels(table_files: list[Path]) -> None:
    plain = score_file(table_files[0], MTL).as_json()
    assert plain["filled"] is None
    assert plain["coverage"] is None
