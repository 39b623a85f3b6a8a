from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from abaw.annotations import (
    find_annotation_folder,
    format_location,
    parse_locations,
    read_annotation,
    read_annotations,
    read_mtl_list,
    write_annotation,
    write_mtl_list,
)
from abaw.problems import BadInput, Problem
from abaw.tracks import AU, EXPR, VA, Task, get_track

MTL_HEADER = "image,valence,arousal,expression,aus"
TWELVE = "0,0,1,0,0,0,1,0,0,0,1,0"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refused(path: Path, task: Task) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read_annotation(path, task)
    return [str(problem) for problem in caught.value.problems]


def test_line_k_after_the_header_is_frame_k(tmp_path: Path) -> None:
    values = [k % 8 for k in range(1, 101)]
    path = write(tmp_path / "v.txt", ",".join(EXPR.columns) + "\n" + "\n".join(map(str, values)) + "\n")
    table = read_annotation(path, EXPR)
    assert table.schema == {"frame": pl.Int32, "expression": pl.Int8}
    assert table["frame"].to_list() == list(range(1, 101))
    lines = path.read_text().splitlines()
    for frame, expression in table.iter_rows():
        assert lines[frame] == str(expression)


def test_sentinels_become_null_column_by_column(tmp_path: Path) -> None:
    va = read_annotation(write(tmp_path / "va.txt", "valence,arousal\n-5,-5\n0.25,-5.0\n-1,1\n"), VA)
    assert va.rows() == [(1, None, None), (2, 0.25, None), (3, -1.0, 1.0)]
    au = read_annotation(write(tmp_path / "au.txt", f"{','.join(AU.columns)}\n-1,{TWELVE[2:]}\n{TWELVE}\n"), AU)
    assert au["AU1"].to_list() == [None, 0]
    assert au.drop("AU1").null_count().sum_horizontal().item() == 0
    expr = read_annotation(write(tmp_path / "e.txt", f"{','.join(EXPR.columns)}\n-1\n7\n"), EXPR)
    assert expr["expression"].to_list() == [None, 7]


def test_bom_carriage_returns_blank_ends_and_spaces_are_tolerated(tmp_path: Path) -> None:
    odd = write(tmp_path / "v.txt", b"\xef\xbb\xbfvalence, arousal\r\n0.5, -0.25 \r\n-5, -5\r\n\r\n\n \n")
    assert read_annotation(odd, VA).rows() == [(1, 0.5, -0.25), (2, None, None)]


@pytest.mark.parametrize("value", ["3.7", "1e0", "8", "-2", "x", "nan", "999999999999"])
def test_no_expression_is_guessed(tmp_path: Path, value: str) -> None:
    path = write(tmp_path / "v.txt", f"{','.join(EXPR.columns)}\n3\n{value}\n4\n")
    (message,) = refused(path, EXPR)
    assert message == (f"{path}:3: expression is {value!r}; expected an integer from 0 to 7, or -1 where not annotated")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1.01", "-4.99", "-1.0001", "0,5", "0x1", "1e400"])
def test_no_valence_is_guessed(tmp_path: Path, value: str) -> None:
    path = write(tmp_path / "v.txt", f"valence,arousal\n{value},0\n")
    (message,) = refused(path, VA)
    assert message.startswith(f"{path}:2: ")
    assert "expected" in message


