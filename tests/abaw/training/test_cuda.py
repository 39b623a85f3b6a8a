"""On an NVIDIA GPU: exact resumption with deterministic algorithms, half precision, NCCL. Run with `pytest -m cuda`."""

import json
import os
from dataclasses import replace

import pytest
import torch

from abaw import runs
from abaw.models.vit import VitConfig
from abaw.training.checkpoints import Position, load_weights
from abaw.training.fit import fit_together
from abaw.training.loop import Training, run_job
from abaw.training.resources import Resources
from abaw.training.workers import Worker

pytestmark = pytest.mark.cuda
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def gpu():
    return Worker(device=torch.device("cuda", 0))


def lines(job):
    return [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_deterministic_algorithms_resume_bit_for_bit(shards, make_job, tmp_path, precision):
    settings = {"epochs": 4, "deterministic": True, "precision": precision}
    whole, killed = (make_job(shards, tmp_path / name, **settings) for name in ("whole", "killed"))
    run_job(whole, gpu())
    runs.start(killed.folder, killed)
    training = Training(killed, gpu())
    for epoch in range(2):
        training._train_epoch(epoch)
    training.states.save(training.stepper, Position(epoch=2, step=0))
    training.states.wait()
    run_job(killed, gpu())
    one, other = (load_weights(job.folder / "checkpoints" / "final.safetensors") for job in (whole, killed))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("compiled", [False, True])
def test_half_precision_learns(shards, make_job, tmp_path, precision, compiled):
    job = make_job(shards, tmp_path / "run", epochs=8, precision=precision, compile=compiled)
    job = replace(job, system=replace(job.system, encoder=VitConfig(size="micro", image_size=32)))
    run_job(job, gpu())
    told = [line["loss"] for line in lines(job) if "loss" in line]
    assert told[-1] < told[0]
    assert runs.read_result(job.folder)["skipped_steps"] == 0
    assert next(line["starting"]["precision"] for line in lines(job) if "starting" in line) == precision


def test_a_group_of_one_worker_on_a_gpu_talks_by_nccl(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "run", epochs=2)
    assert fit_together([job], resources=Resources(workers=1, gpus_per_worker=1), scratch=tmp_path / "ray") == []
    starting = next(line["starting"] for line in lines(job) if "starting" in line)
    assert starting["device"] == torch.cuda.get_device_name(0)
    assert (starting["workers"], starting["precision"]) == (1, "bf16")
    assert starting["backend"] == "nccl"
