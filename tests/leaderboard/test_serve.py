"""The server with two teams: who sees what, what counts, what is logged."""

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from leaderboard import store
from leaderboard.audit import Happening, happenings, start_upload
from leaderboard.schema import Rules
from leaderboard.serve import make_app
from leaderboard.serving import Served
from leaderboard.teams import renew_token
from leaderboard.uploads import Limits

Teams = tuple[Any, Any]
Official = Callable[[int], bytes]
ENTRIES = "/api/tracks/mtl/entries"


@pytest.fixture
def client(served: Served) -> Iterator[TestClient]:
    with TestClient(make_app(served)) as client:
        yield client


def log(served: Served) -> list[tuple[str, str, str, int]]:
    return [(one.team, one.subject, one.outcome, one.times) for one in happenings(served.engine)]


def test_two_teams_submit_and_see_one_board(client: TestClient, teams: Teams, official: Official) -> None:
    ann, ben = teams
    made = client.put(f"{ENTRIES}/MAE, 5 folds", content=official(1), auth=ann.auth, params={"commit": "abcdef1"})
    assert made.status_code == 201, made.text
    assert (made.json()["rank"], made.json()["team"], made.json()["commit"]) == (1, "ann", "abcdef1")
    better = client.put(f"{ENTRIES}/wide", content=official(0), auth=ben.auth).json()
    assert (better["rank"], better["rows"], better["videos"]) == (1, 60, 3)
    boards = [client.get("/api/tracks/mtl/board", auth=team.auth).json() for team in teams]
    assert boards[0] == boards[1]
    assert [(row["name"], row["team"]) for row in boards[0]] == [("wide", "ben"), ("MAE, 5 folds", "ann")]
    assert boards[0][0]["score"] == better["score"] > boards[0][1]["score"]
    page = client.get("/", auth=ann.auth)
    assert page.headers["content-type"].startswith("text/html")
    assert f"{better['score']:.4f}" in page.text
    assert "MAE, 5 folds" in page.text


def test_the_score_is_that_of_the_command_line(
    client: TestClient, teams: Teams, official: Official, served: Served, tmp_path: Any, capsys: Any
) -> None:
    from leaderboard.cli import main

    (tmp_path / "same.txt").write_bytes(official(0))
    truth = str(served.challenges["mtl"].truth)
    assert main(["score", str(tmp_path / "same.txt"), "--track", "mtl", "--truth", truth, "--json"]) == 0
    own = json.loads(capsys.readouterr().out)
    entry = client.put(f"{ENTRIES}/a", content=official(0), auth=teams[0].auth).json()
    assert entry["metrics"] == own["metrics"]
    assert entry["intervals"] == own["intervals"]


def test_nobody_sees_what_is_another_teams(
    client: TestClient, teams: Teams, official: Official, served: Served
) -> None:
    ann, ben = teams
    data = official(0)
    assert client.put(f"{ENTRIES}/mine", content=data, auth=ann.auth, params={"note": "secret"}).status_code == 201
    bad = data.replace(b"other/00001.jpg", b"stranger/00001.jpg")
    assert client.put(f"{ENTRIES}/broken", content=bad, auth=ann.auth).status_code == 422
    assert client.get(f"{ENTRIES}/mine/file", auth=ann.auth).content == data
    assert [one["name"] for one in client.get(ENTRIES, auth=ann.auth).json()] == ["mine", "broken"]
    assert client.get(ENTRIES, auth=ben.auth).json() == []
    for path in ("mine", "mine/file"):
        theirs, none = (client.get(f"{ENTRIES}/{path.replace('mine', name)}", auth=ben.auth) for name in ("mine", "no"))
        assert (theirs.status_code, theirs.content) == (none.status_code, none.content) == (404, none.content)
    taken = client.put(f"{ENTRIES}/mine", content=official(1), auth=ben.auth)
    assert (taken.status_code, taken.json()["code"]) == (409, "name-taken")
    assert client.get(f"{ENTRIES}/mine/file", auth=ann.auth).content == data
    shown = client.get("/api/tracks/mtl/board", auth=ben.auth).text + client.get("/", auth=ben.auth).text
    assert "broken" in shown
    for hidden in ("secret", "stranger", "00001.jpg", str(served.files), hashlib.sha256(data).hexdigest()[:12]):
        assert hidden not in shown