def test_a_blank_line_inside_would_shift_every_later_frame(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", "valence,arousal\n0,0\n\n0,0\n")
    assert refused(path, VA) == [f"{path}:3: found ''; expected 2 values (valence,arousal)"]
    path = write(tmp_path / "e.txt", f"{','.join(EXPR.columns)}\n3\n\n4\n")
    assert refused(path, EXPR) == [f"{path}:3: found ''; expected 1 values (expression)"]
    with pytest.raises(BadInput, match="found ''; expected 1 values"):
        read_annotation(path, EXPR, misfits=[])


def test_values_that_are_no_labels_can_be_collected_instead_of_refused(tmp_path: Path) -> None:
    misfits: list[Problem] = []
    va = read_annotation(write(tmp_path / "v.txt", "valence,arousal\n0.5,2\nx,0\n0,0\n"), VA, misfits=misfits)
    assert va.rows() == [(1, 0.5, None), (2, None, 0.0), (3, 0.0, 0.0)]
    expected = "expected a number in [-1, 1], or -5 where not annotated"
    assert list(map(str, misfits)) == [
        f"{tmp_path}/v.txt:2: arousal is '2'; {expected}",
        f"{tmp_path}/v.txt:3: valence is 'x'; {expected}",
    ]
    many = write(tmp_path / "e.txt", ",".join(EXPR.columns) + "\n" + "8\n" * 50)
    misfits.clear()
    assert read_annotation(many, EXPR, misfits=misfits)["expression"].null_count() == len(misfits) == 50


def test_header_of_another_challenge_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", "valence,arousal\n0.5,0.5\n")
    messages = refused(path, EXPR)
    assert messages[0] == (
        f"{path}:1: header 'valence,arousal'; expected 'Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other'"
    )


def test_a_file_without_a_header_does_not_lose_its_first_frame_silently(tmp_path: Path) -> None:
    messages = refused(write(tmp_path / "v.txt", "0.5,0.5\n0.1,0.1\n"), VA)
    assert "header '0.5,0.5'; expected 'valence,arousal'" in messages[0]


def test_files_without_labels_missing_files_and_binary_files(tmp_path: Path) -> None:
    assert "a header and no label" in refused(write(tmp_path / "a.txt", "valence,arousal\n"), VA)[0]
    assert "no such file" in refused(tmp_path / "none.txt", VA)[0]
    assert "not a text file" in refused(write(tmp_path / "b.txt", b"\xff\xd8\xff\xe0"), VA)[0]
    assert "header ''" in refused(write(tmp_path / "c.txt", ""), VA)[0]


def test_every_problem_of_every_file_is_reported_at_once(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "valence,arousal\n0,2\n0,0\n0,0,0\n")
    write(tmp_path / "b.txt", "valence,arousal\n0,0\n")
    write(tmp_path / "c.txt", "valence;arousal\nx,0\n")
    with pytest.raises(BadInput) as caught:
        read_annotations(tmp_path, VA)
    found = [(Path(problem.path).name, problem.line) for problem in caught.value.problems]
    assert found == [("a.txt", 2), ("a.txt", 4), ("c.txt", 1), ("c.txt", 2)]


def test_a_file_of_bad_lines_is_counted_not_printed_in_full(tmp_path: Path) -> None:
    messages = refused(write(tmp_path / "v.txt", "valence,arousal\n" + "a,b\n" * 1000), VA)
    assert len(messages) == 21
    assert messages[-1].endswith("and 1980 more bad values")


def test_annotations_of_a_folder_are_sorted_and_names_are_equal_not_contained(tmp_path: Path) -> None:
    for name, value in (("102-30-640x360", 0.5), ("102", -0.5)):
        write(tmp_path / f"{name}.txt", f"valence,arousal\n{value},0\n-5,-5\n")
    write(tmp_path / "._102.txt", b"\x00\x05\x16")
    table = read_annotations(tmp_path, VA)
    assert table["video"].to_list() == ["102", "102", "102-30-640x360", "102-30-640x360"]
    assert table["valence"].to_list() == [-0.5, None, 0.5, None]
    assert table["frame"].to_list() == [1, 2, 1, 2]


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"expected one <video>\.txt a video; it holds nothing"):
        read_annotations(tmp_path, VA)


def test_mtl_list_has_five_names_over_sixteen_columns_and_keeps_its_order(tmp_path: Path) -> None:
    missing = ",".join(["-1"] * 13)
    rows = [
        f"video2/00017.jpg,0.5,-5,4,{TWELVE}",
        f"video10/00001.jpg,-5,-5,{missing}",
        f"video2/00008.jpg,0,0,0,{TWELVE}",
    ]
    table = read_mtl_list(write(tmp_path / "list.txt", "\n".join([MTL_HEADER, *rows])))
    assert table.columns == ["video", "frame", *get_track("mtl").label_columns]
    assert table.select("video", "frame").rows() == [("video2", 17), ("video10", 1), ("video2", 8)]
    assert table.row(0)[2:5] == (0.5, None, 4)
    assert table.row(1)[2:] == (None,) * 15
    assert list(table.row(0)[5:]) == [int(value) for value in TWELVE.split(",")]


def test_mtl_list_refuses_bad_images_repeats_and_widths(tmp_path: Path) -> None:
    good = f"v/00001.jpg,0,0,0,{TWELVE}"
    lines = [good, f"v/1.jpg,0,0,0,{TWELVE}", good, f"v/00003.jpg,0,0,{TWELVE}", f"v/00004.jpg,0,0,9,{TWELVE}"]
    path = write(tmp_path / "list.txt", "\n".join([MTL_HEADER, *lines]))
    with pytest.raises(BadInput) as caught:
        read_mtl_list(path)
    messages = [str(problem) for problem in caught.value.problems]
    assert messages[0].startswith(f"{path}:3: 'v/1.jpg' is no image location; expected <video>/<frame>.jpg")
    assert messages[1] == f"{path}:4: 'v/00001.jpg' was listed before; expected one line an image"
    assert messages[2].startswith(f"{path}:5: found ")
    assert "expected 16 values" in messages[2]
    assert messages[3].startswith(f"{path}:6: expression is '9'")


