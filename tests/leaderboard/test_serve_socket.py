"""The server on a real socket: slow, huge and malformed requests, a server that is killed, and the two commands."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from leaderboard import serve_guard, store
from leaderboard.audit import happenings
from leaderboard.cli import main
from leaderboard.serve import make_app
from leaderboard.serving import Served
from leaderboard.uploads import Limits

Teams = tuple[Any, Any]
Official = Callable[[int], bytes]
Address = tuple[str, int]
PATH = "/api/tracks/mtl/entries/x"


@pytest.fixture
def address(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    monkeypatch.setattr(serve_guard, "HEAD_SECONDS", 1.0)
    app = make_app(replace(served, limits=Limits(bytes=1_000_000, seconds=1.0)))
    server = serve_guard.server(app, served.engine, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


def until(true: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it has not happened"
        time.sleep(0.02)


def outcomes(served: Served) -> dict[str, int]:
    found = Counter[str]()
    for one in happenings(served.engine):
        found[one.outcome] += one.times
    return found


def exchange(address: Address, *parts: bytes, pause: float = 0.0) -> tuple[int, dict[str, Any], float]:
    """Send the parts one after the other, and read until the server hangs up: status, JSON, seconds."""
    start = time.monotonic()
    with socket.create_connection(address, timeout=20) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(pause)
        found = b""
        while chunk := connection.recv(65_536):
            found += chunk
    head, _, body = found.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body), time.monotonic() - start


def head(team: Any, length: int) -> bytes:
    token = b64encode(f"{team.name}:{team.token}".encode())
    return b"PUT %s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\n" % (
        PATH.encode(),
        token,
        length,
    )


def test_a_slow_upload_ends(address: Address, teams: Teams, served: Served) -> None:
    status, answer, seconds = exchange(address, head(teams[0], 1000), *[b"x"] * 14, pause=0.1)
    assert (status, answer["code"]) == (408, "too-slow")
    assert answer["message"] == "an upload takes at most 1 seconds"
    assert seconds < 6, "the connection does not stay open for the rest of the body"
    assert outcomes(served) == {"too-slow": 1}


def test_a_slow_head_ends(address: Address, served: Served) -> None:
    drops = [b"GET / HTTP/1.1\r\n", *(b"X-%d: y\r\n" % k for k in range(14))]
    status, answer, seconds = exchange(address, *drops, pause=0.1)
    assert (status, answer["code"]) == (408, "too-slow")
    assert seconds < 6
    until(lambda: outcomes(served) == {"too-slow": 1})
    with socket.create_connection(address, timeout=20) as connection:
        assert connection.recv(10) == b"", "and one who says nothing at all is left"


def test_huge_headers_are_refused(address: Address, teams: Teams, served: Served) -> None:
    for request in (
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 50_000,
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % k for k in range(10_000)),
        b"GET /" + b"a" * 50_000,
    ):
        status, answer, _ = exchange(address, request)
        assert (status, answer["code"]) == (431, "headers-too-large")
    until(lambda: outcomes(served) == {"headers-too-large": 3})
    assert httpx.get(f"http://127.0.0.1:{address[1]}/api/tracks", auth=teams[0].auth).status_code == 200


@pytest.mark.parametrize(
    "request_",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n"],
)
def test_what_is_no_request_is_refused(address: Address, served: Served, request_: bytes) -> None:
    status, answer, _ = exchange(address, request_ + b"\r\n\r\n")
    assert (status, answer["code"]) == (400, "bad-request")
    until(lambda: outcomes(served) == {"bad-request": 1})


def test_more_than_was_said_or_allowed_is_refused(address: Address, teams: Teams, served: Served) -> None:
    chunked = head(teams[0], 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    status, answer, _ = exchange(address, chunked, *[chunk] * 40)
    assert (status, answer["code"]) == (413, "too-large")
    status, answer, _ = exchange(address, head(teams[0], 10**15))
    assert (status, answer["code"]) == (413, "too-large")


def test_an_upload_that_is_cut_off_is_logged(address: Address, teams: Teams, served: Served) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(head(teams[0], 1000) + b"image")
        until(lambda: outcomes(served) == {"started": 1})
    until(lambda: outcomes(served) == {"cut-off": 1})
    assert store.entries(served.engine, "mtl") == []


def test_teams_submit_at_once(address: Address, teams: Teams, official: Official, served: Served) -> None:
    data = official(0)
    answers: list[int] = []

    def put(k: int) -> None:
        url = f"http://127.0.0.1:{address[1]}/api/tracks/mtl/entries/{k % 3}"
        answers.append(httpx.put(url, content=data, auth=teams[k // 3].auth, timeout=60).status_code)

    threads = [threading.Thread(target=put, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(answers) == [201] * 3 + [409] * 3
    assert sorted(one.name for one in store.entries(served.engine, "mtl")) == list("012")
    assert len(list(served.files.rglob("*.txt"))) == 3


def test_a_killed_server_leaves_no_half_entry(
    tmp_path: Path, served: Served, teams: Teams, official: Official, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    challenge = served.challenges["mtl"]
    command = [sys.executable, "-m", "leaderboard", "serve", "--challenge", "mtl", challenge.template, challenge.truth]
    options = ["--store", served.url, "--files", served.files, "--port", str(port)]
    process = subprocess.Popen([*map(str, command), *map(str, options)], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == f"the board is at http://127.0.0.1:{port}/ (interrupt to stop)\n"

    def reachable() -> bool:
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", port)) == 0

    until(reachable)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head(teams[0], 100_000) + official(0))
        until(lambda: outcomes(served) == {"started": 1})
        os.kill(process.pid, signal.SIGKILL)
        process.wait(30)
    assert store.entries(served.engine, "mtl") == []
    capsys.readouterr()
    assert main(["team", "log", "--store", served.url, "--json"]) == 0
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (line["team"], line["subject"], line["outcome"]) == ("ann", "mtl/x", "started")
