"""A run that goes on with another number of workers: each frame is still seen once an epoch, in the same steps."""

import json
import multiprocessing
import os
from collections import defaultdict
from dataclasses import dataclass, replace

import pytest
import torch
import torch.distributed as dist

from abaw import runs
from abaw.systems.system import System
from abaw.training.checkpoints import load_weights
from abaw.training.loop import Training, run_job
from abaw.training.workers import Worker

STEPS_AN_EPOCH = 6
KILLED_AFTER = 8
"""In the second epoch, where a checkpoint has just been taken."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Learns the brightness of images and writes down which frames it saw."""

    path: str

    def build(self):
        torch.manual_seed(0)
        return SeenSystem(self.path)


class SeenSystem(System):
    layers = 0

    def __init__(self, path):
        super().__init__()
        self.path, self.linear = path, torch.nn.Linear(3, 1)

    def forward(self, batch, generator):
        with open(f"{self.path}-{os.getpid()}.txt", "a") as file:
            file.write(json.dumps(batch["index"].tolist()) + "\n")
        pixels = batch["image"].float() / 255
        guessed = self.linear(pixels.mean(dim=(2, 3)) - 0.5)[:, 0]
        return {"brightness": (guessed - pixels.mean(dim=(1, 2, 3))).square().mean()}

    def layer_of(self, parameter):
        return 0


def seen_job(make_job, shards, folder, **optimisation):
    """15 frames a step, which two workers share 8 to 7."""
    settings = {"epochs": 3, "batch_size": 15, "save_every": 2, "ema_decay": 0.0, "lr": 1e-2, **optimisation}
    job = make_job(shards, folder, **settings)
    return replace(job, system=Seen(path=str(folder) + "-seen"), held_out=None, predict={}, track=None)


def killed(job, worker):
    """The run up to a step, and not a line further."""
    if worker.rank == 0:
        runs.start(job.folder, job)
    worker.barrier()
    training = Training(job, worker)
    step, left = training.stepper.step, iter(range(KILLED_AFTER))

    def dies(*args, **kwargs):
        next(left)
        return step(*args, **kwargs)

    training.stepper.step = dies
    with pytest.raises(StopIteration):
        training.run()
    training.states.wait()


def work(rank, rendezvous, dies, resumes):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    worker = Worker(rank=rank, world=2)
    killed(dies, worker)
    worker.barrier()
    run_job(resumes, worker)
    dist.destroy_process_group()


def two_workers(folder, *, dies, resumes):
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(rank, folder / "meeting", dies, resumes)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]


def times_seen(job):
    """How often each frame was seen in the whole run."""
    counts = defaultdict(int)
    for path in job.folder.parent.glob(f"{job.folder.name}-seen-*.txt"):
        for line in path.read_text().splitlines():
            for row in json.loads(line):
                counts[row] += 1
    return counts


@pytest.mark.slow
def test_frames_are_seen_once_an_epoch_when_workers_leave_or_come(shards, make_job, tmp_path):
    whole, fewer, more = (seen_job(make_job, shards, tmp_path / name) for name in ("whole", "fewer", "more"))
    run_job(whole, Worker())
    killed(more, Worker())
    two_workers(tmp_path, dies=fewer, resumes=more)
    run_job(fewer, Worker())
    expected = times_seen(whole)
    assert sum(expected.values()) == 3 * STEPS_AN_EPOCH * 15
    assert times_seen(fewer) == expected
    assert times_seen(more) == expected
    alone, *others = (load_weights(job.folder / "checkpoints" / "final.safetensors") for job in (whole, fewer, more))
    for other in others:  # the gradient of a step is the same mean, summed in another order
        torch.testing.assert_close(other["linear.weight"], alone["linear.weight"], rtol=1e-4, atol=1e-6)
    workers = [json.loads(line).get("starting") for line in (fewer.folder / "metrics.jsonl").read_text().splitlines()]
    told = [(one["workers"], one["micro_batch"], one["accumulate"]) for one in workers if one]
    assert told == [(2, 8, 1), (1, 15, 1)]
