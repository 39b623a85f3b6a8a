"""Organisers' files without a board: line ends, zip, ABAW3's folder; and warnings about files that look wrong."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from abaw.predictions import read_predictions, schema, write_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.cli import main
from leaderboard.drift import warnings
from leaderboard.export import export
from leaderboard.official import official_file
from leaderboard.submissions import read_submission
from leaderboard.templates import check, read_template
from leaderboard.truth import read_truth

VA, LSD, MTL = TRACKS["va"], TRACKS["lsd"], TRACKS["mtl"]
VA_HEADER = "image_location,valence,arousal"


def va_table(path: Path, frames: dict[str, list[int]]) -> Path:
    keys = [(video, frame) for video, own in frames.items() for frame in own]
    columns: dict[str, Any] = {"video": [video for video, _ in keys], "frame": [frame for _, frame in keys]}
    columns |= {"valence": [frame / 10 for _, frame in keys], "arousal": [1.5] * len(keys)}
    fields = [field for field in schema(VA) if field.name in columns]
    write_predictions(pa.table([pa.array(columns[f.name], f.type) for f in fields], schema=pa.schema(fields)), path)
    return path


def test_the_file_has_the_line_ends_of_the_template_and_a_manifest(tmp_path: Path) -> None:
    table = va_table(tmp_path / "t.parquet", {"a": [1, 3], "b": [1]})
    template = tmp_path / "template.txt"
    template.write_bytes(f"\ufeff{VA_HEADER}\r\nb/00001.jpg,\r\na/00002.jpg,\r\na/00004.jpg,\r\n".encode())
    made = export([table], VA, template, tmp_path / "out" / "va.txt")
    assert made.out.read_bytes().decode() == (
        f"{VA_HEADER}\r\nb/00001.jpg,0.1000,1.0000\r\na/00002.jpg,0.2000,1.0000\r\na/00004.jpg,0.3000,1.0000\r\n"
    )
    manifest = json.loads(made.manifest.read_text())
    assert (manifest["rows"], manifest["videos"], manifest["filled_rows"]) == (3, 2, 2)
    assert manifest["members"] == [str(table)]
    with pytest.raises(BadInput, match=r"va\.txt: exists already") as caught:
        export([table], VA, template, made.out)
    assert len(caught.value.problems) == 2


def test_a_file_a_folder_and_a_table_do_not_take_each_others_place(tmp_path: Path) -> None:
    table = va_table(tmp_path / "t.parquet", {"a": [1, 2]})
    template, folder, file = tmp_path / "template.txt", tmp_path / "folder", tmp_path / "file.txt"
    template.write_text("a/00001.jpg,\na/00002.jpg,\n")
    folder.mkdir()
    file.touch()
    with pytest.raises(BadInput, match=f"folder: is a folder; name the file, such as {folder}/submission.txt"):
        export([table], VA, template, folder, overwrite=True)
    with pytest.raises(BadInput, match=r"file\.txt: is a file; one file a video goes into a folder"):
        export([table], VA, template, file, form="abaw3", overwrite=True)
    for given in (table, template):
        with pytest.raises(BadInput, match="is one of the files that it is made of; name another output"):
            export([table], VA, template, given, overwrite=True)
    with pytest.raises(BadInput, match=r"t\.parquet: is given more than once; name each table once"):
        export([table, table], VA, template, tmp_path / "out.txt")


def test_a_zip_holds_the_file_and_has_the_same_bytes_again(tmp_path: Path) -> None:
    table = va_table(tmp_path / "t.parquet", {"a": [1, 2]})
    template = tmp_path / "template.txt"
    template.write_text("a/00001.jpg,\na/00002.jpg,\n")
    one, two = (export([table], VA, template, tmp_path / name / "va.zip").out for name in ("x", "y"))
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        assert archive.namelist() == ["va.txt"]
        assert archive.read("va.txt").decode().splitlines()[1] == "a/00001.jpg,0.1000,1.0000"


@pytest.mark.parametrize("listed", ["a\nb,\n", "a.txt\nb.txt\n", "a/00001.jpg,\na/00005.jpg,\nb/00002.jpg,\n"])
def test_the_form_of_abaw3_is_a_file_a_video_with_every_frame(tmp_path: Path, listed: str) -> None:
    table = va_table(tmp_path / "t.parquet", {"a": [2, 5], "b": [2]})
    template = tmp_path / "videos.txt"
    template.write_text(listed)
    folder = export([table], VA, template, tmp_path / "abaw3", form="abaw3").out
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.txt"]
    assert (folder / "a.txt").read_text().splitlines() == [
        "valence,arousal", "0.2000,1.0000", "0.2000,1.0000", "0.3000,1.0000", "0.4000,1.0000", "0.5000,1.0000",
    ]  # fmt: skip
    rows, reasons = read_submission(folder, VA)
    assert rows is not None
    assert not reasons
    assert rows["image"].to_list() == [*(f"a/0000{k}.jpg" for k in range(1, 6)), "b/00001.jpg", "b/00002.jpg"]
    (folder / "old.txt").write_text("")
    with pytest.raises(BadInput, match=r"holds other files \(old\.txt\)"):
        export([table], VA, template, folder, form="abaw3", overwrite=True)


def test_a_video_without_predictions_is_not_filled_from_another(tmp_path: Path) -> None:
    table = va_table(tmp_path / "t.parquet", {"a": [1]})
    template = tmp_path / "videos.txt"
    template.write_text("a\nb\n")
    with pytest.raises(BadInput, match="no prediction for any frame of video b"):
        export([table], VA, template, tmp_path / "abaw3", form="abaw3")


def test_stills_are_matched_by_number_and_written_as_the_template_spells_them(tmp_path: Path) -> None:
    names = [name for name in schema(LSD).names if name in ("video", "frame", *LSD.columns)]
    scores = np.eye(6)[[3, 1]]
    columns = [["", ""], [12, 7], *scores.T.tolist()]
    wanted = [schema(LSD).field(name) for name in names]
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, wanted, strict=True)], schema=pa.schema(wanted))
    template = tmp_path / "t.txt"
    template.write_text("image,expression\n00007.jpg,\n00012.jpg,\n")
    data, filled = official_file(table, read_template(template, LSD).rows, LSD, tmp_path / "x.parquet")
    assert data.decode() == "image,expression\n00007.jpg,1\n00012.jpg,3\n"
    assert filled == 0


def test_a_folder_is_validated_against_a_template(tmp_path: Path) -> None:
    template = tmp_path / "t.txt"
    template.write_text("b/00001.jpg,\na/00001.jpg,\na/00002.jpg,\nc/00001.jpg,\n")
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / "a.txt").write_text("valence,arousal\n0,0\n")
    (folder / "b.txt").write_text("valence,arousal\n0,0\n0,0\n")
    _, reasons = check(folder, read_template(template, VA))
    assert [line.replace(f"{tmp_path}/", "") for line in reasons.lines] == [
        "s: video c is missing whole: 1 rows, asked for from t.txt:4 on",
        "s/a.txt: a/00002.jpg is missing; t.txt:3 asks for it",
        "s/b.txt:3: b/00002.jpg is not in the template t.txt; remove it",
    ]


def rows_of(track: str, values: Any, videos: int = 2) -> pl.DataFrame:
    labels = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    image = [f"v{k % videos}/{k // videos + 1:05d}.jpg" for k in range(len(labels))]
    return pl.DataFrame({"image": image} | dict(zip(TRACKS[track].label_columns, labels.T, strict=True)))


def test_drift_is_told(tmp_path: Path) -> None:
    training = tmp_path / "train.txt"
    training.write_text(f"{VA_HEADER}\n" + "".join(f"t/{k:05d}.jpg,{0.5 - k % 2},0.{k % 9}\n" for k in range(1, 200)))
    train = read_truth(training, VA)
    rng = np.random.default_rng(0)
    good = np.column_stack([rng.choice([-0.5, 0.5], 400), rng.uniform(0, 0.9, 400)])
    assert warnings(rows_of("va", good), VA, train, {}) == []
    still = good.copy()
    still[::2] = 0.7
    still[:, 0] = 0.9
    found = warnings(rows_of("va", still), VA, train, {})
    assert found[0].startswith("valence has the mean 0.90, the training labels ")
    assert found[1].startswith("valence has the standard deviation 0.000, the training labels 0.50")
    assert found[-1] == "1 of 2 videos state the same va in every row: v0"
    expr = TRACKS["expr"]
    labels = tmp_path / "expr.txt"
    header = ",".join(expr.submission_header)
    labels.write_text(f"{header}\n" + "".join(f"t/{k:05d}.jpg,{k % 8}\n" for k in range(1, 801)))
    found = warnings(rows_of("expr", [0, 1, 0, 0] * 2), expr, read_truth(labels, expr), {})
    assert found == [
        "Neutral is in 75.0% of the rows, and in 12.5% of the training labels",
    ]


def test_a_copy_of_an_earlier_file_is_suspected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"v/{k:05d}.jpg,0.{k % 10},0" for k in range(1, 201)]
    for name, own in (("one", lines), ("two", [*lines[:-1], "v/00200.jpg,0.9,0.9"]), ("other", [
        f"v/{k:05d}.jpg,0.{(k + 1) % 10},0" for k in range(1, 201)])):  # fmt: skip
        (tmp_path / f"{name}.txt").write_text("\n".join([VA_HEADER, *own]) + "\n")
    one, two, other = (tmp_path / f"{name}.txt" for name in ("one", "two", "other"))
    arguments = ["validate", str(two), "--track", "va", "--template", str(one), "--against", str(one), str(other)]
    assert main(arguments) == 0
    assert capsys.readouterr().err == (
        f"warning: {two}: 99.5% of the 200 rows that it shares with {one} are equal: is it a copy?\n"
    )


def test_the_export_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = va_table(tmp_path / "t.parquet", {"a": [1, 3]})
    template, out = tmp_path / "t.txt", tmp_path / "va.txt"
    template.write_text("a/00001.jpg\na/00002.jpg\n")
    assert main(["export", str(table), "--track", "va", "--template", str(template), "--out", str(out)]) == 0
    output = capsys.readouterr()
    assert output.out == f"{out}: 2 rows in 1 videos\nmanifest: {out}.manifest.json\n"
    assert output.err == "1 of 2 rows (50.0%) had no prediction: filled from their neighbours\n"
    assert main(["validate", str(out), "--track", "va", "--template", str(template), "--all"]) == 0


def test_multi_task_truth_from_the_three_challenge_folders(tmp_path: Path) -> None:
    for challenge, header, text in (
        ("VA_Estimation_Challenge", "valence,arousal", "0.5,-0.5\n-5,-5\n"),
        ("EXPR_Recognition_Challenge", ",".join(TRACKS["expr"].columns), "3\n-1\n7\n"),
        ("AU_Detection_Challenge", ",".join(TRACKS["au"].columns), ",".join("1" * 12) + "\n"),
    ):
        for name in ("Train_Set", "Validation_Set"):
            folder = tmp_path / challenge / name
            folder.mkdir(parents=True)
            (folder / "v.txt").write_text(f"{header}\n{text}")
    with pytest.raises(BadInput, match=r"holds several sets of track va; name one: .*/Train_Set, .*/Validation_Set"):
        read_truth(tmp_path, MTL)
    truth = read_truth(tmp_path / "Validation_Set", MTL)
    assert truth.image.to_list() == ["v/00001.jpg", "v/00002.jpg", "v/00003.jpg"]
    assert truth.true["va"][0].tolist() == [0.5, -0.5]
    assert {name: mask_N.tolist() for name, mask_N in truth.mask.items()} == {
        "va": [True, False, False],
        "expr": [True, False, True],
        "au": [True, False, False],
    }


def test_label_lines_after_the_last_row_are_counted_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "v.txt").write_text("valence,arousal\n0,0\n0.5,1\n0.5,0.5\n-5,-5\n")
    path = tmp_path / "s.txt"
    path.write_text(f"{VA_HEADER}\nv/00001.jpg,0,0\nv/00002.jpg,0.5,1\n")
    arguments = ["score", str(path), "--track", "va", "--truth", str(folder), "--json"]
    assert main(arguments) == 0
    output = capsys.readouterr()
    assert output.err == f"{path}: 1 labelled lines come after the last row of their video; they do not count\n"
    result = json.loads(output.out)
    assert (result["frames"], result["beyond"], result["score"]) == (2, 1, 1.0)
    path.write_text(f"{VA_HEADER}\nv/00001.jpg,0,0\nv/00003.jpg,0.5,1\n")
    assert main(arguments) == 1
    assert "no prediction for v/00002.jpg" in capsys.readouterr().err


def test_columns_of_another_type_are_refused(tmp_path: Path) -> None:
    path = va_table(tmp_path / "t.parquet", {"a": [1, 3]})
    table = read_predictions(path, VA)
    text = table.set_column(2, "valence", pa.array(["0.1", "0.3"])).set_column(1, "frame", pa.array([1.0, 3.0]))
    import pyarrow.parquet as pq

    pq.write_table(text, path)
    with pytest.raises(BadInput) as caught:
        read_predictions(path, VA)
    assert str(caught.value).splitlines() == [
        f"{path}: column frame is of type double; expected whole numbers (int32)",
        f"{path}: column valence is of type string; expected numbers (float)",
    ]
