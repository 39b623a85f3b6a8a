"""The constant predictor: its values, its file, and what it is worth."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from abaw.annotations import read_mtl_list
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board
from leaderboard.constant import constant_labels, constant_predictions
from leaderboard.entries import Request, submit

MTL, VA = TRACKS["mtl"], TRACKS["va"]


def test_mean_most_frequent_and_majority() -> None:
    train = pl.DataFrame(
        {
            "valence": [0.5, -0.1, None],
            "arousal": [0.2, None, 0.4],
            "expression": [4, 2, 4],
            **{name: [1, 1, 0] if name == "AU4" else [1, 0, None] for name in MTL.task("au").columns},
        }
    )
    np.testing.assert_allclose(constant_labels(train, MTL), [0.2, 0.3, 4, 0, 0, 1, *[0] * 9], atol=1e-15)


def test_the_baseline_scores_what_a_constant_can(
    tmp_path: Path, template: Path, truth_list: Path, table_files: list[Path]
) -> None:
    train = read_mtl_list(truth_list)
    path = constant_predictions(train, template, MTL, tmp_path / "constant.txt")
    common = {"track": MTL, "template": template, "truth": truth_list, "store": f"sqlite:///{tmp_path}/b.sqlite"}
    result = submit(Request(files=(path,), name="constant", baseline=True, **common))  # type: ignore[arg-type]
    assert result.score is not None
    metrics = result.score.metrics
    assert metrics["S_VA"] == 0
    assert sum(value > 0 for key, value in metrics.items() if key in {f"F1_{c}" for c in MTL.task("expr").columns}) == 1
    assert len({line.partition(",")[2] for line in path.read_text().splitlines()[1:]}) == 1
    submit(Request(files=(table_files[0],), name="trained", out=tmp_path, **common))  # type: ignore[arg-type]
    assert [(row.name, row.baseline) for row in board.rows(common["store"], MTL)] == [  # type: ignore[arg-type]
        ("trained", False),
        ("constant", True),
    ]


def test_labels_that_say_nothing_and_existing_files_are_refused(tmp_path: Path, template: Path) -> None:
    with pytest.raises(ValueError, match="nothing in the columns arousal of track va"):
        constant_labels(pl.DataFrame({"valence": [0.5], "arousal": pl.Series([None], dtype=pl.Float32)}), VA)
    (tmp_path / "c.txt").write_text("precious")
    with pytest.raises(BadInput, match="exists already"):
        constant_predictions(pl.DataFrame(), template, VA, tmp_path / "c.txt")
    assert (tmp_path / "c.txt").read_text() == "precious"
