"""The store: many writers at once, one of a name, and files that are no store."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from abaw.problems import BadInput
from leaderboard.store import Entry, add_entry, check_free, entries, open_store

WRITER = """
import sys
from datetime import datetime
from abaw.problems import BadInput
from leaderboard.store import Entry, add_entry, open_store

url, who = sys.argv[1:]
for k in range(15):
    for name in (f"{who}-{k}", f"shared-{k}"):
        entry = Entry(track="va", name=name, created_at=datetime(2026, 1, 1), status="valid", score=0.5, file="f")
        try:
            add_entry(open_store(url, create=True), entry, overwrite=False, publish=lambda: None)
        except BadInput as error:
            assert "there is an entry of this name" in str(error), error
            print("refused", name)
"""


def entry(name: str, status: str = "valid") -> Entry:
    return Entry(track="va", name=name, created_at=datetime(2026, 1, 1), status=status, score=0.5, file="f")


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/board.sqlite"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url, who], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for who in ("ann", "bob", "cy")
    ]
    outputs = [writer.communicate(timeout=120) for writer in writers]
    assert [error.decode() for _, error in outputs] == ["", "", ""]
    found = [one.name for one in entries(open_store(url, create=False), "va")]
    shared = [f"shared-{k}" for k in range(15)]
    assert sorted(found) == sorted([f"{who}-{k}" for who in ("ann", "bob", "cy") for k in range(15)] + shared)
    refused = sorted(line.split()[1] for output, _ in outputs for line in output.decode().splitlines())
    assert refused == sorted(shared * 2), "of three writers of one name, two are refused"


def test_a_failing_publish_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path}/board.sqlite", create=True)
    add_entry(engine, entry("kept"), overwrite=False, publish=lambda: None)

    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        add_entry(engine, entry("kept"), overwrite=True, publish=fail)
    assert [one.name for one in entries(engine, "va")] == ["kept"]
    assert [one.id for one in entries(engine, "va")] == [1]


def test_names_are_free_per_track(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path}/board.sqlite", create=True)
    add_entry(engine, entry("a"), overwrite=False, publish=lambda: None)
    check_free(engine, "expr", "a", overwrite=False)
    check_free(engine, "va", "a", overwrite=True)
    with pytest.raises(BadInput, match="va/a: there is an entry of this name"):
        check_free(engine, "va", "a", overwrite=False)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no database URL .*sqlite:///FILE"):
        open_store("board.sqlite", create=True)
    with pytest.raises(BadInput, match="no such leaderboard"):
        open_store(f"sqlite:///{tmp_path}/board.sqlite", create=False)
    (tmp_path / "notes.txt").write_text("not a database, " * 100)
    with pytest.raises(BadInput, match="cannot be used as a leaderboard store"):
        open_store(f"sqlite:///{tmp_path}/notes.txt", create=True)
    assert (tmp_path / "notes.txt").read_text().startswith("not a database")
    with pytest.raises(BadInput, match="cannot be used as a leaderboard store"):
        entries(open_store(f"sqlite:///{tmp_path}/notes.txt", create=False), "va")


def test_a_store_in_a_new_folder_is_made(tmp_path: Path) -> None:
    engine = open_store(f"sqlite:///{tmp_path}/runs/demo/board.sqlite", create=True)
    assert entries(engine, "va") == []
