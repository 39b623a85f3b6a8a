"""Greedy soups: what stays in, what the choice is worth on other videos, and that a chosen soup is shown as chosen."""

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file

from abaw.predictions import read_predictions, schema, write_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board
from leaderboard.cli import main
from leaderboard.entries import Request, submit
from leaderboard.soup_selection import choose, choose_nested, greedy_soup
from leaderboard.tuned import known_tuning, table_tuning

MTL, VA = TRACKS["mtl"], TRACKS["va"]
LABELS = np.linspace(-0.9, 0.9, 10)
PREDICT = """
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from safetensors.numpy import load_file
weights, like, out = sys.argv[1:]
table, value = pq.read_table(like), load_file(weights)["w"][0]
for name in ("valence", "arousal"):
    label = table["label_" + name].to_numpy()
    sign = np.where(np.char.startswith(table["video"].to_numpy().astype(str), "b"), -1, 1)
    table = table.set_column(table.schema.get_field_index(name), name, pa.array((label * sign * value).astype("f4")))
pq.write_table(table, out)
"""
"""Predictions of `labelled` videos by a checkpoint that holds one number: that times the labels, and in videos of b
times their opposite."""


def checkpoint(folder: Path, value: float) -> Path:
    path = folder / f"{value:g}.safetensors"
    save_file({"w": np.array([value], dtype=np.float32)}, path)
    return path


def labelled(path: Path, *videos: str) -> Path:
    """A table of these videos whose labels are of mean 0."""
    frames = [(video, frame, label) for video in videos for frame, label in enumerate(LABELS, start=1)]
    columns = {"video": [video for video, _, _ in frames], "frame": [frame for _, frame, _ in frames]}
    columns |= {prefix + name: [label for *_, label in frames] for prefix in ("", "label_") for name in VA.columns}
    columns |= {"fold": [None] * len(frames), "checkpoint": ["x"] * len(frames)}
    wanted = schema(VA)
    arrays = [pa.array(columns[field.name], field.type) for field in wanted]
    write_predictions(pa.table(arrays, schema=wanted), path)
    return path


@pytest.fixture
def predict(tmp_path: Path) -> list[str]:
    """The start of a command that predicts as `PREDICT` does."""
    script = tmp_path / "predict.py"
    script.write_text(PREDICT)
    return [sys.executable, str(script), "{}"]


def test_a_greedy_soup_keeps_what_does_not_hurt(tmp_path: Path) -> None:
    files = [checkpoint(tmp_path, value) for value in (9, 4, 7)]
    looked: Counter[str] = Counter()

    def near_five(path: Path) -> float:
        looked[path.name] += 1
        return -abs(float(load_file(path)["w"][0]) - 5)

    chosen = choose(files, near_five)
    assert [(step.path.stem, step.kept) for step in chosen.steps] == [("4", True), ("7", True), ("9", False)]
    assert chosen.files == [files[1], files[2]]
    assert (chosen.in_sample, chosen.cross_fitted) == (-0.5, None)
    assert chosen.untuned == pytest.approx(-abs(20 / 3 - 5), abs=1e-6)
    assert looked == {"9.safetensors": 1, "4.safetensors": 1, "7.safetensors": 1, "soup.safetensors": 2}


def test_a_checkpoint_that_changes_nothing_stays() -> None:
    files = [Path("a"), Path("b")]
    assert [step.kept for step in greedy_soup(files, lambda some: 1.0)] == [True, True]


def test_each_fold_of_videos_is_scored_with_the_choice_of_the_others(tmp_path: Path) -> None:
    """On each video alone one checkpoint is right and the other one wrong: what is best on one fails on the other."""
    like, asked = labelled(tmp_path / "like.parquet", "a", "b"), []
    files = [checkpoint(tmp_path, value) for value in (1, -1)]

    def predict(weights: Path, out: Path) -> None:
        table, value = read_predictions(like, VA), float(load_file(weights)["w"][0])
        asked.append(value)
        sign_N = np.where(table["video"].to_numpy(zero_copy_only=False) == "a", 1, -1)
        for name in VA.columns:
            new = pa.array((table[f"label_{name}"].to_numpy() * sign_N * value).astype(np.float32))
            table = table.set_column(table.schema.get_field_index(name), name, new)
        write_predictions(table, out)

    chosen = choose_nested(files, predict, VA)
    assert (chosen.untuned, chosen.in_sample) == (0, pytest.approx(0, abs=1e-9)), "a constant, and no better than it"
    assert chosen.cross_fitted == pytest.approx(-1)
    assert sorted(asked) == [-1, 0, 1], "each soup predicts once, however often it is asked for"


