"""`abaw run RECIPE --address http://HEAD:8265`, as a user types it, to a head whose dashboard is read meanwhile."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from chaos_machines import free_port

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def head():
    """A head node with its dashboard; ends with the tests, and only it."""
    dashboard = free_port()
    # A job's `python` is that of the head.
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PATH": f"{BIN}:{os.environ['PATH']}"}
    environment.pop("RAY_ADDRESS", None)
    command = [
        str(BIN / "ray"), "start", "--head", "--block", f"--port={free_port()}", f"--dashboard-port={dashboard}",
        "--num-cpus=2", f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}",
        "--disable-usage-stats",
    ]  # fmt: skip
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    address = f"http://127.0.0.1:{dashboard}"
    wait_until(
        lambda: process.poll() is not None or answers(f"{address}/api/jobs/") == [], "the dashboard", seconds=120
    )
    assert process.poll() is None, process.stdout.read()
    yield address, environment
    process.terminate()
    process.wait(timeout=60)


def wait_until(ready, what, *, seconds):
    deadline = time.time() + seconds
    while not (found := ready()):
        assert time.time() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.5)
    return found


def answers(url):
    """The JSON at an address; None while there is none."""
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            return json.load(response)
    except (OSError, ValueError):
        return None


def abaw(environment, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments", *arguments],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def submitted(head, tmp_path_factory):
    """The demo at its smallest, run as a job; what the Train page and `abaw status` said while it trained."""
    address, environment = head
    runs = tmp_path_factory.mktemp("runs")
    driver = abaw(environment, "run", "demo_debug", "--starts", "scratch", "--runs", str(runs), "--address", address)

    def trainings():
        found = (answers(f"{address}/api/train/v2/runs/v1") or {}).get("train_runs", [])
        return found if found and found[0]["status"] == "RUNNING" else None

    try:
        seen = wait_until(lambda: driver.poll() is not None or trainings(), "a training", seconds=400)
        status = abaw(environment, "status", "--runs", str(runs), "--address", address, "--json")
        told, _ = status.communicate(timeout=120)
        out, err = driver.communicate(timeout=500)
    finally:
        driver.kill()
    assert driver.returncode == 0, out + err
    return {"trainings": seen, "status": json.loads(told), "out": out, "err": err, "runs": runs, "address": address}


def test_the_job_runs_the_recipe_to_its_leaderboard_and_its_log_is_followed(submitted):
    assert re.search(r"abaw: job demo_debug-\d{4}-\d{6}-[0-9a-f]{4} at http", submitted["err"])
    assert "succeeded" in submitted["err"]
    assert "finetune/scratch/fold-1: done" in submitted["out"]
    assert re.search(r"constant\s+predictor", submitted["out"])
    (board,) = (submitted["runs"] / "demo_debug").glob("board-*/result.json")
    result = json.loads(board.read_text())
    assert all(entry["status"] == "valid" for entry in result["entries"])
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result["commit"] == commit.stdout.strip()


def test_the_dashboard_names_the_job_and_its_training(submitted):
    (job,) = [job for job in answers(f"{submitted['address']}/api/jobs/") if job["type"] == "SUBMISSION"]
    assert job["submission_id"].startswith("demo_debug-")
    assert job["status"] == "SUCCEEDED"
    assert job["metadata"]["recipe"] == "demo_debug"
    assert [run["name"] for run in submitted["trainings"]] == ["finetune-scratch-fold-0+1"]


def test_status_tells_what_ran_where(submitted):
    status = submitted["status"]
    (run,) = status["runs"]
    assert "process" in run["driver"]
    assert {stage["state"] for stage in run["stages"]} <= {"complete", "running"}
    assert status["jobs"][0]["state"].endswith("RUNNING")
    assert [(node["state"], node["cpus"]) for node in status["nodes"]] == [("ALIVE", 2)]
    # An actor may be waiting at just this moment, but never for more than there is.
    assert all(one["for"].get("CPU", 0) <= 2 for one in status["waiting"])


@pytest.mark.browser
def test_the_jobs_page_shows_the_job(submitted, tmp_path):
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    assert program, "no Chromium; on Debian: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=[] if os.getuid() else ["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 700})
        page.goto(f"{submitted['address']}/#/jobs")
        page.get_by_text(re.compile(r"demo_debug-\d{4}")).first.wait_for(timeout=60_000)
        picture = page.screenshot(path=tmp_path / "jobs.png")
        browser.close()
    assert len(picture) > 10_000


def test_ctrl_c_leaves_the_job_running_and_says_how_to_stop_it(head, tmp_path):
    address, environment = head
    driver = abaw(environment, "run", "demo", "--runs", str(tmp_path), "--address", address)
    line = driver.stderr.readline()
    name = re.search(r"job (demo-\S+) at", line)[1]
    wait_until(lambda: answers(f"{address}/api/jobs/{name}")["status"] == "RUNNING", "the job", seconds=200)
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 0
    assert f"ray job stop --address {address} {name}" in err
    assert answers(f"{address}/api/jobs/{name}")["status"] == "RUNNING"
    stop = [str(BIN / "ray"), "job", "stop", "--address", address, name]
    subprocess.run(stop, env=environment, check=True, capture_output=True, timeout=120)
    assert answers(f"{address}/api/jobs/{name}")["status"] == "STOPPED"


def test_ray_job_submit_runs_the_recipe_too(head, tmp_path):
    """As docs/cluster.md has it, without the `abaw` command on the side of the user."""
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