def test_a_wrong_token_tells_nothing(client: TestClient, teams: Teams, served: Served) -> None:
    ann, ben = teams
    unknown = [
        None,
        ("ann", "wrong"),
        ("ann", ""),
        ("nobody", ann.token),
        ("ann", ben.token),
        ("' OR 1=1 --", "x"),
        ("ann\0", ann.token),
        ("x" * 5000, "y"),
    ]
    raw = [f"Basic {text}" for text in ("!", "", *(base64.b64encode(b).decode() for b in (b"no colon", b"\xff:x")))]
    answers = [client.get("/api/tracks", auth=auth) for auth in unknown]  # type: ignore[arg-type]
    answers += [client.get("/api/tracks", headers={"authorization": text}) for text in (*raw, f"Bearer {ann.token}")]
    answers += [client.get(path) for path in ("/", "/api/tracks/none/board", f"{ENTRIES}/;--", f"{ENTRIES}/a/file")]
    answers += [client.put(f"{ENTRIES}/{name}", content=b"x") for name in ("a", "..a", "'")]
    assert {(one.status_code, one.content, str(sorted(one.headers.items()))) for one in answers} == {
        (401, answers[0].content, str(sorted(answers[0].headers.items())))
    }
    assert answers[0].json()["code"] == "wrong-token"
    rows = happenings(served.engine)
    assert sum(one.times for one in rows if one.outcome == "wrong-token") == len(answers)
    said = str([vars(one) for one in rows])
    assert {one.team + one.subject for one in rows} == {""}
    assert not any(token in said for token in (ann.token, ben.token, "wrong:", "nobody"))


def test_a_renewed_token_ends_the_old_one(client: TestClient, teams: Teams, served: Served) -> None:
    ann, ben = teams
    token = renew_token(served.engine, "ann")
    assert client.get("/api/tracks", auth=ann.auth).status_code == 401
    assert client.get("/api/tracks", auth=("ann", token)).status_code == 200
    assert client.get("/api/tracks", auth=ben.auth).status_code == 200


def test_private_scores_stay_on_the_server_until_the_reveal(
    client: TestClient, teams: Teams, official: Official, served: Served
) -> None:
    rules = Rules(track="mtl", private_share=0.5, seed=2, step=0.05)
    store.set_rules(served.engine, rules)
    made = client.put(f"{ENTRIES}/good", content=official(0), auth=teams[0].auth).json()
    worse = client.put(f"{ENTRIES}/bad", content=official(2), auth=teams[0].auth).json()
    assert (worse["withheld"], worse["score"], worse["metrics"], worse["rank"]) == (True, None, {}, None)
    hidden = {one.name: one for one in store.entries(served.engine, "mtl")}
    private = hidden["good"].private_score
    assert private is not None
    assert made["videos_scored"] == "public"
    paths = ("/", "/api/tracks", "/api/tracks/mtl/board", ENTRIES, f"{ENTRIES}/good", f"{ENTRIES}/bad")
    before = "".join(client.get(path, auth=team.auth).text for path in paths for team in teams)
    for secret in (private, hidden["bad"].score, hidden["bad"].private_score):
        assert f"{secret:.4f}" not in before
    store.reveal(served.engine, "mtl")
    best = client.get("/api/tracks/mtl/board", auth=teams[1].auth).json()[0]
    assert (best["score"], best["public_score"], best["videos_scored"]) == (private, made["score"], "private")
    late = client.put(f"{ENTRIES}/late", content=official(1), auth=teams[1].auth)
    assert (late.status_code, late.json()["code"]) == (403, "limited")
    assert "submitted after the reveal" in late.json()["reasons"][0]


def test_an_invalid_submission_is_told_every_reason_and_no_path(
    client: TestClient, teams: Teams, official: Official, served: Served
) -> None:
    lines = official(0).decode().splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[1], "nan")
    text = "\n".join([*lines[:10], *lines[11:], "stranger/00001.jpg,0,0,0" + ",0" * 12])
    answer = client.put(f"{ENTRIES}/x", content=text, auth=teams[0].auth)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-submission")
    reasons = answer.json()["reasons"]
    assert len(reasons) == 3
    assert "upload:4: valence is 'nan'" in answer.text
    assert "is missing; the template:11 asks for it" in answer.text
    assert "upload:61: stranger/00001.jpg is not in the template the template" in answer.text
    again = client.get(f"{ENTRIES}/x", auth=teams[0].auth).json()
    assert (again["status"], again["reasons"], again["rank"]) == ("invalid", reasons, None)
    assert str(served.challenges["mtl"].template.parent) not in answer.text + str(again)
    assert client.get(f"{ENTRIES}/x/file", auth=teams[0].auth).json()["code"] == "no-such-file"
    assert not served.files.exists() or not any(served.files.rglob("*.txt"))