@given(st.from_regex(r"[a-z0-9_-]{1,20}", fullmatch=True), st.integers(1, 999_999))
def test_a_location_survives_the_round_trip(video: str, frame: int) -> None:
    assert parse_locations(pl.Series([format_location(video, frame)])).row(0) == (video, frame)


@pytest.mark.parametrize(
    "text", ["v/00000.jpg", "v/1.jpg", "00001.jpg", "v/00001.png", "v/000001.jpg", "v/w/00001.jpg"]
)
def test_other_locations_are_null(text: str) -> None:
    assert parse_locations(pl.Series([text])).row(0) == (None, None)


def labels(task: Task, rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (rows, len(task.label_columns))
    if task.kind == "regression":
        values = rng.integers(-10_000, 10_001, shape) / 10_000
    else:
        values = rng.integers(0, len(task.columns) if task.kind == "classes" else 2, shape).astype(float)
    return np.where(rng.random(shape) < 0.3, np.nan, values)


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 30), seed=st.integers(0, 1000))
@pytest.mark.parametrize("task", [VA, EXPR, AU], ids=lambda task: task.name)
def test_annotations_survive_the_round_trip(
    tmp_path_factory: pytest.TempPathFactory, task: Task, rows: int, seed: int
) -> None:
    path = tmp_path_factory.mktemp("round") / "v.txt"
    true_ND = labels(task, rows, seed)
    write_annotation(path, task, true_ND)
    read_ND = (
        read_annotation(path, task).select(pl.col(task.label_columns).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    )
    np.testing.assert_array_equal(read_ND, true_ND)


def test_written_bytes_are_the_official_ones(tmp_path: Path) -> None:
    write_annotation(tmp_path / "v.txt", VA, np.array([[0.5, -0.25], [np.nan, np.nan]]))
    assert (tmp_path / "v.txt").read_bytes() == b"valence,arousal\n0.5000,-0.2500\n-5,-5\n"
    write_annotation(tmp_path / "e.txt", EXPR, np.array([[3.0], [np.nan]]))
    assert (tmp_path / "e.txt").read_bytes() == b"Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n3\n-1\n"


def test_a_writer_refuses_what_a_reader_would(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expression = 3\.5 in row 1; expected an integer from 0 to 7"):
        write_annotation(tmp_path / "e.txt", EXPR, np.array([[3.0], [3.5]]))


def test_mtl_list_survives_the_round_trip_from_either_form_of_action_units(tmp_path: Path) -> None:
    rows = f"v/00001.jpg,0.5000,-5,4,{TWELVE}\nw/00009.jpg,-5,-5,-1,{'-1,' * 11}-1\n"
    source = write(tmp_path / "a.txt", f"{MTL_HEADER}\n{rows}")
    table = read_mtl_list(source)
    write_mtl_list(tmp_path / "b.txt", table)
    assert (tmp_path / "b.txt").read_bytes() == source.read_bytes()
    packed = table.with_columns(pl.concat_arr(AU.columns).cast(pl.Array(pl.Int8, 12)).alias("au")).drop(AU.columns)
    write_mtl_list(tmp_path / "c.txt", packed)
    assert_frame_equal(read_mtl_list(tmp_path / "c.txt"), table)


def test_an_annotation_folder_is_found_from_root_challenge_or_set(tmp_path: Path) -> None:
    track = get_track("va")
    folder = tmp_path / "VA_Estimation_Challenge" / "Validation_Set"
    write(folder / "v.txt", "valence,arousal\n0,0\n")
    write(tmp_path / "training_set_annotations.md", "")
    for start in (tmp_path, folder.parent, folder):
        assert find_annotation_folder(start, track) == folder
    with pytest.raises(BadInput, match=r"looked for \*\.txt, AU_Detection_Challenge/<set>/\*\.txt; it holds VA_Est"):
        find_annotation_folder(tmp_path, get_track("au"))
    with pytest.raises(BadInput, match="no such folder"):
        find_annotation_folder(tmp_path / "none", track)
    write(folder.parent / "Train_Set" / "v.txt", "valence,arousal\n0,0\n")
    with pytest.raises(BadInput, match=r"several sets of track va; name one: .*Train_Set, .*Validation_Set"):
        find_annotation_folder(tmp_path, track)
