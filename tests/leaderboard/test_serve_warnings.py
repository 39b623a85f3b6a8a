"""What the server warns of: as much as `leaderboard submit` does, and nothing of another team."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from leaderboard import store
from leaderboard.cli import main
from leaderboard.publishing import JOURNAL
from leaderboard.schema import Rules
from leaderboard.serve import make_app
from leaderboard.serving import OF_OTHERS, Served, tidy
from leaderboard.split import is_private

Teams = tuple[Any, Any]
Official = Callable[[int], bytes]
Put = Callable[..., list[str]]
ENTRIES = "/api/tracks/mtl/entries"


@pytest.fixture
def put(served: Served) -> Put:
    """Submit and return the warnings of the answer."""
    client = TestClient(make_app(served))

    def submit(team: Any, name: str, content: bytes) -> list[str]:
        answer = client.put(f"{ENTRIES}/{name}", content=content, auth=team.auth)
        assert answer.status_code == 201, answer.text
        found: list[str] = answer.json()["warnings"]
        assert "warnings" not in client.get(f"{ENTRIES}/{name}", auth=team.auth).json(), "they are told once"
        return found

    return submit


def changed(data: bytes, video: str) -> bytes:
    """The file with other valences in one video."""
    rows = [line.split(b",") for line in data.splitlines()]
    for row in rows:
        if row[0].startswith(f"{video}/".encode()):
            row[1] = b"0.9000" if row[1].startswith(b"-") else b"-0.9000"
    return b"\n".join(b",".join(row) for row in rows) + b"\n"


def test_a_copy_is_told_and_another_team_is_not_named(
    put: Put, teams: Teams, official: Official, caplog: pytest.LogCaptureFixture
) -> None:
    ann, ben = teams
    data = official(0)
    nearly = data.replace(b"vid/00004.jpg,", b"vid/00004.jpg, ")
    with caplog.at_level(logging.WARNING, "leaderboard.serve"):
        assert put(ann, "mine", data) == []
        assert put(ann, "again", data) == ["its file is that of the entry 'mine': is it a copy?"]
        assert put(ben, "different", official(2)) == []
        for name, content in (("same", data), ("near", nearly)):
            first, *own = put(ben, name, content)[::-1]
            assert first == OF_OTHERS, "once, however many there are"
            assert "mine" not in str(own)
            assert "ann" not in str(own)
    log = caplog.text
    assert "mtl/same of team ben: its file is that of the entry 'mine': is it a copy?" in log
    assert "mtl/near of team ben: 100% of its 3 videos have exactly the counts of the entry 'again'" in log


def test_drift_from_the_training_labels_is_told(served: Served, teams: Teams, official: Official) -> None:
    mtl = served.challenges["mtl"]
    client = TestClient(make_app(replace(served, challenges={"mtl": replace(mtl, training=mtl.truth)})))
    header, *rows = official(0).splitlines()
    happy = [b",".join([*row.split(b",")[:3], b"4", *row.split(b",")[4:]]) for row in rows]
    data = b"\n".join([header, *happy]) + b"\n"
    told = client.put(f"{ENTRIES}/happy", content=data, auth=teams[0].auth).json()["warnings"]
    assert [line for line in told if line.startswith("Happiness is in 100.0% of the rows, and in ")]


def test_a_video_that_never_changes_is_told(
    put: Put, teams: Teams, official: Official, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leaderboard.drift.LONG", 20)  # the videos of these tests have twenty rows
    rows = [line.split(b",") for line in official(0).splitlines()]
    still = [[*row[:1], b"0.5000", b"0.2500", *row[3:]] if row[0].startswith(b"other/") else row for row in rows]
    data = b"\n".join(map(b",".join, still)) + b"\n"
    assert put(teams[0], "still", data) == ["1 of 3 videos state the same va in every row: other"]
    assert put(teams[0], "moves", official(1)) == []


def test_a_copy_is_told_by_the_public_videos_alone(put: Put, teams: Teams, official: Official, served: Served) -> None:
    store.set_rules(served.engine, Rules(track="mtl", private_share=0.5, seed=2))
    videos = {video: is_private(video, share=0.5, seed=2) for video in ("vid", "vid_left", "other")}
    public = [video for video, private in videos.items() if not private]
    assert 0 < len(public) < 3
    data = official(0)
    assert put(teams[0], "first", data) == []
    hidden = data
    for video in set(videos) - set(public):
        hidden = changed(hidden, video)
    same = f"100% of its {len(public)} videos have exactly the counts of the entry 'first': is it a copy?"
    assert put(teams[0], "hidden", hidden) == [same], "what differs in private videos alone is not told"
    for video in public:
        data = changed(data, video)
    assert put(teams[0], "shown", data) == []


def test_the_schema_has_the_warnings(served: Served) -> None:
    schema = make_app(served).openapi()
    answer = schema["paths"]["/api/tracks/{track}/entries/{name}"]["put"]["responses"]["201"]["content"]
    assert answer["application/json"]["schema"] == {"$ref": "#/components/schemas/NewEntry"}
    entry = schema["components"]["schemas"]["NewEntry"]
    assert entry["properties"]["warnings"] == {"items": {"type": "string"}, "type": "array", "title": "Warnings"}
    assert "warnings" in entry["required"]


def test_training_labels_are_for_a_track_that_is_served(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    truth = str(served.challenges["mtl"].truth)
    assert main(["serve", "--challenge", "mtl", truth, truth, "--training", "va", truth]) == 1
    assert capsys.readouterr().err == "--training: va: no track that --challenge names\n"


def test_a_server_starts_without_what_a_killed_one_left(
    put: Put, teams: Teams, official: Official, served: Served
) -> None:
    put(teams[0], "mine", official(0))
    (kept,) = served.files.rglob("*.txt")
    upload, lost = served.files / ".upload-x" / "unzipped" / "v.txt", served.files / "ann" / "0123" / "mtl-lost.txt"
    for path in (upload, lost):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    url = served.engine.url
    name = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    plan = {"track": "mtl", "name": "lost", "created_at": "2026-01-01T00:00:00", "token": "t", "store": name}
    lost.with_name(f"t{JOURNAL}").write_text(json.dumps(plan | {"files": {lost.name: False}}))
    tidy(served)
    assert [path for path in served.files.rglob("*") if path.is_file() and path.suffix == ".txt"] == [kept]
    assert sorted(path.name for path in served.files.iterdir()) == ["ann"]
    assert [path.name for path in (served.files / "ann").iterdir()] == [kept.parent.name]
