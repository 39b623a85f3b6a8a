"""Images and shards on a real S3 server: the same calls, the same bytes as on a local disk."""

import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import s3fs

from abaw.data.images import read_images
from abaw.data.manifest import DROPS, read_manifest
from abaw.data.shards import open_frames, write_shards
from abaw.data.storage import appearing, as_path, file_sizes, read_files, remove_folder, write_text
from abaw.problems import BadInput
from experiments.cli import run

pytestmark = pytest.mark.usefixtures("local_ray")


def upload(folder: Path, target: Any) -> None:
    for path in folder.rglob("*.jpg"):
        (target / str(path.relative_to(folder))).write_bytes(path.read_bytes())


def test_shards_from_s3_to_s3_are_those_of_a_local_disk(tree: Any, tmp_path: Path, s3_bucket: str) -> None:
    tree.crops("pool/a", list(range(1, 13)))
    tree.crops("pool/b", list(range(1, 5)))
    (tree.root / "pool/a/00003.jpg").write_bytes(b"")
    images, out = as_path(f"{s3_bucket}/pool"), as_path(f"{s3_bucket}/shards")
    upload(tree.root / "pool", images)
    local = write_shards(read_images(tree.root / "pool").frames, tmp_path / "shards", slots=2, rows_per_file=4)
    frames = read_images(images).frames
    assert frames["path"][0] == "s3://abaw/pool/a/00001.jpg"
    remote = write_shards(frames, out, slots=2, rows_per_file=4)
    assert remote == read_manifest(out) == local
    assert open_frames(out).equals(open_frames(tmp_path / "shards"))
    one = open_frames(out, videos=["b"], columns=["video", "frame"], slot=0)
    assert set(one["video"].to_pylist()) == {"b"}
    with (out / DROPS).open("rb") as file:
        assert pl.read_parquet(file).rows() == [("s3://abaw/pool/a/00003.jpg", "empty file")]


def test_interrupted_shards_on_s3_are_finished(tree: Any, s3_bucket: str) -> None:
    tree.crops("pool/a", list(range(1, 13)))
    frames, out = read_images(tree.root / "pool").frames, as_path(f"{s3_bucket}/resumed")
    before = write_shards(frames, out, slots=2, rows_per_file=3)
    with pytest.raises(BadInput, match=r"s3://abaw/resumed: is not empty, .*give --resume to finish it"):
        write_shards(frames, out, slots=2, rows_per_file=3)
    files = file_sizes(out)
    (out / "manifest.json").unlink()
    (out / before.files[0].path).unlink()
    (out / before.files[1].path).write_bytes(b"PAR1 not whole")
    assert write_shards(frames, out, slots=2, rows_per_file=3, resume=True) == before
    assert file_sizes(out) == files
    assert write_shards(frames.head(4), out, slots=1, overwrite=True).frames == 4
    assert [name for name in file_sizes(out) if "slot=1" in name] == []


def test_batches_are_read_from_s3(tree: Any, s3_bucket: str) -> None:
    from abaw.data.batches import FrameSource

    tree.crops("pool/a", list(range(1, 9)))
    out = as_path(f"{s3_bucket}/batches")
    write_shards(read_images(tree.root / "pool").frames, out, slots=2)
    batch = FrameSource(out).batch(np.arange(3))
    assert tuple(batch["image"].shape) == (3, 3, 32, 32)


@pytest.fixture
def fresh_clients() -> Iterator[None]:
    """s3fs reads the environment again, and forgets what it read afterwards."""
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def refused(s3_bucket: str) -> Iterator[str]:
    """The bucket, on a server that knows no user and lets nobody in."""

    def let_in(requests: bytes) -> None:
        url = f"{os.environ['AWS_ENDPOINT_URL']}/moto-api/reset-auth"
        urllib.request.urlopen(urllib.request.Request(url, requests, {"Content-Type": "text/plain"}))

    let_in(b"0")
    yield s3_bucket
    let_in(b"inf")


def test_credentials_that_are_refused_cost_no_image(tree: Any, tmp_path: Path, refused: str) -> None:
    message = rf"{refused}/x/1\.jpg: cannot be reached: PermissionError: .*; check the network and the credentials"
    with pytest.raises(BadInput, match=message):
        list(read_files([f"{refused}/x/1.jpg"]))
    tree.crops("pool/a", [1, 2])
    frames = read_images(tree.root / "pool").frames
    path = pl.when(pl.col("frame") == 2).then(pl.lit(f"{refused}/x/1.jpg")).otherwise("path").alias("path")
    with pytest.raises(BadInput, match=rf"out: stopped by {message}; mend it and go on with --resume"):
        write_shards(frames.with_columns(path), tmp_path / "out", slots=1)
    assert write_shards(frames, tmp_path / "out", slots=1, resume=True).frames == 2


@pytest.mark.usefixtures("fresh_clients")
@pytest.mark.parametrize("missing", ["server", "credentials"])
def test_a_file_system_that_cannot_be_reached_is_told_in_a_line(
    missing: str, tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if missing == "server":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    else:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = {"server": "EndpointConnectionError: Could not connect", "credentials": "NoCredentialsError: Unable to"}
    tree.crops("pool/a", [1])
    commands = [
        ["prepare", "images", "s3://abaw/x", str(tmp_path / "out")],
        ["prepare", "images", str(tree.root), "s3://abaw/out"],
        ["data", "ls", "s3://abaw/x"],
    ]
    for command in commands:
        assert run(command) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert re.match(rf"abaw: s3://abaw/\S+: cannot be reached: {error[missing]}.*; check the network and", line), (
            line
        )


def fail_half_way(path: Path) -> None:
    with appearing(path) as local:
        local.write_text("half")
        raise KeyError


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, s3_bucket: str) -> None:
    for folder in (tmp_path / "folder", as_path(f"{s3_bucket}/folder")):
        with pytest.raises(KeyError):
            fail_half_way(folder / "half.txt")
        assert file_sizes(folder) == {}
        write_text(folder / "a/whole.txt", "wholé")
        assert file_sizes(folder) == {"a/whole.txt": 6}
        there, missing = read_files([f"{folder}/a/whole.txt", f"{folder}/none.txt"])
        assert there == "wholé".encode()
        assert isinstance(missing, FileNotFoundError)
        remove_folder(folder)
        assert file_sizes(folder) == {}


def test_a_file_system_that_is_not_installed_is_named() -> None:
    assert as_path("here/there") == Path("here/there")
    with pytest.raises(BadInput, match=r"nofs://x: .*nofs.*; expected a local path, or a URL whose package is inst"):
        as_path("nofs://x")
