"""`ray job submit` of a whole recipe, as a user types it, to a head node started for the test."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def head():
    """A head node with its dashboard; ends with the test, and only it."""
    port, dashboard, client, agent = (free_port() for _ in range(4))
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    command = [
        str(BIN / "ray"), "start", "--head", "--block", f"--port={port}", f"--dashboard-port={dashboard}",
        "--num-cpus=2", f"--ray-client-server-port={client}", f"--dashboard-agent-listen-port={agent}",
        "--disable-usage-stats",
    ]  # fmt: skip
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    address = f"http://127.0.0.1:{dashboard}"
    wait_for_dashboard(address, environment, process)
    yield address, environment
    process.terminate()
    process.wait(timeout=60)


def wait_for_dashboard(address, environment, process):
    deadline = time.time() + 90
    while time.time() < deadline:
        assert process.poll() is None, process.stdout.read()
        listed = subprocess.run(
            [str(BIN / "ray"), "job", "list", "--address", address], env=environment, capture_output=True, check=False
        )
        if listed.returncode == 0:
            return
        time.sleep(1)
    raise AssertionError("the dashboard did not answer in 90 s")


@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_a_submitted_job_runs_the_recipe_to_its_leaderboard(head, tmp_path):
    address, environment = head
    command = [
        str(BIN / "ray"), "job", "submit", "--address", address, "--working-dir", ".", "--",
        sys.executable, "-m", "experiments", "run", "demo_debug", "--runs", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert re.search(r"constant\s+predictor", done.stdout)
    (board,) = (tmp_path / "demo_debug").glob("board-*/result.json")
    entries = json.loads(board.read_text())["entries"]
    assert len(entries) == 6
    assert all(entry["status"] == "valid" for entry in entries)
