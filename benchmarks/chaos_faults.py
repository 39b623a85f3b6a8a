"""The faults of `benchmarks/chaos.py`: each waits for its moment, breaks something, and sees the run to its end.

A fault is a function of a run whose driver has started. It returns what it saw when the run goes on.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from chaos_machines import Run

TRAIN = "RayTrainWorker"
DATA = ("Map", "Read", "Write", "Repartition", "Shuffle", "Aggregate", "Sort", "reduce", "_execute")
"""Titles of processes of Ray Train and of Ray Data."""
NOTICE_S = 30
"""Seconds between a machine's word that it goes and its end."""


@dataclass(kw_only=True)
class Seen:
    """What a fault saw."""

    found_s: float | None
    """Seconds until the log or the end of the driver told of it; None where Ray alone knows."""
    resumed_s: float
    """Seconds until work went on, or was whole again."""
    repeated: int | None = None
    """Steps that were taken twice, as far as the files of the run show; None where it was no training."""
    log: str
    """What the log must hold."""


def moment(run: Run) -> int:
    """Wait for a random step of the training, neither the first nor one of the last; returns the steps done."""
    step = run.at or run.rng.randrange(4, 70)
    run.wait_until(lambda: run.steps_done() >= step, f"step {step}")
    time.sleep(run.rng.random() * 0.3)
    run.mark()
    return run.steps_done()


def follow(run: Run, *, since: float, done: int, log: str) -> Seen:
    """Wait until the training goes on after a fault at `since`, when so many steps were done."""
    run.wait_until(lambda: run.new("lost") or run.new("left_at_step"), "the fault to be found")
    found = time.time() - since
    run.wait_until(lambda: run.new("resumed_at_step"), "the training to go on")
    return Seen(found_s=found, resumed_s=time.time() - since, repeated=repeated(run, done), log=log)


def repeated(run: Run, done: int) -> int:
    """Steps between where the training went on and the steps that were done."""
    at = run.new("resumed_at_step")[0]
    return max(0, done - (at["epoch"] - 1) * run.steps_per_epoch() - at["resumed_at_step"])


def finish(run: Run, code: int = 0) -> None:
    """The end of the driver, with this exit code."""
    ended = run.wait()
    if ended != code:
        raise SystemExit(f"the driver ended with {ended}, expected {code}\n{run.log()}")


def a_train_worker(run: Run) -> list[psutil.Process]:
    """The workers of the training, in random order."""
    workers = sorted(run.machines.workers(TRAIN), key=lambda one: one.pid)
    run.rng.shuffle(workers)
    return workers


def train_worker(run: Run) -> Seen:
    """SIGKILL of a training worker."""
    done, since = moment(run), time.time()
    a_train_worker(run)[0].kill()
    return follow(run, since=since, done=done, log="stopped")


def twice(run: Run) -> Seen:
    """SIGKILL of a training worker, and of another one as soon as the training goes on."""
    first = train_worker(run)
    run.at = 1
    second = train_worker(run)
    return Seen(
        found_s=max(first.found_s or 0.0, second.found_s or 0.0),
        resumed_s=max(first.resumed_s, second.resumed_s),
        repeated=(first.repeated or 0) + (second.repeated or 0),
        log="stopped",
    )


def data_worker(run: Run) -> Seen:
    """SIGKILL of a worker of Ray Data while shards are written; Ray runs its tasks again."""
    run.wait_until(lambda: run.machines.workers(*DATA), "a worker of Ray Data")
    victim, since = run.rng.choice(list(run.machines.workers(*DATA))), time.time()
    victim.kill()
    run.wait_until(lambda: "shards/labelled: done" in run.log(), "the shards")
    return Seen(found_s=None, resumed_s=time.time() - since, log="shards/labelled: done")


def node(run: Run) -> Seen:
    """A machine with a training worker is gone at once: SIGKILL of its raylet and all its processes."""
    done, since = moment(run), time.time()
    where = run.machines.workers(TRAIN)
    run.machines.lose(where[a_train_worker(run)[0]])
    return follow(run, since=since, done=done, log="stopped")


def driver(run: Run) -> Seen:
    """SIGKILL of the driver; the same command is given again."""
    done, since = moment(run), time.time()
    os.kill(run.driver.pid, signal.SIGKILL)
    return again(run, since=since, done=done, log="going on after step")


