"""Workers of Ray Train that get SIGTERM: they save and leave, another group goes on, and no failure is counted."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import ray.cloudpickle
import torch

from abaw.systems.system import System
from abaw.training import notice
from abaw.training.checkpoints import load_weights
from abaw.training.fit import fit_together
from abaw.training.resources import Resources

LEAVES_AFTER = (3, 8)
"""Optimiser steps, counted from 1, in which the process of a worker gets SIGTERM; an epoch has 6."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """Learns a brightness with noise; its process gets SIGTERM in some steps, once in each."""

    folder: str
    steps: tuple[int, ...] = ()

    def build(self):
        return ToldSystem(Path(self.folder), self.steps)


class ToldSystem(System):
    layers = 0

    def __init__(self, folder, steps):
        super().__init__()
        self.folder, self.told, self.linear = folder, steps, torch.nn.Linear(3, 1)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, batch, generator):
        self.steps += 1
        mark = self.folder / f"told-{int(self.steps)}"
        if int(self.steps) in self.told and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGTERM)
            while not notice._SIGNALLED.is_set():  # the main thread takes it, some time later
                time.sleep(0.01)
        pixels = batch["image"].float() / 255
        noise_B = torch.randn(len(pixels), generator=generator)
        guessed_B = self.linear(torch.nn.functional.dropout(pixels.mean(dim=(2, 3)), 0.2))[:, 0]
        return {"brightness": (guessed_B - pixels.mean(dim=(1, 2, 3)) - 0.1 * noise_B).square().mean()}

    def layer_of(self, parameter):
        return 0


@pytest.mark.slow
def test_a_worker_that_gets_sigterm_leaves_and_the_training_ends_with_equal_weights(shards, make_job, tmp_path):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find the tests
    jobs = {
        name: replace(
            make_job(shards, tmp_path / name, epochs=2),
            system=Told(folder=str(tmp_path), steps=steps),
            held_out=None,
            predict={},
            track=None,
        )
        for name, steps in {"undisturbed": (), "told": LEAVES_AFTER}.items()
    }
    for job in jobs.values():
        assert fit_together([job], resources=Resources(workers=1, max_failures=0), scratch=tmp_path / "ray") == []
    lines = [json.loads(line) for line in (jobs["told"].folder / "metrics.jsonl").read_text().splitlines()]
    told = [(line["epoch"], line[what], what) for line in lines for what in line if what.endswith("_at_step")]
    assert told == [
        (1, 3, "left_at_step"),
        (1, 3, "resumed_at_step"),
        (2, 2, "left_at_step"),
        (2, 2, "resumed_at_step"),
    ]
    assert not [line for line in lines if "lost" in line]
    ours, theirs = (load_weights(job.folder / "checkpoints" / "final.safetensors") for job in jobs.values())
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
