"""LSD: truth that is class folders, tables as `abaw prepare lsd` numbers their images, and the organisers' names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from abaw.predictions import schema, write_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.cli import main
from leaderboard.images import places
from leaderboard.truth import read_truth

LSD = TRACKS["lsd"]
FOLDERS = ("ANGRER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE")
Make = Callable[..., Path]


@pytest.fixture
def images(tmp_path: Path) -> Make:
    """Make a folder of empty images, and return it."""

    def make(*names: str, root: str = "lsd") -> Path:
        for name in names:
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path / root

    return make


def labels_of(folder: Path) -> dict[str, float]:
    truth = read_truth(folder, LSD)
    assert truth.mask["expr"].all()
    return dict(zip(truth.image.to_list(), truth.true["expr"][:, 0].tolist(), strict=True))


def test_images_have_the_class_of_their_folder_and_the_names_of_a_submission(images: Make) -> None:
    folder = images(
        "ANGRER/0.jpg", "ANGER/00012.jpg", "FEAR/people/7.JPG", "SURPRISE/3.jpeg", "FEAR/.8.jpg", "notes.md"
    )
    assert labels_of(folder) == {"12.jpg": 0, "0.jpg": 0, "7.jpg": 2, "3.jpg": 5}
    inside_a_set = images("Validation_Set/FEAR/1.jpg", root="one")
    assert labels_of(inside_a_set) == {"1.jpg": 2}


def test_names_that_are_no_different_numbers_have_their_folder_too(images: Make) -> None:
    assert labels_of(images("ANGER/1.jpg", "ANGER/4.jpg", "FEAR/1.jpg")) == {
        "ANGER/1.jpg": 0, "ANGER/4.jpg": 0, "FEAR/1.jpg": 2
    }  # fmt: skip
    folder = images("FEAR/anna_b.jpg", "FEAR/anna_a.jpg", "FEAR/more/anna_a.jpg", "SADNESS/9.jpg", root="words")
    assert labels_of(folder) == {"FEAR/1.jpg": 2, "FEAR/2.jpg": 2, "FEAR/3.jpg": 2, "SADNESS/9.jpg": 4}


def test_what_is_no_set_of_class_folders_is_refused(images: Make, tmp_path: Path) -> None:
    expected = "expected class folders: ANGER, DISGUST, FEAR, HAPPINESS, SADNESS, SURPRISE, ANGRER"
    folder = images("train/FEAR/1.jpg", "val/FEAR/2.jpg", "val/NEUTRAL/3.jpg", "val/NEUTRAL/4.jpg", "5.jpg")
    with pytest.raises(BadInput) as refused:
        read_truth(folder, LSD)
    assert str(refused.value).splitlines() == [
        f"{folder}: 1 images lie in no class folder; {expected}",
        f"{folder}/val/NEUTRAL: 2 images lie in no class folder; {expected}",
        f"{folder}: holds several sets of class folders; name one: {folder}/train, {folder}/val",
    ]
    test = images("0.jpg", "1.jpg", root="test")
    with pytest.raises(BadInput) as refused:
        read_truth(test, LSD)
    assert str(refused.value) == f"{test}: no image in a class folder; {expected}; it holds 0.jpg, 1.jpg"
    with pytest.raises(BadInput, match="expected the truth of track lsd: class folders of images, or a file in sub"):
        read_truth(tmp_path / "nothing", LSD)


@pytest.fixture
def delivery(images: Make) -> Path:
    """Eighteen images of six classes: image k has class k % 6."""
    return images(*(f"val/{FOLDERS[k % 6]}/{k}.jpg" for k in range(18)))


def submission(path: Path, stated: list[int]) -> str:
    path.write_text("image,expression\n" + "".join(f"{k}.jpg,{value}\n" for k, value in enumerate(stated)))
    return str(path)


def test_class_folders_are_truth_and_training_labels(
    tmp_path: Path, delivery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = [k % 6 for k in range(17)] + [0]
    right = submission(tmp_path / "s.txt", stated)
    assert main(["score", right, "--track", "lsd", "--truth", str(delivery)]) == 0
    # Of three images of a class one is taken for another: F1 of 6/7 and 4/5, and 1 of the others.
    score = (4 + 6 / 7 + 4 / 5) / 6
    assert capsys.readouterr().out.startswith(f"Learning from synthetic data: P_LSD {score:.4f} over 18 frames\n")
    options = ["--track", "lsd", "--template", right]
    store = f"sqlite:///{tmp_path}/b.sqlite"
    submitted = ["submit", right, *options, "--truth", str(delivery / "val"), "--name", "x", "--store", store]
    assert main(submitted) == 0
    assert capsys.readouterr().out.startswith(f"x: P_LSD {score:.4f}, rank 1 of 1")
    angry = submission(tmp_path / "angry.txt", [0] * 18)
    assert main(["validate", angry, *options, "--training", str(delivery)]) == 0
    assert "Anger is in 100.0% of the rows, and in 16.7% of the training labels" in capsys.readouterr().err


def table(path: Path, keys: list[tuple[str, int]], stated: list[int], *, labels: bool = False) -> str:
    """Predictions of the classes, in a table as a run leaves it."""
    columns = {"video": [video for video, _ in keys], "frame": [frame for _, frame in keys]}
    columns |= {name: np.eye(6)[stated][:, k].tolist() for k, name in enumerate(LSD.columns)}
    columns |= {"label_expression": stated} if labels else {}
    fields = [field for field in schema(LSD) if field.name in columns]
    write_predictions(pa.table([pa.array(columns[f.name], f.type) for f in fields], schema=pa.schema(fields)), path)
    return str(path)


@pytest.mark.parametrize("first", [0, 1])
def test_a_run_on_the_test_images_gives_the_file_of_the_template(tmp_path: Path, first: int) -> None:
    """`abaw prepare` makes frame 1 of `test/0.jpg`, and where there is no such image, of `test/1.jpg`."""
    template, out = tmp_path / "t.txt", tmp_path / "lsd.txt"
    names = [f"{k}.jpg" for k in range(first, first + 4)]
    template.write_text("image,expression\n" + "".join(f"{name},\n" for name in names))
    tables = table(tmp_path / "t.parquet", [("lsd/test", k) for k in (1, 2, 3, 4)], [5, 0, 2, 1])
    assert main(["export", tables, "--track", "lsd", "--template", str(template), "--out", str(out)]) == 0
    assert out.read_text() == "image,expression\n" + "".join(
        f"{name},{value}\n" for name, value in zip(names, (5, 0, 2, 1), strict=True)
    )
    assert main(["score", tables, "--track", "lsd", "--truth", str(out)]) == 0


def test_a_template_of_more_images_is_not_filled_by_a_shift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = submission(tmp_path / "t.txt", [0] * 4)
    tables = table(tmp_path / "t.parquet", [("test", k) for k in (1, 2, 3)], [0, 1, 2])
    out = str(tmp_path / "lsd.txt")
    assert main(["export", tables, "--track", "lsd", "--template", template, "--out", out]) == 1
    message = "no prediction for 3.jpg; a still image cannot be filled from others"
    assert capsys.readouterr().err == f"{tables}: {message}\n"


def test_a_table_of_class_folders_is_scored_by_its_own_labels(
    tmp_path: Path, delivery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [(f"Validation_Set/{FOLDERS[k % 6]}/batch 1", k + 1) for k in range(18)]
    tables = table(tmp_path / "val.parquet", keys, [k % 6 for k in range(18)], labels=True)
    assert main(["score", tables, "--track", "lsd"]) == 0
    assert capsys.readouterr().out.startswith("Learning from synthetic data: P_LSD 1.0000 over 18 frames\n")
    assert main(["score", tables, "--track", "lsd", "--truth", str(delivery)]) == 1
    named = f"its images are named as Validation_Set/ANGRER/batch 1/1.jpg, and those of {delivery} as 0.jpg"
    assert capsys.readouterr().err == f"{tables}: {named}; leave out --truth where the table carries its labels\n"


def test_the_place_of_an_image_in_folders_of_folders() -> None:
    found = places(pl.Series(["a/b c/7.jpg", "12.jpg", "x/00003.jpg"]))
    assert found.rows() == [("a/b c", 7), ("", 12), ("x", 3)]
