"""Sharding that is killed at any moment, and goes on."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import ray

from abaw.data.images import read_images
from abaw.data.manifest import DROPS, read_manifest
from abaw.data.shard_file import REPORTS
from abaw.data.shards import write_shards
from abaw.problems import BadInput

pytestmark = pytest.mark.usefixtures("local_ray")
LAYOUT = {"slots": 4, "rows_per_file": 10}
PROGRAM = """
import sys
from pathlib import Path
import ray
from abaw.data.images import read_images
from abaw.data.shards import write_shards
ray.init(sys.argv[3], log_to_driver=False, logging_level="error")
write_shards(read_images(Path(sys.argv[1])).frames, Path(sys.argv[2]), slots=4, rows_per_file=10, resume=True)
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def made(out: Path) -> int:
    return sum(1 for _ in (out / REPORTS).rglob("*.json"))


def kill_after(files: int, pool: Path, out: Path) -> None:
    """Start sharding in a process of its own, and end it by SIGKILL once `files` are made."""
    address = ray.get_runtime_context().gcs_address
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(pool), str(out), address], stderr=subprocess.DEVNULL)
    while made(out) < files and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -9, "it was killed before it had ended"
    assert not (out / "manifest.json").exists()


@pytest.mark.slow
def test_a_run_that_is_killed_twice_equals_one_that_is_not(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", list(range(1, 1601)))
    (tree.root / "pool/a/00010.jpg").write_bytes(b"")
    frames = read_images(tree.root / "pool").frames
    whole = write_shards(frames, tmp_path / "whole", **LAYOUT)
    kill_after(1, tree.root / "pool", tmp_path / "killed")
    kill_after(made(tmp_path / "killed") + 20, tree.root / "pool", tmp_path / "killed")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed" / REPORTS).rglob("*.json")}
    assert 20 < len(kept) < 161
    assert write_shards(frames, tmp_path / "killed", **LAYOUT, resume=True) == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was there was not made again"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_going_on_mends_what_is_damaged_and_follows_a_source_that_changed(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", list(range(1, 81)))
    frames = read_images(tree.root / "pool").frames
    out = tmp_path / "out"
    write_shards(frames, out, **LAYOUT)
    before = contents(out)
    damaged = sorted(out.rglob("*.parquet"))
    damaged[1].write_bytes(damaged[1].read_bytes()[:-9] + b"damage!!!")
    (out / REPORTS / "slot=0" / "00001.parquet.json").write_text("")
    (out / "slot=2" / "00000.parquet.0123.partial").write_bytes(b"half")
    (out / "manifest.json.0123.partial").write_bytes(b"half")
    write_shards(frames, out, **LAYOUT, resume=True)
    assert contents(out) == before
    split = pl.when(pl.col("frame") == 5).then(pl.lit("train")).otherwise("split").alias("split")
    write_shards(frames.with_columns(split), out, **LAYOUT, resume=True)
    assert sum(contents(out)[name] != before[name] for name in before if name.startswith("slot=")) == 1
    assert read_manifest(out).splits["train"]["frames"] == 1
    write_shards(frames, out, slots=2, resume=True)
    write_shards(frames, tmp_path / "two", slots=2)
    assert contents(out) == contents(tmp_path / "two")


def test_the_drops_of_the_source_join_those_of_the_images(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", [1, 2, 3])
    (tree.root / "pool/a/00002.jpg").write_bytes(b"")
    drops = pl.DataFrame({"path": ["/far/away.txt:3", "/a/b.gif"], "reason": ["no such video", "is no JPEG"]})
    manifest = write_shards(read_images(tree.root / "pool").frames, tmp_path / "out", drops=drops)
    assert manifest.dropped == 3
    assert pl.read_parquet(tmp_path / "out" / DROPS).rows() == [
        ("/a/b.gif", "is no JPEG"),
        ("/far/away.txt:3", "no such video"),
        (str(tree.root / "pool/a/00002.jpg"), "empty file"),
    ]


def test_an_output_that_cannot_be_written_is_refused(tree: Any, tmp_path: Path) -> None:
    tree.crops("pool/a", [1, 2, 3])
    frames = read_images(tree.root / "pool").frames
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"file/out: cannot be made: .*Not a directory.*; give a folder that can be wri"):
        write_shards(frames, tmp_path / "file" / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "slot=0").write_text("")
    with pytest.raises(BadInput, match=r"out: stopped by .*slot=0.*; mend it and go on with --resume") as caught:
        write_shards(frames, tmp_path / "out", slots=1, resume=True)
    assert "Traceback" not in str(caught.value)
    (tmp_path / "out" / "sources.parquet").unlink()
    (tmp_path / "out" / "sources.parquet").mkdir()
    with pytest.raises(BadInput, match=r"out: cannot be written: .*Is a directory.*; give a folder"):
        write_shards(frames, tmp_path / "out", slots=1, resume=True)
    (tmp_path / "out" / "sources.parquet").rmdir()
    (tmp_path / "out" / "slot=0").unlink()
    assert write_shards(frames, tmp_path / "out", slots=1, resume=True).frames == 3
