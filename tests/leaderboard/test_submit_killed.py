"""`leaderboard submit` that is killed at each of its steps: the entry and its files are in, or neither is."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

from leaderboard import store
from leaderboard.cli import main
from leaderboard.manifest import manifest_path
from leaderboard.publishing import JOURNAL, mend

KILLED = """
import json, os, signal, sys
from sqlalchemy import Engine, event
from leaderboard import commands, entries
from leaderboard.cli import main

def run(step, arguments):
    left = step

    def count(*_):
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(what, values):
        written = what == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR)
        if what in ("os.rename", "os.remove", "os.mkdir") or written and values[0] != os.devnull:
            count()

    for moment in ("begin", "commit"):
        event.listen(Engine, moment, count)
    sys.addaudithook(hook)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return main(arguments)

for line in sys.stdin:
    if not (child := os.fork()):
        os._exit(run(*json.loads(line)))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs the command again and again, and kills it before one of its steps: each file that it writes, renames or removes,
each begin and each commit of a transaction."""
EARLY = 6
"""Steps before which nothing is written."""
Kill = Callable[[int, list[str]], None]
Submission = Callable[..., list[str]]


@pytest.fixture
def killed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kill]:
    """Run the command in a folder of its own and kill it at the step."""
    monkeypatch.chdir(tmp_path)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin
    assert process.stdout
    stdin, stdout = process.stdin, process.stdout

    def kill(step: int, arguments: list[str]) -> None:
        stdin.write(json.dumps([step, arguments]) + "\n")
        stdin.flush()
        assert int(stdout.readline()) == -signal.SIGKILL
        assert list(temporary.iterdir()) == [], "nothing is left where nobody looks"

    yield kill
    stdin.close()
    assert process.wait(60) == 0


@pytest.fixture
def submit(tmp_path: Path) -> Submission:
    """The arguments of a submission of one of two files."""
    (tmp_path / "result.json").write_text('{"commit": "abcdef1"}')  # so that nobody need ask git
    truth = tmp_path / "truth.txt"
    for path, values in ((truth, "0.5,-0.5"), (tmp_path / "0.txt", "0.1,0.2"), (tmp_path / "1.txt", "0.3,0.4")):
        rows = [f"{video}/{frame:05d}.jpg,{values}\n" for video in "vw" for frame in (1, 2)]
        path.write_text("image_location,valence,arousal\n" + "".join(rows))

    def arguments(name: str, url: str, file: int = 0) -> list[str]:
        options = ["--track", "va", "--template", str(truth), "--truth", str(truth), "--out", "out", "--name", name]
        return ["submit", f"{file}.txt", *options, "--store", url]

    return arguments


def left_behind() -> bool:
    return any(Path("out").glob(f"*{JOURNAL}"))


def stored(url: str) -> dict[str, str]:
    """SHA-256 of each entry."""
    return {one.name: one.sha256 for one in store.entries(store.open_store(url, create=True), "va")}


def in_place() -> dict[str, str]:
    """The same of what is in the folder, where nothing but files with their manifests is allowed to be."""
    files = {path.name.removeprefix("va-").removesuffix(".txt"): path for path in Path("out").glob("va-*.txt")}
    found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    manifests = {name: manifest_path(path) for name, path in files.items()}
    assert sorted(Path("out").iterdir()) == sorted([*files.values(), *manifests.values()])
    assert {name: json.loads(path.read_text())["sha256"] for name, path in manifests.items()} == found
    return found


def test_a_killed_submit_is_in_or_not_and_the_next_one_works(
    killed_at: Kill, submit: Submission, store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []
    while not seen or seen[-1] != (True, False):
        name = f"a{len(seen)}"
        killed_at(len(seen) + 1, submit(name, store_url))
        is_in = name in stored(store_url)
        seen.append((is_in, left_behind()))
        assert not is_in or Path(f"out/va-{name}.txt").exists()
        assert main(["show", "--store", store_url]) == 0
        assert main(submit(name, store_url)) == (1 if is_in else 0)
        assert ("there is an entry of this name" in capsys.readouterr().err) is is_in
        assert stored(store_url) == in_place()
    assert len(stored(store_url)) == len(seen)
    assert list(dict.fromkeys(seen)) == [(False, False), (False, True), (True, True), (True, False)]


def test_an_entry_that_was_to_be_replaced_is_whole(killed_at: Kill, submit: Submission, store_url: str) -> None:
    file = cycle([0, 1])
    assert main(submit("a", store_url, next(file))) == 0
    seen = []
    while not seen or seen[-1] != (True, False):
        before = stored(store_url)["a"]
        killed_at(EARLY + len(seen), [*submit("a", store_url, next(file)), "--overwrite"])
        seen.append((stored(store_url)["a"] != before, left_behind()))
        mend(store.open_store(store_url, create=False), Path("out"))
        assert stored(store_url) == in_place(), "of its two files the store's"
    assert list(dict.fromkeys(seen)) == [(False, False), (False, True), (True, True), (True, False)]


def test_a_store_that_was_being_made_is_usable(
    killed_at: Kill, submit: Submission, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in range(1, EARLY):
        url = f"sqlite:///{step}.sqlite"
        killed_at(step, submit(f"a{step}", url))
        code = main(["show", "--store", url])
        lines = capsys.readouterr().err.splitlines()
        assert (code, len(lines)) in ((0, 1), (1, 1)), "there is no entry, or no leaderboard yet"
        assert main(submit(f"a{step}", url)) == 0
        assert len(stored(url)) == 1
