"""Uploads that mean harm: each is refused with a code and a message, logged, and leaves nothing behind."""

import contextlib
import gzip
import io
import pickle
import struct
import tempfile
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboard import store
from leaderboard.audit import happenings
from leaderboard.serve import make_app
from leaderboard.serving import Served
from leaderboard.uploads import LONGEST_LINE, MOST_FILES, Limits, Refusal, prepare

Teams = tuple[Any, Any]
ENTRIES = "/api/tracks/mtl/entries"
LIMIT = 1_000_000


@pytest.fixture
def client(served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[TestClient]:
    from dataclasses import replace

    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with TestClient(make_app(replace(served, limits=Limits(bytes=LIMIT, uploads=1000)))) as client:
        yield client
    assert list((tmp_path / "temporary").iterdir()) == [], "nothing of an upload is left behind"


def archive(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
    return buffer.getvalue()


def symlink() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("link.txt")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def lying_about_its_size() -> bytes:
    """A zip whose headers say ten bytes of what unpacks to ten million."""
    data = bytearray(archive(("bomb.txt", b"0" * 10_000_000)))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.find(signature)
        data[start + place : start + place + 4] = struct.pack("<I", 10)
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(archive(("a.txt", b"image")))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + place] |= 1
    return bytes(data)


class Harm:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise SystemExit('a pickle was loaded')",)


ATTACKS: dict[str, tuple[Callable[[], bytes], int, str, str]] = {
    "zip bomb": (lambda: archive(("bomb.txt", b"0" * 100_000_000)), 413, "too-large", "holds more than 1,000,000"),
    "bomb in parts": (
        lambda: archive(*((f"{k}.txt", b"0\n" * 50_000) for k in range(11))),
        413,
        "too-large",
        "holds more than 1,000,000",
    ),
    "bomb that lies": (lying_about_its_size, 422, "bad-archive", "cannot be read"),
    "zip in zip": (lambda: archive(("in.zip", archive(("a.txt", b"x")))), 422, "bad-archive", "'in.zip': expected"),
    "many files": (
        lambda: archive(*((f"{k}.txt", b"") for k in range(MOST_FILES + 1)), method=zipfile.ZIP_STORED),
        422,
        "bad-archive",
        "holds 5,001 files; expected at most 5,000",
    ),
    "parent folder": (lambda: archive(("../../evil.txt", b"x")), 422, "bad-archive", "'../../evil.txt': expected"),
    "absolute": (lambda: archive(("/etc/cron.d/evil.txt", b"x")), 422, "bad-archive", "'/etc/cron.d/evil.txt'"),
    "drive": (lambda: archive(("C:\\evil.txt", b"x")), 422, "bad-archive", "evil.txt"),
    "zero byte": (lambda: archive(("a\0/../evil.txt", b"x")), 422, "bad-archive", "expected files"),
    "link": (lambda: archive((symlink(), b"/etc/passwd")), 422, "bad-archive", "'link.txt': is no plain file"),
    "hidden": (lambda: archive((".bashrc.txt", b"x")), 422, "bad-archive", "expected files"),
    "long name": (lambda: archive(("x" * 400 + ".txt", b"x")), 422, "bad-archive", "expected files"),
    "twice": (lambda: archive(("a.txt", b"x"), ("A.txt", b"y")), 422, "bad-archive", "'A.txt': is in the zip twice"),
    "lzma": (lambda: archive(("a.txt", b"x"), method=zipfile.ZIP_LZMA), 422, "bad-archive", "other than deflate"),
    "encrypted": (encrypted, 422, "bad-archive", "is encrypted"),
    "cut off": (lambda: archive(("a.txt", b"image\n" * 999))[:-30], 422, "bad-archive", "cannot be read"),
    "empty zip": (lambda: archive(), 422, "bad-archive", "expected the submission file"),
    "weights": (lambda: archive(("archive/data.pkl", pickle.dumps(Harm()))), 422, "bad-archive", "data.pkl"),
    "pickle": (lambda: pickle.dumps(Harm()), 415, "pickle", "a pickle; these are never loaded"),
    "old pickle": (lambda: pickle.dumps(Harm(), protocol=0), 422, "invalid-submission", "header"),
    "gzip": (lambda: gzip.compress(b"0" * 10_000_000), 415, "not-a-submission", "compressed with gzip"),
    "table": (lambda: b"PAR1" + b"\0" * 100 + b"PAR1", 415, "not-a-submission", "a prediction table"),
    "zeros": (lambda: b"\0" * 1000, 422, "invalid-submission", "not a UTF-8 text file"),
    "too large": (lambda: b"0" * (LIMIT + 1), 413, "too-large", "an upload has at most 1,000,000 bytes"),
    "one line": (lambda: b"," * LIMIT, 422, "too-large", f"line 1 has {LONGEST_LINE:,} bytes or more"),
    "many lines": (lambda: b"\n" * LIMIT, 422, "too-large", "more than 1,120 lines"),
    "nothing": (lambda: b"", 422, "invalid-submission", "the file is empty"),
}


def test_uploads_that_mean_harm_are_refused_and_logged(
    client: TestClient, teams: Teams, served: Served, tmp_path: Path
) -> None:
    for number, (name, (make, status, code, message)) in enumerate(ATTACKS.items()):
        answer = client.put(f"{ENTRIES}/{number}", content=make(), auth=teams[0].auth)
        assert (answer.status_code, answer.json()["code"]) == (status, code), f"{name}: {answer.text}"
        assert message in answer.json()["message"] + "\n".join(answer.json()["reasons"]), name
    log = [(one.team, one.subject, one.outcome) for one in happenings(served.engine)]
    assert log == [("ann", f"mtl/{number}", code) for number, (_, _, code, _) in enumerate(ATTACKS.values())]
    assert not list(tmp_path.rglob("*evil*")) + list(tmp_path.rglob("*link*"))
    assert not served.files.exists() or not any(path.is_file() for path in served.files.rglob("*"))


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "upload").write_bytes(archive(("bomb.txt", b"0" * 50_000_000)))
    tracemalloc.start()
    with pytest.raises(Refusal):
        prepare(tmp_path / "upload", most_bytes=LIMIT, most_lines=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000
    assert sum(path.stat().st_size for path in (tmp_path / "unzipped").iterdir()) <= LIMIT


NO_NAMES = ["'; DROP TABLE entries; --", '" OR 1=1', "a\\..\\b", "..", "\u202eevil", "a" * 81, "a\nb"]
FOLDERS = ["../../etc/passwd", "a/../../b", "/etc/passwd"]


def test_names_that_are_none_are_refused(client: TestClient, teams: Teams, served: Served) -> None:
    for name, status, code in (
        *((name, 422, "bad-name") for name in NO_NAMES),
        *((name, 404, "no-such-page") for name in FOLDERS),
    ):
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        answer = client.put(f"{ENTRIES}/{quoted}", content=b"x", auth=teams[0].auth)
        assert (answer.status_code, answer.json()["code"]) == (status, code), name
        assert name not in answer.text
    assert store.entries(served.engine, "mtl") == []
    log = Counter[tuple[str, str]]()
    for one in happenings(served.engine):
        log[one.team, one.outcome] += one.times
    assert log == {("ann", "bad-name"): len(NO_NAMES), ("", "no-such-page"): len(FOLDERS)}


def test_sql_in_a_note_is_text(client: TestClient, teams: Teams, official: Any, served: Served) -> None:
    note = "'); DROP TABLE entries; --"
    made = client.put(f"{ENTRIES}/a", content=official(0), params={"note": note}, auth=teams[0].auth)
    assert made.json()["note"] == note
    assert [one.note for one in store.entries(served.engine, "mtl")] == [note]
    bad = client.put(f"{ENTRIES}/b", content=b"", params={"commit": "HEAD; rm -rf /"}, auth=teams[0].auth)
    assert (bad.status_code, bad.json()["code"]) == (422, "bad-request")


def test_what_a_head_tells_is_refused_before_the_body(client: TestClient, teams: Teams, served: Served) -> None:
    for headers, status in (
        ({"content-encoding": "gzip"}, 415),
        ({"content-type": "multipart/form-data; boundary=x"}, 415),
        ({"content-length": str(LIMIT + 1)}, 413),
    ):
        answer = client.put(f"{ENTRIES}/x", content=b"x", headers=headers, auth=teams[0].auth)
        assert answer.status_code == status, answer.text
    assert not any(one.upload for one in happenings(served.engine))


SAMPLE = archive(("vid.txt", b"valence,arousal\n0,0\n"), ("other.txt", b"valence,arousal\n" + b"0.5,0.5\n" * 30))


@settings(max_examples=60, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_no_damaged_zip_gets_past_the_refusals(changes: list[tuple[int, int]]) -> None:
    data = bytearray(SAMPLE)
    for place, byte in changes:
        data[place] = byte
    with tempfile.TemporaryDirectory() as folder:
        upload = Path(folder) / "upload"
        upload.write_bytes(data)
        with contextlib.suppress(Refusal):
            assert prepare(upload, most_bytes=10_000, most_lines=1_000).is_relative_to(folder)
        assert {path.parent for path in Path(folder).rglob("*")} <= {Path(folder), Path(folder) / "unzipped"}
