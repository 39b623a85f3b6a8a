"""One job on one worker: it learns, resumes exactly, is not repeated, and leaves what the next stages read."""

import json
import multiprocessing
import time
from dataclasses import replace

import pytest
import torch

from abaw import runs
from abaw.predictions import read_predictions
from abaw.tracks import get_track
from abaw.training.checkpoints import load_weights
from abaw.training.evaluation import statistics_of
from abaw.training.loop import Training, run_job
from abaw.training.workers import Worker

MTL = get_track("mtl")


def test_a_job_leaves_weights_predictions_and_its_result(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run", epochs=8, evaluate_every=4)
    run_job(job, Worker())
    result = runs.read_result(job.folder)
    assert result["metrics"]["S_VA"] > 0.5
    assert (result["training_frames"], result["frames"], result["videos"]) == (96, 48, 2)
    held_out = read_predictions(job.folder / "predictions" / "held_out.parquet", MTL)
    assert set(held_out["video"].to_pylist()) == {"video4", "video5"}
    assert held_out.num_rows == 48
    assert set(held_out["fold"].to_pylist()) == {0}
    assert statistics_of(held_out, MTL).compute() == pytest.approx(result["metrics"], abs=1e-12)
    assert read_predictions(job.folder / "predictions" / "test.parquet", MTL).num_rows == 24
    lines = [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 4, 5, 6, 7, 8]
    assert lines[7 + 1]["loss"] < lines[0]["loss"]
    assert lines[4]["P_MTL"] > 0


def test_a_complete_job_is_not_repeated(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run")
    run_job(job, Worker())
    weights = job.folder / "checkpoints" / "final.safetensors"
    before = weights.stat().st_mtime_ns
    run_job(job, Worker())
    assert weights.stat().st_mtime_ns == before


def test_a_killed_and_resumed_run_ends_with_the_same_weights_bit_for_bit(shards, make_job, tmp_path):
    whole, killed = (make_job(shards, tmp_path / name, epochs=6) for name in ("whole", "killed"))
    run_job(whole, Worker())
    process = multiprocessing.get_context("spawn").Process(target=run_job, args=(killed, Worker()))
    process.start()
    while not (killed.folder / "checkpoints" / "last").exists():
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert not runs.is_complete(killed.folder)
    run_job(killed, Worker())
    one, other = (load_weights(job.folder / "checkpoints" / "final.safetensors") for job in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    tables = [read_predictions(job.folder / "predictions" / "held_out.parquet", MTL) for job in (whole, killed)]
    assert tables[0].equals(tables[1])


def started(job):
    runs.start(job.folder, job)
    return job


def test_accumulation_splits_the_batch_and_keeps_the_number_of_steps(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "a")
    one = Training(started(job), Worker())
    other = Training(started(replace(job, optimisation=replace(job.optimisation, accumulate=2))), Worker())
    assert one.steps == other.steps == 6
    assert (one.micro_batch, other.micro_batch) == (16, 8)


def test_a_batch_that_workers_cannot_share_is_refused(shards, make_job, tmp_path):
    job = started(make_job(shards, tmp_path / "run", batch_size=15, accumulate=2))
    with pytest.raises(ValueError, match="batch_size 15 is not a multiple of 1 workers x 2 accumulated"):
        Training(job, Worker())


def test_too_few_frames_for_a_batch_are_refused(shards, make_job, tmp_path):
    job = started(make_job(shards, tmp_path / "run", batch_size=1024))
    with pytest.raises(ValueError, match="an epoch takes 96 of the 96 frames, which do not fill one batch of 1024"):
        Training(job, Worker())


def test_final_weights_are_the_moving_average(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run", epochs=1)
    run_job(job, Worker())
    training = Training(started(replace(job, folder=tmp_path / "again")), Worker())
    training.run()
    final = load_weights(job.folder / "checkpoints" / "final.safetensors")
    average = training.average.system.state_dict()
    assert all(torch.equal(final[name], average[name]) for name in average)
