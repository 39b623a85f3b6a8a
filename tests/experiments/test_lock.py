"""Two drivers never share a run folder; one that was killed does not lock it for ever."""

import json
import subprocess
import sys

import pytest

from abaw.problems import BadInput
from experiments.lock import LOCK, driving

OWNER = {"user": "anna", "host": "node7", "pid": 4711, "since": "2026-11-22T10:00:00+00:00"}


def test_a_second_driver_is_refused_by_name(tmp_path):
    with driving(tmp_path), pytest.raises(BadInput, match=r"process \d+, since .* runs this folder"), driving(tmp_path):
        raise AssertionError("two drivers")
    with driving(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_machines_lock_stays(tmp_path):
    (tmp_path / LOCK).write_text(json.dumps(OWNER))
    with pytest.raises(BadInput, match="anna on node7, process 4711"), driving(tmp_path):
        raise AssertionError("two drivers")
    assert json.loads((tmp_path / LOCK).read_text()) == OWNER


def test_the_lock_of_a_killed_driver_is_taken_over(tmp_path):
    lines = [
        "import os, sys",
        "from pathlib import Path",
        "from experiments.lock import driving",
        "with driving(Path(sys.argv[1])):",
        "    os.kill(os.getpid(), 9)",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines), tmp_path], check=False)
    assert done.returncode == -9
    assert (tmp_path / LOCK).exists()
    with driving(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["user"]


def test_the_lock_goes_when_a_run_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), driving(tmp_path):
        raise ZeroDivisionError
    assert not (tmp_path / LOCK).exists()
