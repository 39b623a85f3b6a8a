"""Soups of checkpoints: the mean of their weights, checkpoints of other architectures, and commands that score one."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from abaw.problems import BadInput
from leaderboard.cli import main
from leaderboard.soup import ingredients, predict_with, score_with, soup_choice, write_soup


def checkpoint(path: Path, value: float, **extra: np.ndarray) -> Path:
    weights = {"w": np.full((2, 3), value, dtype=np.float32), "half": np.full(2, value, dtype=np.float16)}
    save_file({**weights, "steps": np.array([int(value)]), **extra}, path, metadata={"preprocessing": "crop"})
    return path


def test_a_soup_is_the_mean_and_keeps_types_and_metadata(tmp_path: Path) -> None:
    files = [checkpoint(tmp_path / f"{value}.safetensors", value) for value in (1, 2, 6)]
    write_soup(files, tmp_path / "new" / "soup.safetensors")
    soup = load_file(tmp_path / "new" / "soup.safetensors")
    assert soup["w"].dtype == np.float32
    assert soup["half"].dtype == np.float16
    np.testing.assert_array_equal(soup["w"], np.full((2, 3), 3))
    assert soup["steps"].tolist() == [1], "counters are the first checkpoint's"
    with safe_open(tmp_path / "new" / "soup.safetensors", framework="numpy") as file:
        metadata = file.metadata()
    assert metadata["preprocessing"] == "crop"
    assert json.loads(metadata["soup"]) == list(map(str, files))
    assert ingredients(tmp_path / "new" / "soup.safetensors") == files
    assert ingredients(files[0]) == ingredients(tmp_path / "none.safetensors") == []
    for path in files[:2]:
        path.rename(tmp_path / "new" / path.name)
    moved = [tmp_path / "new" / path.name for path in files[:2]]
    assert ingredients(tmp_path / "new" / "soup.safetensors") == [*moved, files[2]]


def test_checkpoints_of_another_architecture_are_refused_tensor_by_tensor(tmp_path: Path) -> None:
    first = checkpoint(tmp_path / "a.safetensors", 1)
    other = checkpoint(tmp_path / "b.safetensors", 1, extra=np.zeros(1))
    save_file({"w": np.zeros((3, 3), dtype=np.float32)}, tmp_path / "c.safetensors")
    with pytest.raises(BadInput) as caught:
        write_soup([first, other, tmp_path / "c.safetensors"], tmp_path / "s.safetensors")
    assert str(caught.value).splitlines() == [
        f"{other}: extra is F64 [1], in {first} absent; a soup takes one architecture",
        f"{tmp_path}/c.safetensors: half is absent, in {first} F16 [2]; a soup takes one architecture",
        f"{tmp_path}/c.safetensors: steps is absent, in {first} I64 [1]; a soup takes one architecture",
        f"{tmp_path}/c.safetensors: w is F32 [3, 3], in {first} F32 [2, 3]; a soup takes one architecture",
    ]
    assert not (tmp_path / "s.safetensors").exists()
    (tmp_path / "text.safetensors").write_text("no weights")
    for path, message in (("text", "not a readable safetensors file"), ("none", "no such checkpoint")):
        with pytest.raises(BadInput, match=message):
            write_soup([tmp_path / f"{path}.safetensors"], tmp_path / "s.safetensors")


def test_a_soup_of_chosen_soups_is_chosen_and_nobody_knows_its_score(tmp_path: Path) -> None:
    files = [checkpoint(tmp_path / f"{value}.safetensors", value) for value in (1, 2)]
    plain, chosen, both = (tmp_path / f"{name}.safetensors" for name in ("plain", "chosen", "both"))
    write_soup(files, plain)
    assert soup_choice(plain) is None, "the mean of all chooses nothing"
    assert soup_choice(tmp_path / "none.safetensors") is None
    write_soup(files, chosen, {"track": "va", "in_sample": 0.5})
    assert soup_choice(chosen) == {"track": "va", "in_sample": 0.5}
    write_soup([chosen, plain], both)
    assert soup_choice(both) == {}
    write_soup([plain, chosen], both, {"track": "va", "in_sample": 0.6})
    assert soup_choice(both) == {}


def test_the_command_scores_with_a_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [checkpoint(tmp_path / f"{value}.safetensors", value) for value in (9, 4)]
    script = tmp_path / "score.py"
    script.write_text(
        "import sys\nfrom safetensors.numpy import load_file\n"
        "print('score', -abs(load_file(sys.argv[1])['w'][0, 0] - 5))"
    )
    out = tmp_path / "soup.safetensors"
    command = ["soup", *map(str, files), "--out", str(out), "--greedy", f"{sys.executable} {script} {{}}"]
    assert main(command) == 0
    told = capsys.readouterr()
    assert told.err.startswith("in-sample: what the soup scores on other videos is not known")
    lines = told.out.splitlines()
    assert lines[0] == f"-1.0000  kept  {files[1]}"
    assert lines[-1] == f"{out}: the mean of 1 of 2 checkpoints"
    assert lines[-2] == "tuned on labels, the soup: untuned -1.5000, in-sample -1.0000, cross-fitted not known"
    assert soup_choice(out) == {"track": None, "untuned": -1.5, "in_sample": -1.0, "cross_fitted": None}
    np.testing.assert_array_equal(load_file(out)["w"], np.full((2, 3), 4))
    assert main(command) == 1
    assert "exists already" in capsys.readouterr().err
    for given, target, message in (
        ([files[0], files[0]], tmp_path / "two.safetensors", "is given more than once; name each checkpoint once"),
        (files, files[1], "is one of the files that it is made of; name another output"),
        (files, tmp_path / "soup", "is to hold weights; name it soup.safetensors"),
    ):
        assert main(["soup", *map(str, given), "--out", str(target), "--overwrite"]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("true", "has no {}"),
        ("false {}", "exit code 1"),
        ("echo {} x", "expected exit code 0 and the score"),
        ("no-such-program {}", "cannot be run"),
    ],
)
def test_a_program_that_says_no_score_is_refused(command: str, message: str) -> None:
    with pytest.raises(BadInput, match=message.replace("{}", r"\{\}")):
        score_with(command, Path("w.safetensors"))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("true {}", "has no {out} where a path goes"),
        ("false {} {out}", "exit code 1, said: nothing; expected exit code 0 and a prediction table at {out}"),
        ("true {} {out}", "exit code 0, said: nothing; expected exit code 0 and a prediction table at {out}"),
    ],
)
def test_a_program_that_writes_no_predictions_is_refused(command: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        predict_with(command, Path("w.safetensors"), tmp_path / "t.parquet")