def test_uploads_and_valid_entries_are_limited_by_team(teams: Teams, official: Official, served: Served) -> None:
    ann, ben = teams
    store.set_rules(served.engine, Rules(track="mtl", private_share=0.0, seed=0, most=1))
    with TestClient(make_app(replace(served, limits=Limits(uploads=3)))) as client:
        assert client.put(f"{ENTRIES}/a", content=b"rubbish", auth=ann.auth).status_code == 422
        assert client.put(f"{ENTRIES}/b", content=official(0), auth=ann.auth).status_code == 201
        limited = client.put(f"{ENTRIES}/c", content=official(1), auth=ann.auth)
        assert limited.json()["reasons"] == ["ann has used all 1 submissions of track mtl"]
        assert client.put(f"{ENTRIES}/b", content=official(1), auth=ann.auth).status_code == 409, "not an upload"
        fourth = client.put(f"{ENTRIES}/d", content=official(1), auth=ann.auth)
        assert (fourth.status_code, fourth.json()["code"]) == (429, "too-many-uploads")
        assert 86_000 < int(fourth.headers["retry-after"]) <= 86_400
        assert client.put(f"{ENTRIES}/d", content=official(1), auth=ben.auth).status_code == 201
    assert log(served) == [
        ("ann", "mtl/a", "invalid-submission", 1),
        ("ann", "mtl/b", "done", 1),
        ("ann", "mtl/c", "limited", 1),
        ("ann", "mtl/b", "name-taken", 1),
        ("ann", "mtl/d", "too-many-uploads", 1),
        ("ben", "mtl/d", "done", 1),
    ]
    assert sorted(path.name for path in served.files.rglob("*.txt")) == ["mtl-b.txt", "mtl-d.txt"]


def test_the_uploads_of_a_day_hold_when_all_come_at_once(served: Served) -> None:
    happening = Happening(team="ann", address="", what="PUT")
    with ThreadPoolExecutor(10) as threads:
        found = list(threads.map(lambda _: start_upload(served.engine, happening, most=3), range(10)))
    assert sorted(row for row, _ in found if row is not None) == [1, 2, 3]
    assert all(86_000 < wait <= 86_400 for row, wait in found if row is None)


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def test_a_zip_of_the_file_and_of_a_file_a_video_are_the_same_entry(
    client: TestClient, teams: Teams, served: Served
) -> None:
    text = served.challenges["va"].template.read_text().replace("-5,-5", "0.1234,0.0000")
    rows = text.splitlines()[1:]
    videos: dict[str, str] = {}
    for row in rows:
        video, _, values = row.partition("/")
        videos[f"{video}.txt"] = videos.get(f"{video}.txt", "valence,arousal\n") + values.partition(",")[2] + "\n"
    answers = {
        name: client.put(f"/api/tracks/va/entries/{name}", content=content, auth=teams[0].auth)
        for name, content in {"text": text.encode(), "one": zipped({"va.txt": text}), "many": zipped(videos)}.items()
    }
    assert [one.status_code for one in answers.values()] == [201] * 3, [one.text for one in answers.values()]
    assert len({str(one.json()["metrics"]) for one in answers.values()}) == 1
    files = {client.get(f"/api/tracks/va/entries/{name}/file", auth=teams[0].auth).text for name in answers}
    assert files == {text}
    del videos["vid.txt"]
    lacking = client.put("/api/tracks/va/entries/lacking", content=zipped(videos), auth=teams[0].auth)
    assert lacking.json()["reasons"] == [
        "upload: video vid is missing whole: 58 rows, asked for from the template:60 on"
    ]


def test_the_truth_has_no_way_out(client: TestClient, teams: Teams, served: Served, official: Official) -> None:
    truth = served.challenges["mtl"].truth
    assert client.put(f"{ENTRIES}/a", content=official(0), auth=teams[0].auth).status_code == 201
    paths = [path for path, methods in client.get("/openapi.json").json()["paths"].items() if "get" in methods]
    assert len(paths) == 6
    labels = {line.partition(",")[2] for line in truth.read_text().splitlines()[1:]}
    secret = {values for values in labels if "1.0000" not in values}  # clipped values are easily guessed
    assert len(secret) > 10
    for path in paths:
        answer = client.get(path.format(track="mtl", name="a"), auth=teams[0].auth)
        assert answer.status_code == 200
        assert truth.name not in answer.text
        assert [values for values in secret if values in answer.text] == []


def test_answers_are_not_kept_and_load_nothing(client: TestClient, teams: Teams, served: Served) -> None:
    headers: httpx.Headers = client.get("/", auth=teams[0].auth).headers
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert client.get("/nowhere").json()["code"] == "no-such-page"
    assert client.get("/openapi.json").status_code == 200
    assert happenings(served.engine)[-1].what == "GET /openapi.json"
    assert client.post(f"{ENTRIES}/a", content=b"", auth=teams[0].auth).json()["code"] == "no-such-method"
