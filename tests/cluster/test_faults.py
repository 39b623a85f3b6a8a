"""What the night brings, in short: one cluster, one training that loses workers, machines, a checkpoint and its driver.

`benchmarks/chaos.py` is the long form.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import defaultdict

import chaos_elastic
import pytest
from chaos import DATA_STAGES, differences, leftovers, undisturbed
from chaos_faults import TRAIN, driver, finish, node, sigterm, train_worker, truncated_checkpoint
from chaos_fits import measure_fits
from chaos_machines import QUICK, Machines, fresh

from abaw.data.shards import open_frames
from abaw.training.reporting import METRICS

pytestmark = pytest.mark.faults
FAULTS = {8: train_worker, 24: sigterm, 40: truncated_checkpoint, 56: driver, 72: node}
"""By the step at which each comes; the run takes 100."""
SAVE_EVERY = 2


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A run that nothing disturbs, on a head and three nodes that end with the tests and leave no process."""
    machines = Machines()
    try:
        yield undisturbed(machines, tmp_path_factory.mktemp("chaos") / "undisturbed")
    finally:
        machines.close()
    assert machines.orphans() == []


def test_a_training_that_loses_what_it_stands_on_ends_as_if_nothing_had_been(reference, tmp_path):
    machines = reference.machines
    run = fresh(reference, tmp_path, stages=DATA_STAGES, machines=machines, rng=random.Random(0))
    run.start()
    try:
        for run.at, fault in FAULTS.items():
            seen = fault(run)
            # A truncated checkpoint costs one checkpoint more than a kill; at SIGTERM nothing is lost.
            assert seen.repeated <= (0 if fault is sigterm else 2 * SAVE_EVERY)
            machines.mend()
        finish(run)
    finally:
        run.driver.kill()
    told = run.log()
    for text in ("stopped (", "a machine is about to go", "cannot be read", "going on after step"):
        assert text in told
    assert differences(reference, run) == []
    assert leftovers(run) == []


def test_fits_in_one_cluster_leave_no_process_and_no_memory(reference):
    rows = measure_fits(reference, fits=5)
    assert max(row["fitting"] for row in rows) <= 1  # Ray's controller of the last one, until garbage is collected
    assert rows[-1]["others"] <= rows[1]["others"]
    assert rows[-1]["shared"] <= rows[1]["shared"] + 1
    assert rows[-1]["driver"] <= rows[1]["driver"] + 20


def test_each_frame_is_seen_once_an_epoch_while_ray_takes_workers_and_brings_them(reference, tmp_path):
    machines, shards = reference.machines, next(reference.folder.glob("shards-labelled-*")) / "data"
    command = [sys.executable, chaos_elastic.__file__, machines.address, str(shards), str(tmp_path / "runs")]
    training = subprocess.Popen(command, env={**os.environ, **QUICK})
    try:
        wait_for(tmp_path / "runs" / "seen" / "3-workers-wait", training)
        machines.lose(next(iter(machines.workers(TRAIN).values())))
        wait_for(tmp_path / "runs" / "seen" / "2-workers-wait", training)
        machines.mend()
        assert training.wait(600) == 0
    finally:
        training.kill()
    lines = (tmp_path / "runs" / "elastic" / METRICS).read_text().splitlines()
    groups = [line["starting"]["workers"] for line in map(json.loads, lines) if "starting" in line]
    assert groups == [3, 2, 3]
    steps = frames_by_step(tmp_path / "runs" / "seen")
    frames = open_frames(shards, columns=["video"], splits=["train"]).num_rows
    in_epoch = frames // chaos_elastic.BATCH
    assert sorted(steps) == list(range(chaos_elastic.EPOCHS * in_epoch))
    assert {len(seen) for seen in steps.values()} == {chaos_elastic.BATCH}
    for epoch in range(chaos_elastic.EPOCHS):
        of_epoch = set().union(*(steps[epoch * in_epoch + k] for k in range(in_epoch)))
        assert len(of_epoch) == in_epoch * chaos_elastic.BATCH


def wait_for(path, training):
    """Until a file is there, while the training runs."""
    deadline = time.monotonic() + 600
    while not path.exists():
        assert training.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)


def frames_by_step(folder):
    """The frames of each optimiser step, over all workers of all groups that took it: every group the same ones."""
    steps = defaultdict(set)
    for path in folder.glob("*.jsonl"):
        for line in map(json.loads, path.read_text().splitlines()):
            steps[line["step"]].update(line["frames"])
    return steps
