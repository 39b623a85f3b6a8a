"""Checkpoints on another file system, here a real S3 server: a training goes on when its disk is gone."""

import json
import multiprocessing
import shutil
import time

import pytest
import torch

from abaw import runs
from abaw.data.storage import as_path, file_sizes
from abaw.problems import BadInput
from abaw.training.away import away_for, check_place
from abaw.training.checkpoints import load_weights
from abaw.training.keeping import Kept
from abaw.training.loop import run_job
from abaw.training.workers import Worker


def sent(pointer):
    """Checkpoints that are named; none where the server is just about to replace the file that is read."""
    try:
        return len(json.loads(pointer.read_text()))
    except OSError:
        return 0


@pytest.mark.slow
def test_a_run_whose_disk_is_gone_ends_with_the_same_weights_bit_for_bit(shards, make_job, tmp_path, s3_bucket):
    whole, killed = (make_job(shards, tmp_path / name, epochs=6, keep=2, evaluate_every=1) for name in ("whole", "job"))
    run_job(whole, Worker())
    worker = Worker(checkpoints=f"{s3_bucket}/night")
    away = away_for(worker.checkpoints, killed.folder)
    process = multiprocessing.get_context("spawn").Process(target=run_job, args=(killed, worker))
    process.start()
    while sent(away.folder / "last.json") < 2:  # that of the start, and of an epoch
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    assert not runs.is_complete(killed.folder)
    shutil.rmtree(killed.folder)
    run_job(killed, worker)
    assert "resumed_at_step" in (killed.folder / "metrics.jsonl").read_text()
    names = list(Kept(whole.folder / "checkpoints", 2).scores)
    assert names == list(Kept(killed.folder / "checkpoints", 2).scores)
    for name in (*names, "final"):
        one, other = (load_weights(job.folder / "checkpoints" / f"{name}.safetensors") for job in (whole, killed))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_where_nothing_can_be_written_is_known_before_anything_runs(tmp_path, s3_bucket):
    check_place(f"{s3_bucket}/new")
    assert file_sizes(as_path(f"{s3_bucket}/new")) == {}
    check_place(str(tmp_path / "night"))
    with pytest.raises(BadInput, match="night: is neither a URL nor an absolute path"):
        check_place("night")
    with pytest.raises(BadInput, match=r"s3://nobodys-bucket/x/.*: cannot be reached: .*credentials"):
        check_place("s3://nobodys-bucket/x")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match=r"file/x: no checkpoint can be written there .*--resources.checkpoints"):
        check_place(str(tmp_path / "file" / "x"))
