"""A training whose number of workers Ray itself changes, and which frames each step took: part of the tests of faults.

    python benchmarks/chaos_elastic.py ADDRESS SHARDS FOLDER

Three workers learn on a cluster of three nodes until `LOSE_AT`, where they wait for one of the nodes to be taken away;
the two that are left wait at `GROW_AT` until Ray Train has found a third again. What each worker saw is written down.
"""

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from abaw.systems.system import System
from abaw.training.fit import fit_together
from abaw.training.job import Frames, TrainingJob
from abaw.training.optimisation import Optimisation
from abaw.training.resources import Resources
from experiments.ray_session import ray_session

EPOCHS, BATCH, SAVE_EVERY = 2, 15, 2
LOSE_AT, GROW_AT = 4, 9
"""Optimiser steps after which three and two workers wait."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Learns the brightness of images, and writes down which frames it saw."""

    folder: str

    def build(self) -> System:
        """The network."""
        return SeenSystem(Path(self.folder))


class SeenSystem(System):
    """Its count of steps is saved and restored with its weights, as everything else that a checkpoint holds."""

    layers = 0

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.linear = folder, torch.nn.Linear(3, 1)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, batch, generator):
        """The loss of a batch; waits where a node is to be lost, or to come."""
        step, world = int(self.steps), dist.get_world_size()
        while (step, world) in ((LOSE_AT, 3), (GROW_AT, 2)):
            (self.folder / f"{world}-workers-wait").touch()
            time.sleep(0.1)  # until the group is ended
        self.steps += 1
        with (self.folder / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "world": world, "frames": batch["index"].tolist()}) + "\n")
        pixels = batch["image"].float() / 255
        guessed = self.linear(pixels.mean(dim=(2, 3)) - 0.5)[:, 0]
        return {"brightness": (guessed - pixels.mean(dim=(1, 2, 3))).square().mean()}

    def layer_of(self, parameter):
        """One layer."""
        return 0


def main() -> None:
    """Train, on the cluster at an address."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    seen = arguments.folder / "seen"
    seen.mkdir(parents=True)
    job = TrainingJob(
        name="elastic",
        folder=arguments.folder / "elastic",
        system=Seen(folder=str(seen)),
        optimisation=Optimisation(epochs=EPOCHS, batch_size=BATCH, save_every=SAVE_EVERY, ema_decay=0.0, lr=1e-2),
        seed=0,
        train=Frames(shards=arguments.shards, splits=("train",)),
    )
    resources = Resources(workers=3, least_workers=1, cpus_per_worker=1)
    with ray_session(arguments.address):
        failed = fit_together([job], resources=resources, scratch=arguments.folder / "ray")
    assert not failed, failed


if __name__ == "__main__":
    main()
