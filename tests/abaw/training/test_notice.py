"""A process that is told to go saves after the step and leaves; who comes next goes on with the next step, exactly."""

import json
import os
import signal

import pytest
import torch

from abaw import runs
from abaw.training import notice
from abaw.training.checkpoints import load_weights
from abaw.training.loop import run_job
from abaw.training.lost import TellLost, interruption
from abaw.training.notice import LeavingError
from abaw.training.workers import Worker


@pytest.fixture
def listening():
    """This process takes SIGTERM as notice, and no longer after the test."""
    before = signal.getsignal(signal.SIGTERM)
    notice._take_sigterm()
    yield
    signal.signal(signal.SIGTERM, before)
    notice._SIGNALLED.clear()


def lines(job):
    return [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]


def test_after_sigterm_it_leaves_with_the_step_saved_and_resumes_with_the_next(shards, make_job, tmp_path, listening):
    undisturbed, job = make_job(shards, tmp_path / "undisturbed"), make_job(shards, tmp_path / "told")
    run_job(undisturbed, Worker())
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(LeavingError, match="finetune/fold-0: a machine is about to go; all is saved"):
        run_job(job, Worker())
    assert not runs.is_complete(job.folder)
    notice._SIGNALLED.clear()
    run_job(job, Worker())
    told = [line for line in lines(job) if "left_at_step" in line or "resumed_at_step" in line]
    assert told == [
        {"job": job.name, "epoch": 1, "epochs": 3, "left_at_step": 1},
        {"job": job.name, "epoch": 1, "epochs": 3, "resumed_at_step": 1},
    ]
    ours, theirs = (load_weights(one.folder / "checkpoints" / "final.safetensors") for one in (undisturbed, job))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_second_sigterm_ends_the_process(listening):
    os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_lost_workers_are_told_in_the_job_that_ran(shards, make_job, tmp_path):
    first, second = make_job(shards, tmp_path / "first"), make_job(shards, tmp_path / "second")
    runs.start(first.folder, {})
    (first.folder / "result.json").write_text("{}")
    runs.start(second.folder, {})
    TellLost([first, second]).after_exception(None, {1: RuntimeError("the actor died\nbecause")})
    assert not (first.folder / "metrics.jsonl").exists()
    (line,) = lines(second)
    assert interruption(line) == "finetune/fold-0: stopped (worker 1: RuntimeError: the actor died)"


def test_lines_for_a_person():
    where = {"job": "finetune/fold-0", "epoch": 2, "epochs": 8}
    assert interruption(where | {"resumed_at_step": 4}) == "finetune/fold-0: epoch 2/8  going on after step 4"
    assert "epoch 2/8  a machine is about to go: saved after step 4" in interruption(where | {"left_at_step": 4})
    assert interruption(where | {"loss": 1.0}) is None
