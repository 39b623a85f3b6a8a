"""What is said when a local Ray does not start."""

import os
import subprocess
import sys


def test_a_ray_that_does_not_start_says_why_and_what_to_do(tmp_path):
    folder = tmp_path / ("x" * 100)  # Ray's sockets lie below it, and the path of a socket has 107 bytes at most
    folder.mkdir()
    command = [sys.executable, "-m", "experiments", "run", "demo_debug", "--runs", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(folder)})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "abaw: Ray: did not start on this machine: " in done.stderr
    assert "AF_UNIX path length cannot exceed 107 bytes" in done.stderr
    assert f"expected TMPDIR (now {folder}) to be short" in done.stderr
