"""An image that only one of two workers reads is broken: that fold fails, the group starts again, the others go on."""

import json
import os
import sys
from dataclasses import dataclass, replace

import pytest
import ray.cloudpickle
import torch
import torch.distributed as dist

from abaw import runs
from abaw.problems import refuse
from abaw.systems.system import System
from abaw.training.fit import fit_together
from abaw.training.resources import Resources


@dataclass(frozen=True, kw_only=True)
class Unlucky:
    """Refuses its input, or dies, on the worker of rank 1."""

    how: str

    def build(self):
        return UnluckySystem(self.how)


class UnluckySystem(System):
    layers = 0

    def __init__(self, how):
        super().__init__()
        self.how, self.linear = how, torch.nn.Linear(1, 1)

    def forward(self, batch, generator):
        if dist.get_rank() == 1:
            if self.how == "refuses":
                raise refuse("a.jpg", "is not a JPEG")
            os._exit(1)
        return {"nothing": self.linear(torch.ones(1, 1)).mean()}

    def layer_of(self, parameter):
        return 0


@pytest.mark.slow
def test_a_fold_that_fails_on_one_worker_does_not_stop_the_others(shards, make_job, tmp_path):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find the tests
    good = make_job(shards, tmp_path / "good", epochs=1)
    refuses, dies = (
        replace(good, name=how, folder=tmp_path / how, system=Unlucky(how=how), held_out=None, predict={}, track=None)
        for how in ("refuses", "dies")
    )
    resources = Resources(workers=2, max_failures=1)
    told = fit_together([refuses, dies, good], resources=resources, scratch=tmp_path / "ray")
    assert [problem.path for problem in told] == [str(refuses.folder), str(dies.folder)]
    assert told[0].message == "refuses failed: a.jpg: is not a JPEG"
    assert told[1].message.startswith("dies failed: ")
    assert runs.is_complete(good.folder)
    lines = [json.loads(line) for line in (good.folder / "metrics.jsonl").read_text().splitlines()]
    assert len([line for line in lines if "starting" in line]) == 1
