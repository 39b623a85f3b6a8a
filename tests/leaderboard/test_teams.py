"""Teams on the command line, what `leaderboard serve` refuses before it starts, and folders that are submitted."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from abaw.tracks import TRACKS
from leaderboard.cli import main
from leaderboard.serving import Served
from leaderboard.store import open_store
from leaderboard.submissions import read_submission
from leaderboard.teams import is_token_of

Capture = pytest.CaptureFixture[str]


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def test_a_token_is_shown_once_and_kept_nowhere(store_url: str, capsys: Capture) -> None:
    store = ("--store", store_url)
    assert run("team", "add", "team-a", *store) == 0
    told = capsys.readouterr()
    token = told.out.strip()
    assert len(token) == 43
    assert told.err == "this is the only time that the token of team-a is shown\n"
    assert run("team", "add", "team-a", *store) == 1
    assert "there is a team of this name; `leaderboard team renew`" in capsys.readouterr().err
    engine = open_store(store_url, create=False)
    assert is_token_of(engine, "team-a", token)
    assert not is_token_of(engine, "team-b", token)
    assert run("team", "renew", "team-a", *store, "--json") == 0
    renewed = json.loads(capsys.readouterr().out)["token"]
    assert [is_token_of(engine, "team-a", one) for one in (token, renewed)] == [False, True]
    assert run("team", "list", *store) == 0
    assert capsys.readouterr().out == "team-a\n"
    assert run("team", "log", *store) == 0
    log = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[3] for line in log] == ["leaderboard team add", "leaderboard team renew"]
    with engine.connect() as connection:
        held = str([connection.execute(table.select()).all() for table in _tables(engine)]) + str(log)
    assert "team-a" in held
    assert token not in held
    assert renewed not in held


def _tables(engine: sqlalchemy.Engine) -> list[sqlalchemy.Table]:
    metadata = sqlalchemy.MetaData()
    metadata.reflect(engine)
    return list(metadata.tables.values())


@pytest.mark.parametrize("name", ["", "..", "a/b", "a:b", "a b", "x" * 41, "' OR 1=1 --"])
def test_names_of_teams_are_plain(tmp_path: Path, name: str, capsys: Capture) -> None:
    assert run("team", "add", name, "--store", f"sqlite:///{tmp_path}/b.sqlite") == 1
    assert "names no team" in (said := capsys.readouterr().err) or "is no name of a team" in said


def test_what_is_of_all_teams_takes_no_name(tmp_path: Path, capsys: Capture) -> None:
    store = ("--store", f"sqlite:///{tmp_path}/b.sqlite")
    open_store(store[1], create=True)
    for action in ("list", "log"):
        assert run("team", action, "team-a", *store) == 1
        assert capsys.readouterr().err == f"leaderboard team {action}: is of all teams; leave out team-a\n"
    assert run("team", "list", *store) == 0
    assert capsys.readouterr() == ("", f"no team in {store[1]}\n")


def test_a_team_that_is_not_there_gets_no_token(tmp_path: Path, capsys: Capture) -> None:
    open_store(f"sqlite:///{tmp_path}/b.sqlite", create=True)
    assert run("team", "renew", "nobody", "--store", f"sqlite:///{tmp_path}/b.sqlite") == 1
    assert "there is no team of this name; `leaderboard team list` names them" in capsys.readouterr().err


def test_serve_refuses_what_would_tell_the_truth(served: Served, tmp_path: Path, capsys: Capture) -> None:
    challenge = served.challenges["mtl"]
    short = tmp_path / "short.txt"
    short.write_text("".join(challenge.template.read_text().splitlines(keepends=True)[:20]))
    store = ("--store", f"sqlite:///{tmp_path}/new.sqlite")
    assert run("serve", "--challenge", "mtl", short, challenge.truth, *store) == 1
    said = capsys.readouterr().err
    assert "has labels of 4" in said
    assert f"frames that {short} does not ask for; name the template of these videos" in said
    twice = ("--challenge", "mtl", challenge.template, challenge.truth) * 2
    assert run("serve", *twice, *store) == 1
    assert "mtl: is given more than once; name each track once" in capsys.readouterr().err
    assert run("serve", "--challenge", "nope", short, challenge.truth, *store) == 1
    assert "--challenge: nope: no such track; expected one of" in capsys.readouterr().err
    assert not (tmp_path / "new.sqlite").exists()


def test_without_its_extra_serve_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.delitem(sys.modules, "leaderboard.serve", raising=False)
    assert run("serve", "--challenge", "mtl", "a", "b") == 1
    assert "the server needs the extra: pip install 'abaw-platform[serve]'" in capsys.readouterr().err


def test_a_folder_is_submitted_as_the_file_that_it_makes(served: Served, tmp_path: Path, capsys: Capture) -> None:
    va = served.challenges["va"]
    text = va.template.read_text().replace("-5,-5", "0.1234,0.0000")
    (tmp_path / "va-file.txt").write_text(text)
    folder = tmp_path / "folder"
    folder.mkdir()
    for row in text.splitlines()[1:]:
        path = folder / f"{row.partition('/')[0]}.txt"
        if not path.exists():
            path.write_text("valence,arousal\n")
        path.write_text(path.read_text() + row.partition(",")[2] + "\n")
    common = ["--track", "va", "--template", va.template, "--truth", va.truth, "--store", served.url, "--json"]
    assert run("submit", tmp_path / "va-file.txt", *common, "--name", "file") == 0
    assert run("submit", folder, *common, "--name", "folder", "--out", tmp_path / "out") == 0
    made: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert made[0]["metrics"] == made[1]["metrics"]
    assert made[0]["sha256"] == made[1]["sha256"]
    assert Path(made[1]["file"]).read_text() == text


@pytest.mark.parametrize("tail", ["x", "..", "e", "-"])
def test_a_long_field_that_is_no_number_is_refused_at_once(tmp_path: Path, tail: str) -> None:
    path = tmp_path / "va.txt"
    field = "1" * 4_000 + tail
    path.write_text("image_location,valence,arousal\n" + "".join(f"v/{k:05d}.jpg,{field},0\n" for k in range(1, 101)))
    start = time.process_time()
    _, reasons = read_submission(path, TRACKS["va"])
    assert time.process_time() - start < 1.0, "with digits that can be matched in two ways it takes minutes"
    assert reasons.totals == {"not a number": 100}
