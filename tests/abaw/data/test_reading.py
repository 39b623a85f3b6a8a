"""What is read of shards, what is said of them, and what is wrong with them."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import simplejpeg

from abaw.data.affwild2 import read_affwild2
from abaw.data.images import read_images
from abaw.data.manifest import DROPS, Preprocessing, read_manifest
from abaw.data.report import missing_runs
from abaw.data.shards import open_frames, write_shards
from abaw.data.verify import verify_shards
from experiments.cli import run

pytestmark = pytest.mark.usefixtures("local_ray")


def bytes_read(read: Callable[[], object]) -> int:
    """What this process asked the system to read."""

    def count() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = count()
    read()
    return count() - before


@pytest.fixture(scope="module")
def noisy(local_ray: None, tmp_path_factory: Any) -> Path:
    """Eight videos of 500 frames of noise, 3 kB each, in ten slots."""
    root: Path = tmp_path_factory.mktemp("noisy")
    rng = np.random.default_rng(0)
    pictures = [simplejpeg.encode_jpeg(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)) for _ in range(20)]
    for video in range(8):
        (root / "pool" / f"v{video}").mkdir(parents=True)
        for frame in range(500):
            (root / "pool" / f"v{video}" / f"{frame + 1:05d}.jpg").write_bytes(pictures[frame % 20])
    write_shards(read_images(root / "pool").frames, root / "shards", slots=10, rows_per_file=100)
    return root / "shards"


def test_a_slot_costs_its_share_of_the_bytes_and_a_video_costs_its_own(noisy: Path) -> None:
    open_frames(noisy, slot=9)
    everything = bytes_read(lambda: open_frames(noisy))
    assert everything > 4000 * 1500
    assert bytes_read(lambda: open_frames(noisy, slot=3)) == pytest.approx(everything / 10, rel=0.2)
    one = open_frames(noisy, videos=["v3"])
    assert one["frame"].to_pylist() == list(range(1, 501)), "in order"
    assert set(one["video"].to_pylist()) == {"v3"}
    # A file holds two videos here, and a file is one row group: v2 or v4 is read beside v3.
    assert bytes_read(lambda: open_frames(noisy, videos=["v3"])) < everything / 3
    # The last 64 KiB of each file are read at once, whatever is asked for: much of such small files.
    assert bytes_read(lambda: open_frames(noisy, columns=["video", "frame"])) < everything / 3
    assert open_frames(noisy, videos=["v33"]).num_rows == 0


def test_only_the_row_groups_of_a_video_are_read(noisy: Path, tmp_path: Path) -> None:
    manifest = read_manifest(noisy)
    entry = next(file for file in manifest.files if file.first_video != file.last_video)
    (tmp_path / entry.path).parent.mkdir()
    table = pq.ParquetFile(noisy / entry.path).read()
    pq.write_table(table, tmp_path / entry.path, compression="none", row_group_size=10)
    one = replace(manifest, files=(entry,))
    whole = bytes_read(lambda: open_frames(tmp_path, manifest=one))
    assert bytes_read(lambda: open_frames(tmp_path, videos=[entry.last_video], manifest=one)) < 0.8 * whole
    found = open_frames(tmp_path, videos=[entry.last_video], manifest=one)
    assert found.equals(table.filter(pc.field("video") == entry.last_video))
    assert 0 < found.num_rows < table.num_rows


def test_a_split_is_found_though_its_column_is_not_asked_for(delivered: Path) -> None:
    found = open_frames(delivered, columns=["video"], splits=["train"])
    assert found.column_names == ["video"]
    assert set(found["video"].to_pylist()) == {"102", "new"}


def test_the_manifest_says_how_the_images_were_made(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", [1, 2, 3])
    frames = read_images(tree.root / "pool").frames
    made = Preprocessing(crop="face of RetainFace", alignment="eyes")
    write_shards(frames, tmp_path / "out", preprocessing=made, track="lsd", source="images pool")
    manifest = read_manifest(tmp_path / "out")
    assert manifest.preprocessing == Preprocessing(crop="face of RetainFace", alignment="eyes", colours="RGB", size=32)
    assert (manifest.track, manifest.source) == ("lsd", "images pool")


@pytest.fixture(scope="module")
def delivered(local_ray: None, write_delivery: Any, tmp_path_factory: Any) -> Path:
    root: Path = tmp_path_factory.mktemp("delivered")
    found = read_affwild2(write_delivery(root / "delivery").root)
    write_shards(found.frames, root / "shards", slots=2, drops=found.drops, track=found.track)
    return root / "shards"


def test_whole_shards_are_verified(delivered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "verify", str(delivered)]) == 0
    assert "20 images in 2 files are whole" in capsys.readouterr().out


def test_all_that_is_wrong_is_said(tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree.crops("pool/a", list(range(1, 41)))
    out = tmp_path / "out"
    write_shards(read_images(tree.root / "pool").frames, out, slots=4)
    names = [out / f"slot={slot}" / "00000.parquet" for slot in range(4)]
    image = open_frames(out, columns=["image"], slot=0)["image"][4].as_py()
    content = names[0].read_bytes()
    assert content.count(image) == 1
    names[0].write_bytes(content.replace(image, image[:-60] + bytes(60)))
    names[1].unlink()
    names[2].write_bytes(names[2].read_bytes()[:-1])
    names[3].write_bytes(bytes(len(names[3].read_bytes())))
    (out / "slot=3" / "00009.parquet").write_bytes(b"")
    pl.DataFrame(schema={"path": pl.String, "reason": pl.String}).write_parquet(out / DROPS)
    stored = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(stored | {"frames": 41, "dropped": 3}))
    capsys.readouterr()
    assert run(["data", "verify", str(out)]) == 1
    lines = capsys.readouterr().err.splitlines()
    patterns = [
        r"slot=0/00000.parquet: has another SHA-256 than the manifest says",
        r"slot=0/00000.parquet: frame \d+ of video a: no complete JPEG",
        r"slot=1/00000.parquet: is missing; write the shards again with --resume",
        r"slot=2/00000.parquet: has \d+ bytes; expected \d+",
        r"slot=3/00000.parquet: has another SHA-256",
        r"slot=3/00000.parquet: is no readable Parquet file",
        r"slot=3/00009.parquet: is not in the manifest; remove it",
        r"out: its files have 40 frames; the manifest says 41",
        r"drops.parquet: holds 0 rows; the manifest says 3",
    ]
    assert len(lines) == len(patterns)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.search(pattern, line), line


def test_a_drop_table_that_is_cut_hides_nothing_else(delivered: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(delivered, out)
    (out / DROPS).write_bytes((out / DROPS).read_bytes()[:-4])
    (out / read_manifest(out).files[0].path).unlink()
    first, second = map(str, verify_shards(out)[1])
    assert first.endswith("slot=0/00000.parquet: is missing; write the shards again with --resume")
    assert second.startswith(f"{out / DROPS}: is no readable Parquet file: ")


def test_a_copy_without_hidden_files_is_listed_without_sizes(
    delivered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(delivered, copy, ignore=shutil.ignore_patterns(".*"))
    assert run(["data", "ls", str(copy), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[0]
    assert (row["video"], row["frames"], row["bytes"], row["sizes"]) == ("102", 9, None, None)
    assert run(["data", "ls", str(copy)]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1].split()[-2:] == ["?", "?"]
    assert printed.err == f"bytes and sizes are not known: {copy}/.reports was not copied whole\n"
    assert run(["data", "report", str(copy), str(tmp_path / "report")]) == 0
    assert "| 102 | train | 9 | 1 | 10 | 1 | 9 | 6 | 2 |  |  |" in (tmp_path / "report" / "report.md").read_text()


def test_rows_that_are_not_those_of_the_file_are_wrong(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", list(range(1, 21)))
    out = tmp_path / "out"
    write_shards(read_images(tree.root / "pool").frames, out, slots=2)
    stored = json.loads((out / "manifest.json").read_text())
    first, second = stored["files"]
    first["slot"], second["slot"], first["frames"] = 1, 0, 9
    (out / "manifest.json").write_text(json.dumps(stored))
    messages = [str(problem) for problem in verify_shards(out)[1]]
    assert messages[0].endswith("slot=0/00000.parquet: holds 10 rows; expected 9")
    assert messages[1].endswith("slot=0/00000.parquet: holds frames of another slot than 1")
    assert messages[2].endswith("slot=1/00000.parquet: holds frames of another slot than 0")


def test_ls_lists_every_video(delivered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "ls", str(delivered), "--json"]) == 0
    videos = {row["video"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(videos) == ["102", "102-30-640x360", "new", "nobody", "t1"]
    row = videos["102"]
    assert (row["split"], row["frames"], row["first"], row["last"], row["missing"]) == ("train", 9, 1, 10, 1)
    assert (row["va"], row["expr"], row["au"], row["sizes"]) == (9, 6, 2, "32x32")
    images = open_frames(delivered, videos=["102"], columns=["image"])["image"].to_pylist()
    assert row["bytes"] == sum(map(len, images))
    assert run(["data", "ls", str(delivered)]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == list(row)
    assert table[1].split()[:3] == ["102", "train", "9"]


def test_runs_without_crop_or_label_are_found() -> None:
    labels = {"expression": [0, None, None, 1, None, None], "valence": None, "arousal": None}
    frames = pl.DataFrame({"video": ["a"] * 4 + ["b"] * 2, "frame": [1, 2, 3, 9, 1, 2], **labels})
    types = {"valence": pl.Float32, "arousal": pl.Float32}
    frames = frames.cast(types).with_columns(au=pl.lit([None] * 12, dtype=pl.Array(pl.Int8, 12)))  # type: ignore[arg-type]
    assert missing_runs(frames).rows() == [
        ("a", "no crop", 4, 8, 5),
        ("a", "no label", 2, 3, 2),
        ("b", "no label", 1, 2, 2),
    ]


def test_the_report_is_a_page_with_its_pictures(
    delivered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "report", str(delivered), str(tmp_path / "report")]) == 0
    html, markdown = (tmp_path / "report" / f"report.{kind}" for kind in ("html", "md"))
    assert capsys.readouterr().out.split() == [str(markdown), str(html)]
    shown = set(re.findall(r'<img src="([^"]+)"', html.read_text()))
    assert shown == set(re.findall(r"!\[.*\]\(([^)]+)\)", markdown.read_text()))
    assert shown == {"coverage.png", "labels.png", "au.png", "va.png", "sample.png"}
    for name in shown:
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")
    assert "| 102 | train | 9 | 1 | 10 | 1 | 9 | 6 | 2 |" in markdown.read_text()
    assert "<td>102-30-640x360</td><td>validation</td>" in html.read_text()


def test_commands_refuse_what_is_no_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["verify"], ["ls"], ["report"]):
        extra = [str(tmp_path / "report")] if command == ["report"] else []
        assert run(["data", *command, str(tmp_path / "none"), *extra]) == 1
        assert "manifest.json: no manifest: no such folder" in capsys.readouterr().err
    assert run(["data", "report", str(tmp_path), "s3://bucket/report"]) == 1
    assert capsys.readouterr().err == "abaw: s3://bucket/report: is not a local folder; give one for the report\n"
