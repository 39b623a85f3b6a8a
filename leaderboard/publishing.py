"""Files that appear together or not at all: alone (`Staged`), or with an entry of the store (`Published`).

They are two since only the store's commit can tell whether the files of a killed process are to stay: without a store
there is nothing that a journal could be settled by.

That commit is one moment, putting files in place is several. So a journal beside the files says what is being put in
place and for which entry. Who finds one that a killed process left asks the store: where the entry is in, only what it
replaced is removed; where it is not, what it replaced comes back and the rest goes.
"""

import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, select

from leaderboard.schema import ENTRIES, Entry

JOURNAL = ".submitting"
"""End of a journal's name."""


class Published:
    """The files of one entry. A context manager: leaving by an error takes back what `publish` put in place."""

    def __init__(self, engine: Engine, entry: Entry, contents: Mapping[Path, bytes]) -> None:
        """`contents` by path; all are of one folder, which is made where it is not there."""
        self._engine, self._entry, self._contents = engine, entry, contents
        self._token = secrets.token_hex(4)
        self._journal: Path | None = None
        self._plan: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def publish(self) -> None:
        """Put every file in place. To be called in the store's transaction, just before its commit."""
        if not self._contents:
            return
        folder = next(iter(self._contents)).parent
        folder.mkdir(parents=True, exist_ok=True)
        self._plan = self._planned()
        self._journal = folder / f"{self._token}{JOURNAL}"
        self._journal.write_text(json.dumps(self._plan))
        for target, content in self._contents.items():
            _partial(target, self._token).write_bytes(content)
        for target in self._contents:
            if target.exists():
                target.replace(_before(target, self._token))
            _partial(target, self._token).replace(target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._journal is not None:
            _settle(self._journal, self._plan, stored=kind is None)

    def _planned(self) -> dict[str, Any]:
        """What the journal says; of each file whether there is one already."""
        return {
            "store": _name(self._engine),
            "track": self._entry.track,
            "name": self._entry.name,
            "created_at": self._entry.created_at.isoformat(),
            "token": self._token,
            "files": {target.name: target.exists() for target in self._contents},
        }


class Staged:
    """Files of no entry, written beside their targets; `publish` puts all in place; an error takes them away again.

    A context manager, of any folders, which are made. A process that is killed leaves whole files, perhaps not all.
    """

    def __init__(self, contents: Mapping[Path, bytes]) -> None:
        self._contents = contents
        self._partial: dict[Path, Path] = {}
        self._new: list[Path] = []

    def __enter__(self) -> Self:
        for target, content in self._contents.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=target.name, suffix=".partial", dir=target.parent)
            self._partial[target] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(name, 0o644)  # mkstemp makes it private; a submission is handed on
        return self

    def publish(self) -> None:
        """Rename every file to its target."""
        for target, partial in self._partial.items():
            if not target.exists():
                self._new.append(target)
            partial.replace(target)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for partial in self._partial.values():
            partial.unlink(missing_ok=True)
        if kind is not None:
            for target in self._new:
                target.unlink(missing_ok=True)


def mend(engine: Engine, folder: Path) -> None:
    """Finish or undo what processes that were killed have left in a folder of this store's files."""
    if not any(folder.glob(f"*{JOURNAL}")):
        return
    with engine.begin() as connection:  # the store's lock: whose journal is here now is dead, or needs it no longer
        for journal in folder.glob(f"*{JOURNAL}"):
            try:
                plan = json.loads(journal.read_text())
            except ValueError:
                journal.unlink(missing_ok=True)  # killed before the journal was written, so before anything else
                continue
            if plan["store"] == _name(engine):
                _settle(journal, plan, stored=_is_stored(connection, plan))


def _is_stored(connection: Connection, plan: Mapping[str, Any]) -> bool:
    wanted = select(ENTRIES.c.created_at).where(ENTRIES.c.track == plan["track"], ENTRIES.c.name == plan["name"])
    found = connection.scalar(wanted)
    return found is not None and found.isoformat() == plan["created_at"]


def _settle(journal: Path, plan: Mapping[str, Any], *, stored: bool) -> None:
    """Keep the new files and remove what they replaced, or the other way round. Nothing where others have done it."""
    if not journal.exists():
        return
    for name, replaced in plan["files"].items():
        target = journal.with_name(name)
        before = _before(target, plan["token"])
        _partial(target, plan["token"]).unlink(missing_ok=True)
        if stored:
            before.unlink(missing_ok=True)
        elif before.exists():
            before.replace(target)
        elif not replaced:
            target.unlink(missing_ok=True)
    journal.unlink(missing_ok=True)


def _partial(target: Path, token: str) -> Path:
    return target.with_name(f"{target.name}.{token}.partial")


def _before(target: Path, token: str) -> Path:
    return target.with_name(f"{target.name}.{token}.before")


def _name(engine: Engine) -> str:
    """The store as a journal names it: without a password, and a file by its whole path."""
    if engine.url.get_backend_name() == "sqlite":
        return str(Path(engine.url.database or "").resolve())
    return engine.url.render_as_string(hide_password=True)
