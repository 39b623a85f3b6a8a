"""The store, of either kind: many writers at once, one of a name, writers that are killed, and what is no store."""

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard import board
from leaderboard.cli import main
from leaderboard.schema import Rules
from leaderboard.store import Entry, add_entry, check_free, counts_of, entries, open_store, set_rules

WRITER = """
import sys
from datetime import datetime
from abaw.problems import BadInput
from leaderboard.store import Entry, add_entry, open_store

url, who = sys.argv[1:]
for k in range(3):
    for name in (f"{who}-{k}", f"shared-{k}"):
        entry = Entry(track="va", name=name, created_at=datetime(2026, 1, 1), status="valid", score=0.5, file="f")
        try:
            add_entry(open_store(url, create=True), entry, overwrite=False, publish=lambda: None)
        except BadInput as error:
            assert "there is an entry of this name" in str(error), error
            print("refused", name)
"""


KILLED = """
import sys, time
from datetime import datetime
from leaderboard.store import Entry, add_entry, open_store

def wait():
    print("waiting", flush=True)
    time.sleep(600)

url, moment = sys.argv[1:]
entry = Entry(track="va", name="killed", created_at=datetime(2026, 1, 1), status="valid", score=0.5, file="f")
add_entry(open_store(url, create=False), entry, overwrite=False, publish=wait if moment == "before" else lambda: None)
wait()
"""


def entry(name: str, status: str = "valid") -> Entry:
    return Entry(track="va", name=name, created_at=datetime(2026, 1, 1), status=status, score=0.5, file="f")


def test_twenty_processes_that_write_at_once_lose_nothing(store_url: str) -> None:
    people = [f"person{k}" for k in range(20)]
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, store_url, who], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for who in people
    ]
    outputs = [writer.communicate(timeout=240) for writer in writers]
    assert {error.decode() for _, error in outputs} == {""}
    found = [one.name for one in entries(open_store(store_url, create=False), "va")]
    shared = [f"shared-{k}" for k in range(3)]
    assert sorted(found) == sorted([f"{who}-{k}" for who in people for k in range(3)] + shared)
    refused = sorted(line.split()[1] for output, _ in outputs for line in output.decode().splitlines())
    assert refused == sorted(shared * 19), "of twenty writers of one name, nineteen are refused"
    rows = board.rows(store_url, TRACKS["va"])
    assert [row.rank for row in rows] == list(range(1, 64)), "all scores are equal: the earlier one is before"
    assert [row.name for row in rows] == found


def test_a_limit_holds_when_all_submit_at_once(store_url: str) -> None:
    set_rules(open_store(store_url, create=True), Rules(track="va", private_share=0.0, seed=0, most=5))
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, store_url, who], stdout=subprocess.PIPE) for who in "abcd"
    ]
    assert [writer.wait(240) for writer in writers] == [0] * 4
    status = [one.status for one in entries(open_store(store_url, create=False), "va")]
    assert (status.count("valid"), status.count("limited")) == (5, 10)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_writer_that_is_killed_is_either_in_or_not(store_url: str, moment: str) -> None:
    open_store(store_url, create=True)
    writer = subprocess.Popen([sys.executable, "-c", KILLED, store_url, moment], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "waiting\n"
    writer.kill()
    writer.wait(60)
    engine = open_store(store_url, create=False)
    names = [one.name for one in entries(engine, "va")]
    assert names == ([] if moment == "before" else ["killed"])
    add_entry(engine, entry("next"), overwrite=False, publish=lambda: None)
    assert [one.name for one in entries(engine, "va")] == [*names, "next"], "and nobody waits for its lock"


def test_a_failing_publish_leaves_the_store_as_it_was(store_url: str) -> None:
    engine = open_store(store_url, create=True)
    add_entry(engine, entry("kept"), overwrite=False, publish=lambda: None, counted=[{"video": "v"}])

    def fail() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        add_entry(engine, entry("kept"), overwrite=True, publish=fail)
    assert [one.name for one in entries(engine, "va")] == ["kept"]
    (kept,) = entries(engine, "va")
    assert (kept.id, counts_of(engine, kept)) == (1, [{"video": "v"}])
    add_entry(engine, entry("kept"), overwrite=True, publish=lambda: None)
    assert counts_of(engine, entries(engine, "va")[0]) == []


def test_names_are_free_per_track(store_url: str) -> None:
    engine = open_store(store_url, create=True)
    add_entry(engine, entry("a"), overwrite=False, publish=lambda: None)
    check_free(engine, "expr", "a", overwrite=False)
    check_free(engine, "va", "a", overwrite=True)
    with pytest.raises(BadInput, match="va/a: there is an entry of this name"):
        check_free(engine, "va", "a", overwrite=False)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no database URL .*sqlite:///FILE"):
        open_store("board.sqlite", create=True)
    (tmp_path / "empty.sqlite").touch()
    with pytest.raises(BadInput, match="holds no leaderboard; `leaderboard submit` makes it"):
        open_store(f"sqlite:///{tmp_path}/empty.sqlite", create=False)
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


def test_show_imports_neither_the_orm_nor_numpy(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/board.sqlite"
    add_entry(open_store(url, create=True), entry("a"), overwrite=False, publish=lambda: None)
    code = f"import sys; from leaderboard.cli import main; main(['show', '--store', {url!r}]); print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert shown[0] == "Valence-arousal estimation (va), ranked by S_VA"
    assert not {"sqlalchemy.orm", "numpy", "polars"} & set(shown[-1].split())


def test_a_name_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/board.sqlite"
    for name in (":smile:", "[bold]a[/bold]"):
        add_entry(open_store(url, create=True), entry(name), overwrite=False, publish=lambda: None)
    assert main(["show", "--store", url]) == 0
    assert {":smile:", "[bold]a[/bold]"} <= set(capsys.readouterr().out.split())