def test_the_command_tells_three_scores_where_predictions_are_written(
    tmp_path: Path, predict: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    like = labelled(tmp_path / "like.parquet", *"acdefg")
    files = [str(checkpoint(tmp_path, value)) for value in (0.9, 1.5, -1)]
    out, command = tmp_path / "soup.safetensors", " ".join([*predict, str(like), "{out}"])
    assert main(["soup", *files, "--out", str(out), "--greedy", command]) == 1
    assert "writes predictions to {out}; give their --track" in capsys.readouterr().err
    assert main(["soup", *files, "--out", str(out), "--greedy", command, "--track", "va"]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    *steps, three, last = told.out.splitlines()
    assert [line.split()[1] for line in steps] == ["kept", "left", "left"]
    assert last == f"{out}: the mean of 1 of 3 checkpoints"
    ccc = [2 * w / (1 + w * w) for w in ((0.9 + 1.5 - 1) / 3, 0.9)]  # of w times the labels, whose mean is 0
    assert three == (f"tuned on labels, va: untuned {ccc[0]:.4f}, in-sample {ccc[1]:.4f}, cross-fitted {ccc[1]:.4f}"), (
        "all videos are alike"
    )


def test_tables_that_differ_are_refused(tmp_path: Path) -> None:
    tables = {1.0: labelled(tmp_path / "one.parquet", "a", "b"), 2.0: labelled(tmp_path / "two.parquet", "a", "c")}

    def predict(weights: Path, out: Path) -> None:
        out.write_bytes(tables[float(load_file(weights)["w"][0])].read_bytes())

    with pytest.raises(BadInput, match="no row for video b, frame 1, which"):
        choose_nested([checkpoint(tmp_path, value) for value in (1, 2)], predict, VA)


@pytest.fixture
def soup(tmp_path: Path) -> Path:
    """A greedy soup whose score was a number: what it scores cross-fitted is not known."""
    files = [str(checkpoint(tmp_path, value)) for value in (0.5, 0.7)]
    score = tmp_path / "score.py"
    score.write_text("import sys\nfrom safetensors.numpy import load_file\nprint(load_file(sys.argv[1])['w'][0])\n")
    out = tmp_path / "greedy.safetensors"
    command = f"{sys.executable} {score} {{}}"
    assert main(["soup", *files, "--out", str(out), "--greedy", command, "--track", "mtl"]) == 0
    return out


def test_a_chosen_soup_is_on_the_board_as_tuned(request_: Request, soup: Path) -> None:
    """The board is told by --tuning, or by a table that names the soup as its checkpoint."""
    table = read_predictions(request_.files[0], MTL)
    place = table.schema.get_field_index("checkpoint")
    for name, weights in (("named", str(soup)), ("beside", soup.name), ("another", "last.safetensors")):
        values = pa.array([weights] * table.num_rows)
        write_predictions(table.set_column(place, "checkpoint", values), soup.with_name(f"{name}.parquet"))
        submit(replace(request_, name=name, files=(soup.with_name(f"{name}.parquet"),)))
    submit(replace(request_, name="told", tuning=soup))
    three = {"mtl": {"untuned": pytest.approx(0.6), "in_sample": pytest.approx(0.7), "cross_fitted": None}}
    rows = {row.name: row for row in board.rows(request_.store, MTL)}
    assert {name: row.tuning for name, row in rows.items()} == {
        "named": three, "beside": three, "told": three, "another": None
    }  # fmt: skip
    assert [board.tuned_text(rows["told"], MTL, way) for way in board.WAYS] == ["0.6000", "0.7000", "not known"]
    assert [board.tuned_text(rows["another"], MTL, way) for way in board.WAYS] == ["", "", ""]
    assert table_tuning(soup.with_name("named.parquet"), VA) == {
        "va": {"untuned": None, "in_sample": None, "cross_fitted": None}
    }, "it was chosen by another score"
    with pytest.raises(BadInput, match="no greedy soup"):
        submit(replace(request_, name="plain", tuning=soup.with_name("0.5.safetensors")))


def test_folds_with_soups_of_their_own_have_no_known_score(request_: Request, soup: Path) -> None:
    table = read_predictions(request_.files[0], MTL)
    names = pa.array([str(soup) if k % 2 else "other" for k in range(table.num_rows)])
    path = soup.with_name("folds.parquet")
    write_predictions(table.set_column(table.schema.get_field_index("checkpoint"), "checkpoint", names), path)
    assert known_tuning([path], None, MTL) == {"mtl": dict.fromkeys(board.WAYS)}
    assert json.dumps(known_tuning([path], None, MTL))
