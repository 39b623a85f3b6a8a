"""Checkpoints on another file system, such as S3: a training goes on from there when its disk went with its machine.

Each checkpoint is a folder of its own; `last.json` names the last two, and is written when all their files are there.
"""

import json
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from abaw.data.storage import as_path, copy_file, file_sizes, is_remote, reaching, remove_folder, write_text
from abaw.problems import refuse
from abaw.training.keeping import kept_files

POINTER = "last.json"


class Away:
    """What a folder of checkpoints holds, in a folder or URL that fsspec opens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sent: dict[Path, int] = {}

    def send(self, checkpoint: Path) -> None:
        """Copy the best epochs and this checkpoint; then forget all but this one and the one before."""
        with reaching(self.folder):
            for file in kept_files(checkpoint.parent):
                changed = file.stat().st_mtime_ns
                if self._sent.get(file) != changed:
                    copy_file(file, self.folder / file.name)
                    self._sent[file] = changed
            name, names = uuid.uuid4().hex, self._names()
            for file in sorted(checkpoint.iterdir()):
                copy_file(file, self.folder / name / file.name)
            write_text(self.folder / POINTER, json.dumps([name, *names[:1]]))
            for one in names[1:]:
                remove_folder(self.folder / one)

    def fetch(self) -> Iterator[Path]:
        """The last two checkpoints, the last one first, each in a folder on this disk for as long as it is read."""
        for name in self._names():
            with tempfile.TemporaryDirectory(prefix="abaw-checkpoint-") as local:
                with reaching(self.folder):
                    for file in file_sizes(self.folder / name):
                        copy_file(self.folder / name / file, Path(local) / file)
                yield Path(local)

    def restore_kept(self, folder: Path) -> None:
        """Bring the best epochs back to a folder that has none."""
        with reaching(self.folder):
            if kept_files(folder):
                return
            folder.mkdir(parents=True, exist_ok=True)
            for file in kept_files(self.folder):
                copy_file(file, folder / file.name)

    def _names(self) -> list[str]:
        with reaching(self.folder):
            try:
                names: list[str] = json.loads((self.folder / POINTER).read_text())
            except FileNotFoundError:
                return []
            return names


def away_for(url: str, job_folder: Path) -> Away | None:
    """Where the checkpoints of a training go, below `url` by the names of its run and its stage; None for no URL."""
    return Away(as_path(url) / job_folder.parent.name / job_folder.name) if url else None


def check_place(url: str) -> None:
    """Write a file there and remove it: BadInput, before anything runs, where that cannot be done."""
    if not is_remote(url) and not Path(url).is_absolute():
        raise refuse(url, "is neither a URL nor an absolute path: workers may run in other folders; give one of these")
    probe = as_path(url) / f"{uuid.uuid4().hex}.probe"
    try:
        with reaching(url):
            write_text(probe, "")
            probe.unlink()
    except OSError as error:
        hint = "give --resources.checkpoints another folder"
        raise refuse(url, f"no checkpoint can be written there ({error}); {hint}") from None
