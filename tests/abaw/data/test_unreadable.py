"""Folders that may not be read, as in a delivery that somebody else unpacked: named, and nothing else is lost."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534


@pytest.fixture(scope="module")
def root(write_delivery: Any) -> Iterator[Path]:
    """A delivery that everybody may reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        write_delivery(Path(folder) / "delivery")
        yield Path(folder) / "delivery"


def run_as_nobody(code: str, *arguments: Path) -> list[str]:
    """The lines that a process prints which gives up being root, who may read everything."""
    drop = f"import os\nif os.geteuid() == 0: os.seteuid({NOBODY})\n"
    command = [sys.executable, "-c", code.replace("# as nobody", drop), *map(str, arguments)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def test_crops_and_other_folders_are_drops_and_label_folders_are_refused(root: Path) -> None:
    code = """
import sys
from pathlib import Path
from abaw.data.affwild2 import read_affwild2
from abaw.problems import BadInput
root = Path(sys.argv[1])
read_affwild2(root)  # loads what Python loads late
# as nobody
found = read_affwild2(root)
print(found.frames.filter(video="102").height, found.frames.filter(video="t1").height)
print(*found.drops.rows(), sep="\\n")
labels = Path(sys.argv[2])
try:
    read_affwild2(labels)
except BadInput as error:
    print(error)
"""
    (root / "lost+found").mkdir()
    labels = root.parent / "labels"
    shutil.copytree(root, labels)
    crops, train = root / "cropped_aligned/cropped_aligned/t1", labels / "annotations/VA_Estimation_Challenge/Train_Set"
    shut = [crops, root / "lost+found", train]
    for folder in shut:
        folder.chmod(0)
    try:
        counts, *drops, refusal = run_as_nobody(code, root, labels)
    finally:
        for folder in shut:
            folder.chmod(0o755)
    assert counts == "11 0"
    reason = "folder cannot be read: Permission denied"
    assert drops == [str((str(folder), reason)) for folder in shut[:2]]
    assert refusal == f"{train}: {reason}"
