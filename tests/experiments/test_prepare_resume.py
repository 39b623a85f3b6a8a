"""`abaw prepare video` and `prepare images --align`, killed in the middle: the second run makes what is missing."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import ray
import simplejpeg

from abaw.data import clean_images
from experiments.cli import run

GROUP = 3
PROGRAM = f"""
import sys
import ray
from abaw.data import clean_images
from experiments.cli import run
clean_images.GROUP = {GROUP}
ray.init(sys.argv[1], log_to_driver=False, logging_level="error")
run(sys.argv[2:])
"""


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_after(notes, folder, command):
    """Run a command in a process of its own, and end it by SIGKILL once there are so many notes of what is done."""
    address = ray.get_runtime_context().gcs_address
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, address, *command], stderr=subprocess.DEVNULL)
    while sum(1 for _ in folder.glob("*.json")) < notes and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was killed before it had ended"


def assert_goes_on(command, out, notes):
    """A run that is killed after two notes and goes on keeps those, and equals one that does all again."""
    kill_after(2, notes, command)
    assert not (out / "shards" / "manifest.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in notes.glob("*.json")}
    code = run([*command, "--resume"])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was there was not made again"
    resumed = contents(out)
    assert run([*command, "--overwrite"]) == code
    assert contents(out) == resumed
    assert len(kept) < sum(1 for _ in notes.glob("*.json")), "something was left to do"
    assert [name for name in resumed if "partial" in name] == []
    return code


@pytest.mark.slow
def test_videos(local_ray, write_video, tmp_path):
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    noise_THWC = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), dtype=np.uint8)
    for number in range(10):
        write_video(root / f"v{number}.mp4", np.roll(noise_THWC, number, axis=0))
    assert assert_goes_on(["prepare", "video", str(root), str(out), "--slots", "2"], out, out / "videos") == 0
    assert len(contents(out / "crops")) == 500


@pytest.mark.slow
def test_aligned_images(local_ray, astronaut_HWC, face_task, tmp_path, monkeypatch):
    monkeypatch.setattr(clean_images, "GROUP", GROUP)
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    for number in range(24):
        shifted_HWC = np.roll(astronaut_HWC, number, axis=1)
        (root / f"{number}.jpg").write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(shifted_HWC)))
    (root / "5.jpg").write_bytes(b"")
    command = ["prepare", "images", str(root), str(out), "--align", "--detector", "mediapipe", "--slots", "2"]
    assert assert_goes_on([*command, "--weights", os.fspath(face_task)], out, out / "notes") == 3
    assert len(contents(out / "crops")) == 23
