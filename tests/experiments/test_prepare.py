"""`abaw prepare` as a person types it: counts on stdout, refusals on stderr, nothing of theirs is lost."""

import json
import shutil

import polars as pl
import pytest

from abaw.data.shards import open_frames
from experiments.cli import run
from experiments.prepare import SOURCES, WITH_DROPS

pytestmark = pytest.mark.usefixtures("local_ray")

SMALL = ("--videos", "5", "--frames", "8", "--test-videos", "1", "--pool-people", "1", "--pool-frames", "3",
         "--lsd-people", "3", "--size", "32")  # fmt: skip


@pytest.fixture(scope="module")
def delivery(local_ray, tmp_path_factory):
    """The embedded faces, with a crop that is cut off and one that is no image."""
    out = tmp_path_factory.mktemp("prepare") / "faces"
    assert run(["prepare", "faces", str(out), *SMALL]) == 0
    truncated, corrupt = sorted((out / "cropped_aligned").rglob("*.jpg"))[:2]
    truncated.write_bytes(truncated.read_bytes()[:-100])
    corrupt.write_bytes(b"no JPEG")
    return out


def test_faces_are_written_and_counted(tmp_path, capsys):
    out = tmp_path / "faces"
    assert run(["prepare", "faces", str(out), *SMALL, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["videos"] == len(list((out / "cropped_aligned").iterdir())) == 6
    assert counts["crops"] == len(list((out / "cropped_aligned").rglob("*.jpg")))
    assert counts["pool_crops"] == 3
    assert (out / "manifest.json").is_file()


def test_a_delivery_becomes_shards_and_a_coverage_report_and_what_is_dropped_is_counted(delivery, tmp_path, capsys):
    out = tmp_path / "shards"
    assert run(["prepare", "affwild2", str(delivery), str(out), "--slots", "2", "--json"]) == WITH_DROPS
    printed = capsys.readouterr()
    manifest = json.loads(printed.out)
    crops = sorted((delivery / "cropped_aligned").rglob("*.jpg"))
    assert (manifest["frames"], manifest["dropped"], manifest["slots"]) == (len(crops) - 2, 2, 2)
    assert f"2 images, files or labels were left out: see {out / 'drops.parquet'}" in printed.err
    drops = dict(pl.read_parquet(out / "drops.parquet").select("path", "reason").iter_rows())
    assert list(drops) == [str(path) for path in crops[:2]]
    assert all(reason.startswith("no complete JPEG: ") for reason in drops.values())
    assert (out / "coverage.md").read_text().startswith("#")
    assert "validation" in printed.err


@pytest.mark.parametrize("source", ["faces", "affwild2"])
def test_an_output_that_holds_something_is_refused_and_kept(delivery, source, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("dear")
    arguments = {"faces": [str(tmp_path), *SMALL], "affwild2": [str(delivery), str(tmp_path)]}
    capsys.readouterr()
    assert run(["prepare", source, *arguments[source]]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"abaw: {tmp_path}: is not empty" in printed.err
    assert "Traceback" not in printed.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_missing_delivery_says_what_was_expected(tmp_path, capsys):
    assert run(["prepare", "affwild2", str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert printed.err == (
        f"abaw: {tmp_path / 'none'}: no such folder; expected the organisers' delivery: crops, annotations, lists\n"
    )
    assert not (tmp_path / "out").exists()


def test_every_bad_label_file_is_told_with_its_line_and_nothing_is_written(tmp_path, capsys):
    folder = label_folder(tmp_path / "delivery")
    (folder / "a.txt").write_text("valence,arousal\n0.1,0.2\n0.1\n")
    (folder / "b.txt").write_text("valence;arousal\n0.1,0.2\n")
    (folder / "c.txt").write_text("valence,arousal\n")
    assert run(["prepare", "affwild2", str(tmp_path / "delivery"), str(tmp_path / "out")]) == 1
    line, header, empty = sorted(capsys.readouterr().err.splitlines())
    assert line == f"abaw: {folder / 'a.txt'}:3: found '0.1'; expected 2 values (valence,arousal)"
    assert header == f"abaw: {folder / 'b.txt'}:1: header 'valence;arousal'; expected 'valence,arousal'"
    assert empty.startswith(f"abaw: {folder / 'c.txt'}")
    assert "a header and no label" in empty
    assert not (tmp_path / "out").exists()


def test_a_bad_number_costs_its_label_alone_and_is_listed_with_its_line(delivery, tmp_path, capsys):
    root, out = tmp_path / "delivery", tmp_path / "out"
    folder = label_folder(root)
    image = next(path for path in (delivery / "cropped_aligned").rglob("*.jpg") if path.stat().st_size > 500)
    for frame in (1, 2):
        shutil.copy(image, root / "cropped_aligned" / "a" / f"{frame:05d}.jpg")
    (folder / "a.txt").write_text("valence,arousal\n0.1,two\n0.3,0.4\n")
    assert run(["prepare", "affwild2", str(root), str(out), "--slots", "1"]) == WITH_DROPS
    assert "1 images, files or labels were left out" in capsys.readouterr().err
    (drop,) = pl.read_parquet(out / "drops.parquet").to_dicts()
    assert drop["path"].startswith(str(folder / "a.txt"))
    assert "arousal is 'two'; expected a number in [-1, 1]" in drop["reason"]
    rows = pl.DataFrame(open_frames(out, columns=["frame", "valence", "arousal"])).sort("frame").rows()
    assert rows[0][::2] == (1, None)
    assert rows[1] == pytest.approx((2, 0.3, 0.4))


def test_a_template_from_elsewhere_names_the_test_videos(delivery, tmp_path, capsys):
    root, template = tmp_path / "delivery", tmp_path / "template.txt"
    (label_folder(root) / "a.txt").write_text("valence,arousal\n0.1,0.2\n")
    (root / "cropped_aligned" / "b").mkdir()
    image = next(path for path in (delivery / "cropped_aligned").rglob("*.jpg") if path.stat().st_size > 500)
    for video in "ab":
        shutil.copy(image, root / "cropped_aligned" / video / "00001.jpg")
    template.write_text("image_location,valence,arousal\nb/00001.jpg,\n")
    command = ["prepare", "affwild2", str(root), str(tmp_path / "out"), "--json", "--template"]
    assert run([*command, str(template)]) == 0
    assert {split: counts["frames"] for split, counts in json.loads(capsys.readouterr().out)["splits"].items()} == {
        "test": 1,
        "train": 1,
    }
    assert run([*command, str(tmp_path / "none.txt"), "--overwrite"]) == 1
    assert f"abaw: {tmp_path / 'none.txt'}: cannot be read as text: " in capsys.readouterr().err


def label_folder(root):
    """The folder of the valence-arousal labels of an empty delivery of one video, `a`."""
    folder = root / "annotations" / "VA_Estimation_Challenge" / "Train_Set"
    folder.mkdir(parents=True)
    (root / "cropped_aligned" / "a").mkdir(parents=True)
    return folder


def test_sizes_that_are_too_small_are_told_together(tmp_path, capsys):
    assert run(["prepare", "faces", str(tmp_path / "out"), "--videos", "1", "--size", "8"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "abaw: --videos: 1 is too small; the least is 5",
        "abaw: --size: 8 is too small; the least is 32",
    ]


def test_an_unknown_source_is_a_usage_error_that_lists_the_sources(capsys):
    assert run(["prepare", "affwild3"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "unknown source 'affwild3'; choose one of:" in printed.err
    for source in SOURCES:
        assert f"\n  {source} " in printed.err
