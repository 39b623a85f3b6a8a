"""The wheel holds three import packages with their data, and runs without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = out.glob("*.whl")
    return path


def test_the_wheel_holds_the_three_packages_and_their_data(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"abaw", "experiments", "leaderboard"}
    assert {"abaw/py.typed", "abaw/faces/face_cc0.npz", "abaw/faces/NOTICE.md", "abaw/tracks.py"} <= set(names)
    metadata = next(name for name in names if name.endswith("entry_points.txt"))
    entry_points = zipfile.ZipFile(wheel).read(metadata).decode()
    assert "abaw = experiments.cli:main" in entry_points
    assert "leaderboard = leaderboard.cli:main" in entry_points


@pytest.mark.parametrize("module", ["experiments", "leaderboard"])
def test_the_commands_run_from_the_wheel_alone(wheel, tmp_path, module):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = f"import abaw.tracks, {module}.cli as cli; print(abaw.tracks.__file__); cli.main(['--help'])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path))
    assert "examples:" in done.stdout
