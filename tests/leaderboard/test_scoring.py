"""Scores against values worked out by hand and against a reference, for each form of truth."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from abaw.annotations import write_annotation
from abaw.predictions import write_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.scoring import score_file

EXPR, VA, MTL = TRACKS["expr"], TRACKS["va"], TRACKS["mtl"]


def submission(path: Path, track: str, rows: dict[str, str]) -> Path:
    header = ",".join(TRACKS[track].submission_header)
    path.write_text("\n".join([header, *(f"{image},{values}" for image, values in rows.items())]) + "\n")
    return path


def test_expressions_by_hand(tmp_path: Path) -> None:
    images = [f"v/{k:05d}.jpg" for k in range(1, 5)]
    truth = submission(tmp_path / "truth.txt", "expr", dict(zip(images, ["0", "1", "1", "-1"], strict=True)))
    path = submission(tmp_path / "s.txt", "expr", dict(zip(images, "0011", strict=True)))
    result = score_file(path, EXPR, truth)
    # Neutral: 1 hit, 1 false alarm; Anger: 1 hit, 1 miss; the other six classes count 0.
    assert result.metrics["F1_Neutral"] == result.metrics["F1_Anger"] == pytest.approx(2 / 3, abs=1e-15)
    assert result.score == result.metrics["S_EXPR"] == pytest.approx(1 / 6, abs=1e-15)
    assert (result.frames, result.videos, result.ignored) == (3, 1, 1)


def test_valence_and_arousal_by_hand(tmp_path: Path) -> None:
    images = ["v/00001.jpg", "w/00001.jpg"]
    truth = submission(tmp_path / "truth.txt", "va", dict(zip(images, ["0,0.25", "0.5,-0.25"], strict=True)))
    path = submission(tmp_path / "s.txt", "va", dict(zip(images, ["0,0.1", "1,0.1"], strict=True)))
    result = score_file(path, VA, truth)
    # 2 * .125 / (.25 + .0625 + .25**2); a constant has concordance 0.
    assert result.metrics["CCC_valence"] == pytest.approx(2 / 3, abs=1e-15)
    assert result.metrics["CCC_arousal"] == 0
    assert (result.score, result.videos) == (pytest.approx(1 / 3, abs=1e-15), 2)


def ccc(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    return float(2 * covariance / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def f1(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    hits = int((predicted & true).sum())
    return 2 * hits / (2 * hits + int((predicted ^ true).sum())) if hits else 0.0


def test_a_table_against_its_own_labels_equals_a_reference(tmp_path: Path, make_table: Any) -> None:
    table: pa.Table = make_table(0)
    write_predictions(table, tmp_path / "t.parquet")
    result = score_file(tmp_path / "t.parquet", MTL)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    va = frame.drop_nulls(["label_valence", "label_arousal"]).cast({pl.Float32: pl.Float64})
    s_va = np.mean([ccc(va[c].clip(-1, 1).to_numpy(), va[f"label_{c}"].to_numpy()) for c in ("valence", "arousal")])
    expr = frame.drop_nulls("label_expression")
    decided = expr.select(MTL.task("expr").columns).to_numpy().argmax(axis=1)
    s_expr = np.mean([f1(decided == k, expr["label_expression"].to_numpy() == k) for k in range(8)])
    units = MTL.task("au").columns
    au = frame.drop_nulls([f"label_{c}" for c in units])
    s_au = np.mean([f1(au[c].to_numpy() >= 0.5, au[f"label_{c}"].to_numpy() == 1) for c in units])
    assert len(au) < len(frame)
    assert len(expr) < len(frame)
    assert result.metrics["S_VA"] == pytest.approx(s_va, abs=1e-12)
    assert result.metrics["S_EXPR"] == pytest.approx(s_expr, abs=1e-12)
    assert result.metrics["S_AU"] == pytest.approx(s_au, abs=1e-12)
    assert result.score == result.metrics["P_MTL"] == pytest.approx(s_va + s_expr + s_au, abs=1e-12)


def test_an_annotation_folder_is_scored_as_its_files_read(tmp_path: Path) -> None:
    """Line k after the header is frame k; what is not annotated is masked; the numbers are those in the files."""
    root = tmp_path / "annotations"
    folder = root / "VA_Estimation_Challenge" / "Validation_Set"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    true = {name: rng.uniform(-1, 1, (30, 2)).round(4) for name in ("v", "v_left")}
    rows, predicted = {}, []
    for name, true_ND in true.items():
        written_ND = true_ND.copy()
        written_ND[3] = np.nan
        write_annotation(folder / f"{name}.txt", VA.tasks[0], written_ND)
        for k in range(30):
            values = rng.uniform(-1, 1, 2).round(4)
            if k != 3:  # no prediction is asked for where there is no label
                rows[f"{name}/{k + 1:05d}.jpg"] = f"{values[0]:.4f},{values[1]:.4f}"
                predicted.append(values)
    path = submission(tmp_path / "s.txt", "va", rows)
    truth_ND = np.concatenate([np.delete(true_ND, 3, axis=0) for true_ND in true.values()])
    expected = np.mean([ccc(np.array(predicted)[:, k], truth_ND[:, k]) for k in (0, 1)])
    for truth in (folder, root):
        result = score_file(path, VA, truth)
        assert result.score == pytest.approx(expected, abs=1e-12)
        assert (result.frames, result.videos, result.ignored) == (58, 2, 0)


def test_a_multi_task_list_and_its_folder_serve_its_single_tasks_too(tmp_path: Path, truth_list: Path) -> None:
    lines = truth_list.read_text().splitlines()[1:]
    rows = {line.split(",")[0]: f"{abs(int(line.split(',')[3]))}" for line in lines}
    path = submission(tmp_path / "s.txt", "expr", rows)
    result = score_file(path, EXPR, truth_list)
    assert result.score == 1
    assert result.frames == sum(line.split(",")[3] != "-1" for line in lines) < len(lines)
    assert result.ignored == len(lines) - result.frames
    whole = tmp_path / "mtl.txt"
    whole.write_text(truth_list.read_text().replace("-5", "0").replace(",-1,", ",1,"))
    assert score_file(whole, MTL, tmp_path).score == score_file(whole, MTL, truth_list).score == pytest.approx(3)


def test_stills_have_no_videos(tmp_path: Path) -> None:
    path = submission(tmp_path / "s.txt", "lsd", {"0.jpg": "3", "1.jpg": "5"})
    result = score_file(path, TRACKS["lsd"], path)
    assert (result.score, result.frames, result.videos) == (pytest.approx(2 / 6), 2, 0)


def test_an_annotated_frame_without_prediction_is_refused(tmp_path: Path) -> None:
    truth = submission(tmp_path / "t.txt", "expr", {f"v/{k:05d}.jpg": "1" for k in range(1, 5)})
    path = submission(tmp_path / "s.txt", "expr", {"v/00002.jpg": "1", "w/00001.jpg": "1", "v/00003.jpg": "0"})
    with pytest.raises(BadInput) as caught:
        score_file(path, EXPR, truth)
    assert str(caught.value).splitlines() == [
        f"{path}: no prediction for v/00001.jpg, which {truth} has a label for",
        f"{path}: no prediction for v/00004.jpg, which {truth} has a label for",
    ]


def refusal(path: Path, track: str, truth: Path | None) -> str:
    with pytest.raises(BadInput) as caught:
        score_file(path, TRACKS[track], truth)
    return str(caught.value)


def test_truth_that_cannot_serve_is_refused(tmp_path: Path, truth_list: Path, table_files: list[Path]) -> None:
    path = submission(tmp_path / "s.txt", "expr", {"v/00001.jpg": "1"})
    nothing = submission(tmp_path / "none.txt", "expr", {"v/00001.jpg": "-1"})
    assert "no frame is annotated for task expr" in refusal(path, "expr", nothing)
    assert "give --truth" in refusal(path, "expr", None)
    assert "no such file or folder" in refusal(path, "expr", tmp_path / "nowhere")
    assert "no labels of track cexpr" in refusal(
        submission(tmp_path / "c.txt", "cexpr", {"v/00001.jpg": "1"}), "cexpr", truth_list
    )
    assert "the header is that of track expr, not of va" in refusal(
        submission(tmp_path / "v.txt", "va", {"v/00001.jpg": "1,1"}), "va", path
    )
    # A table of eight classes holds the six of LSD by name, but its labels count eight.
    assert "not those of track lsd" in refusal(table_files[0], "lsd", None)
    assert "lacks the columns Fearfully_Surprised" in refusal(table_files[0], "cexpr", None)


def test_several_lists_in_a_folder_must_be_told_apart(
    tmp_path: Path, truth_list: Path, table_files: list[Path]
) -> None:
    (tmp_path / "training_set_annotations.txt").write_bytes(truth_list.read_bytes())
    assert "several; name one" in refusal(table_files[0], "mtl", tmp_path)
    told = refusal(table_files[0], "va", tmp_path)
    assert told.startswith(f"{tmp_path}: holds multi-task lists and no annotations of track va; name one (")
    assert told.endswith("validation_set_annotations.txt), or the folder of VA_Estimation_Challenge or VA_Set")


def test_top_k_needs_the_probabilities_of_a_table(tmp_path: Path) -> None:
    emo = TRACKS["emo135"]
    rng = np.random.default_rng(3)
    scores_NC = rng.random((40, 135)).astype(np.float32)
    true_N = rng.integers(0, 135, 40)
    columns = {"video": [""] * 40, "frame": pa.array(range(40), pa.int32())}
    columns |= {name: scores_NC[:, k] for k, name in enumerate(emo.columns)}
    write_predictions(pa.table(columns), tmp_path / "emo.parquet")
    truth = submission(tmp_path / "t.txt", "emo135", {f"{k}.jpg": str(c) for k, c in enumerate(true_N)})
    metrics = score_file(tmp_path / "emo.parquet", emo, truth).metrics
    order = np.argsort(-scores_NC, axis=1)
    for k in (1, 5, 10):
        assert metrics[f"top{k}"] == pytest.approx((order[:, :k] == true_N[:, None]).any(axis=1).mean())
