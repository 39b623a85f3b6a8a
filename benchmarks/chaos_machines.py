"""What `benchmarks/chaos.py` breaks: a Ray head and three nodes on this machine, and a driver with a run folder."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil
from safetensors import safe_open

Made = TypeVar("Made")
ROOT = Path(__file__).parent.parent
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ.setdefault("RAY_raylet_start_wait_time_s", "60")
os.environ.setdefault("RAY_worker_niceness", "0")  # else the agents of four nodes go before the training
QUICK = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "OMP_NUM_THREADS": "1",
}
"""Settings of the driver: defaults look every 2 and every 5 s. Without state tracking, a process less a training."""
HEALTH = {"health_check_period_ms": 500, "health_check_timeout_ms": 20000, "health_check_failure_threshold": 5}
"""Settings of the head: a node that is gone is dead after some seconds; one that only waits for a core is not."""
LEAN = {"include_dashboard": True, "include_log_monitor": False, "no_monitor": True, "dashboard_agent_listen_port": 0}
"""What the head does without. It keeps its dashboard: by its State API, Ray Train finds out that a driver was killed,
and gives back what its workers held."""


class Machines:
    """A head without CPUs and three nodes of one CPU: two take the workers of a training, one is to spare."""

    def __init__(self) -> None:
        self.seen: set[psutil.Process] = set()
        self.drained: list[object] = []
        self.start()

    def start(self) -> None:
        """A new cluster."""
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "_system_config": HEALTH, **LEAN, "dashboard_port": free_port()}
        self.cluster = persist(lambda: Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=True))
        self.mend()

    @property
    def address(self) -> str:
        """What `--address` takes."""
        return str(self.cluster.address)

    def raylet(self, node) -> psutil.Process:
        """The process that holds a node together."""
        return psutil.Process(node.all_processes["raylet"][0].process.pid)

    def workers(self, *names: str) -> dict[psutil.Process, object]:
        """Live worker processes with one of these names in their title, and the node of each."""
        found = {}
        for node in self.cluster.list_all_nodes():
            with contextlib.suppress(psutil.Error, KeyError):
                for child in self.raylet(node).children(recursive=True):
                    self.seen.add(child)
                    with contextlib.suppress(psutil.Error):
                        title = " ".join(child.cmdline())
                        if title.startswith("ray::") and any(name in title for name in names):
                            found[child] = node
        return found

    def lose(self, node) -> None:
        """A machine that is gone from one moment to the next: raylet and workers get SIGKILL."""
        with contextlib.suppress(psutil.Error):
            raylet = self.raylet(node)
            for process in [raylet, *raylet.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.cluster.remove_node(node, allow_graceful=False)

    def drain(self, node, seconds: int) -> None:
        """Tell Ray that a machine goes in so many seconds, as `ray start --block` does when it gets SIGTERM."""
        command = [
            str(Path(sys.executable).parent / "ray"), "drain-node", "--address", self.address, "--node-id",
            node.node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
            "--deadline-remaining-seconds", str(seconds),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        self.drained.append(node)

    def mend(self) -> None:
        """As many nodes as at the beginning, and none of them drained."""
        for node in [one for one in self.drained if one in self.cluster.worker_nodes]:
            self.lose(node)
        while len(self.cluster.worker_nodes) < 3:
            self.cluster.add_node(num_cpus=1)

    def close(self) -> None:
        """End what was started here, and nothing else."""
        self.workers("")
        self.cluster.shutdown()

    def orphans(self) -> list[psutil.Process]:
        """Processes of this cluster that outlived it."""
        deadline = time.time() + 20
        while (alive := [one for one in self.seen if _alive(one)]) and time.time() < deadline:
            time.sleep(0.5)
        return alive


def persist(start: Callable[[], Made]) -> Made:
    """Start something of Ray, again where it fails: a raylet ends itself when its agents take more than 15 s."""
    for _ in range(4):
        with contextlib.suppress(Exception):
            return start()
    return start()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@dataclass(kw_only=True)
class Run:
    """A run folder, and the driver that runs it: `abaw run` as a user types it."""

    machines: Machines
    runs: Path
    arguments: tuple[str, ...]
    rng: random.Random = field(default_factory=random.Random)
    driver: subprocess.Popen | None = None
    at: int | None = None
    """Step at which the next fault comes; None for a random one."""
    known: int = 0
    """Lines of `metrics.jsonl` that `new` leaves out."""

    @property
    def folder(self) -> Path:
        """The folder of the recipe."""
        return self.runs / self.arguments[0]

    @property
    def log_file(self) -> Path:
        """What the drivers of this run printed, one after another."""
        return self.runs / "driver.log"

    def start(self) -> None:
        """Give the command."""
        command = [sys.executable, "-m", "experiments", "run", *self.arguments, "--runs", str(self.runs)]
        self.runs.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("a") as log:
            self.driver = subprocess.Popen(
                [*command, "--address", self.machines.address],
                cwd=ROOT, env={**os.environ, **QUICK}, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait(self, timeout: float = 1800) -> int:
        """Its exit code."""
        assert self.driver is not None
        return self.driver.wait(timeout)

    def log(self) -> str:
        """All that was printed."""
        return self.log_file.read_text()

    @property
    def training(self) -> Path | None:
        """The folder of the training, once it is there."""
        return next(iter(self.folder.glob("finetune-*")), None)

    def lines(self) -> list[dict]:
        """`metrics.jsonl` so far."""
        file = self.training / "metrics.jsonl" if self.training else None
        text = file.read_text() if file and file.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def mark(self) -> None:
        """From now on, `new` gives later lines only."""
        self.known = len(self.lines())

    def new(self, name: str) -> list[dict]:
        """The lines since the mark that tell this."""
        return [line for line in self.lines()[self.known :] if name in line]

    def steps_done(self) -> int:
        """Steps of the whole training that its files show: the last checkpoint, or what the progress says."""
        if self.training is None:
            return 0
        done, per_epoch = [0], self.steps_per_epoch()
        with contextlib.suppress(Exception):
            with safe_open(self.training / "checkpoints" / "last" / "model.safetensors", framework="pt") as file:
                position = file.metadata()
            done.append(int(position["epoch"]) * per_epoch + int(position["step"]))
        with contextlib.suppress(OSError, ValueError):
            told = json.loads((self.training / "progress.json").read_text())
            done.append((told["epoch"] - 1) * per_epoch + told["step"])
        return max(done)

    def steps_per_epoch(self) -> int:
        """As the first line that knows says; 1 before."""
        return next((line["step"] // line["epoch"] for line in self.lines() if "step" in line), 1)

    def wait_until(self, ready, what: str, timeout: float = 1200) -> float:
        """Seconds until `ready()`; SystemExit when the driver ends before, or it takes too long."""
        started = time.time()
        while not ready():
            if time.time() - started > timeout or self.driver is None or self.driver.poll() is not None:
                raise SystemExit(f"waited {time.time() - started:.0f} s for {what}\n{self.log()}")
            time.sleep(0.05)
        return time.time() - started


def fresh(like: Run, runs: Path, *, stages: tuple[str, ...], machines: Machines, rng: random.Random) -> Run:
    """A new run with these stages of another one, which therefore do not run again."""
    run = Run(machines=machines, runs=runs, arguments=like.arguments, rng=rng)
    for name in stages:
        for folder in like.folder.glob(f"{name}-*"):
            shutil.copytree(folder, run.folder / folder.name)
    return run
