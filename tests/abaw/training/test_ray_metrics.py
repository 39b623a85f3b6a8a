"""Images/s, data wait and GPU memory are in Ray's metrics, where Prometheus and the dashboard read them."""

import os
import pickle
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

TRAIN = """
import pickle, sys
import ray
from abaw.training.fit import fit_together
from abaw.training.resources import Resources
from pathlib import Path

port, folder = int(sys.argv[1]), Path(sys.argv[2])
ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _metrics_export_port=port,
    _system_config={"metrics_report_interval_ms": 500},
)
job = pickle.loads((folder / "job.pkl").read_bytes())
print(fit_together([job], resources=Resources(workers=1), scratch=folder / "ray"))
"""
METRICS = ("images_per_second", "data_wait", "gpu_memory_bytes")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.cluster
def test_a_training_is_seen_at_the_metrics_endpoint(shards, make_job, tmp_path):
    job, port = make_job(shards, tmp_path / "run", epochs=2000), free_port()
    (tmp_path / "job.pkl").write_bytes(pickle.dumps(job))
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    process = subprocess.Popen([sys.executable, "-c", TRAIN, str(port), str(tmp_path)], env=environment)
    found = {}
    try:
        while len(found) < len(METRICS):
            assert process.poll() is None, "the training ended before its metrics were there"
            time.sleep(1)
            found = read_metrics(port, job.name)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert found["images_per_second"] > 0
    assert 0 <= found["data_wait"] <= 1
    assert found["gpu_memory_bytes"] == 0


def read_metrics(port, job):
    """The last values for a job, by name."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    pattern = re.compile(rf'^ray_abaw_(\w+)\{{[^}}]*job="{job}"[^}}]*rank="0"[^}}]*\}} (\S+)$', re.MULTILINE)
    return {name: float(value) for name, value in pattern.findall(text)}