def head(run: Run) -> Seen:
    """SIGKILL of all processes of the head, and of what hung on it; a new cluster, the same command again."""
    done, since = moment(run), time.time()
    run.machines.workers("")
    of_head = [one.process for some in run.machines.cluster.head_node.all_processes.values() for one in some]
    for process in [*of_head, run.driver, *run.machines.seen]:
        with contextlib.suppress(psutil.Error):
            process.kill()
    with contextlib.suppress(Exception):
        run.machines.cluster.shutdown()
    run.machines.start()
    return replace(again(run, since=since, done=done, log="going on after step"), found_s=None)


def again(run: Run, *, since: float, done: int, log: str) -> Seen:
    """Give the command again after the driver has ended; it goes on where it was."""
    run.wait()
    found = time.time() - since
    run.mark()
    run.start()
    run.wait_until(lambda: run.new("resumed_at_step"), "the training to go on")
    return Seen(found_s=found, resumed_s=time.time() - since, repeated=repeated(run, done), log=log)


def truncated_checkpoint(run: Run) -> Seen:
    """The last checkpoint is cut in half, and all workers are killed: the one before it is taken."""
    done, since = moment(run), time.time()
    for worker in a_train_worker(run):
        worker.kill()
    time.sleep(0.05)
    file = run.training / "checkpoints" / "last" / run.rng.choice(["model.safetensors", "ema.safetensors", "state.pt"])
    os.truncate(file, file.stat().st_size // 2)
    return follow(run, since=since, done=done, log="cannot be read")


def missing_shard(run: Run) -> Seen:
    """A shard is gone when the workers come back from a kill: the run ends and names it; then it is there again."""
    done, since = moment(run), time.time()
    shard = run.rng.choice(sorted((run.folder).glob("shards-labelled-*/data/slot=*/*.parquet")))
    aside = run.runs / "aside.parquet"
    shutil.move(shard, aside)
    a_train_worker(run)[0].kill()
    finish(run, code=1)
    shutil.move(aside, shard)
    return again(run, since=since, done=done, log=shard.name)


def sigterm(run: Run) -> Seen:
    """A machine says to its processes that it goes (SIGTERM), and goes when its worker has left, within 30 s."""
    moment(run)
    where = run.machines.workers(TRAIN)
    worker, since = a_train_worker(run)[0], time.time()
    worker.send_signal(signal.SIGTERM)
    return _leaving(run, worker, where[worker], since=since)


def drained(run: Run) -> Seen:
    """A machine is drained with 30 s notice, as `ray start --block` does at SIGTERM, and goes."""
    run.at = run.at or run.rng.randrange(4, 20)  # early: the training goes on until all have heard of it
    moment(run)
    where = run.machines.workers(TRAIN)
    worker, since = a_train_worker(run)[0], time.time()
    run.machines.drain(where[worker], NOTICE_S)
    return _leaving(run, worker, where[worker], since=since)


def _leaving(run: Run, worker: psutil.Process, machine: object, *, since: float) -> Seen:
    run.wait_until(lambda: run.new("left_at_step"), "the workers to leave")
    at = run.new("left_at_step")[0]
    with contextlib.suppress(psutil.TimeoutExpired):
        worker.wait(max(0.0, since + NOTICE_S - time.time()))
    run.machines.lose(machine)
    step = (at["epoch"] - 1) * run.steps_per_epoch() + at["left_at_step"]
    return follow(run, since=since, done=step, log="a machine is about to go")


def full_disk(run: Run) -> Seen:
    """The disk of the checkpoints, a small one of its own, is full for some checkpoints; a worker is killed then."""
    done, since = moment(run), time.time()
    filler = run.training / "checkpoints" / "filler"
    with contextlib.suppress(OSError):
        filler.write_bytes(bytes(shutil.disk_usage(filler.parent).free + 2**20))
    run.wait_until(lambda: run.new("warning"), "the full disk to be told")
    found, done = time.time() - since, max(done, run.steps_done())
    a_train_worker(run)[0].kill()
    filler.unlink()
    seen = follow(run, since=since, done=done, log="was not written")
    return replace(seen, found_s=found)


@contextlib.contextmanager
def small_disk(folder: Path, size: int):
    """A file system in memory of so many bytes at `folder`; needs root."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


FAULTS: dict[str, tuple[Callable[[Run], Seen], int]] = {
    "train-worker": (train_worker, 4),
    "data-worker": (data_worker, 2),
    "node": (node, 3),
    "driver": (driver, 2),
    "head": (head, 1),
    "full-disk": (full_disk, 1),
    "truncated-checkpoint": (truncated_checkpoint, 2),
    "missing-shard": (missing_shard, 1),
    "sigterm": (sigterm, 2),
    "drained": (drained, 1),
    "twice": (twice, 1),
}
"""Each fault by name, and at how many random moments it comes: 20 in all."""
assert sum(times for _, times in FAULTS.values()) == 20
