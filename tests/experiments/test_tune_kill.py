"""A search whose driver is killed goes on with all that was finished; and a whole search of a recipe, as typed."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAME = "mae_face_mtl_debug"
PROGRAM = [str(Path(sys.executable).parent / "abaw"), "tune", NAME, "--search", "finetune"]
FEW = ["--starts", "scratch", "--resources.workers", "1"]


def command(folder, *options):
    return [*PROGRAM, "--runs", str(folder), *options, *FEW]


def states(folder):
    """The state of each trial by number; none while there is no study. Only reads: the study is its driver's."""
    path = folder / NAME / "tune" / "finetune" / "study.db"
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return dict(database.execute("SELECT number, state FROM trials"))
    except sqlite3.OperationalError:  # not made yet, or being written
        return {}


@pytest.mark.slow
def test_a_killed_search_goes_on_with_all_that_was_finished(tmp_path):
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    with (tmp_path / "log.txt").open("w") as log:
        driver = subprocess.Popen(
            command(tmp_path, "--trials", "20"), env=environment, stdout=log, stderr=log, start_new_session=True
        )
        deadline = time.time() + 900
        while list(states(tmp_path).values()).count("COMPLETE") < 2 or "RUNNING" not in states(tmp_path).values():
            assert driver.poll() is None, (tmp_path / "log.txt").read_text()
            assert time.time() < deadline, (tmp_path / "log.txt").read_text()
            time.sleep(0.3)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    before = states(tmp_path)
    finished = {number: state for number, state in before.items() if state in ("COMPLETE", "PRUNED")}
    lost = [number for number, state in before.items() if state == "RUNNING"]
    assert lost

    again = command(tmp_path, "--trials", str(len(finished) + 1))
    refused = subprocess.run(again, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "give --resume to go on, or --overwrite to begin anew" in refused.stderr
    done = subprocess.run([*again, "--resume", "--json"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"going on with a study of {len(finished)} finished trials; {len(lost)} were cut off" in done.stderr
    after = states(tmp_path)
    assert {number: after[number] for number in finished} == finished
    assert [after[number] for number in lost] == ["FAIL"] * len(lost)
    assert len(after) == len(before) + 1
    assert json.loads(done.stdout)["budget_reached"] == f"{len(finished) + 1} trials"
    page = (tmp_path / NAME / "tune" / "finetune" / "index.html").read_text()
    assert page.count("cut off: the search was killed while it ran") == len(lost)
