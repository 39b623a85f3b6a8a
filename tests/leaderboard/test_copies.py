"""Copies of earlier entries are told when they are submitted, other entries are not; and a board of many is cut."""

import json
import zipfile
from pathlib import Path

import pytest

from leaderboard.cli import main

Capture = pytest.CaptureFixture[str]


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def common(tmp_path: Path, template: Path, truth_list: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str | Path, ...]:
    monkeypatch.chdir(tmp_path)
    return ("--track", "mtl", "--template", template, "--truth", truth_list)


def test_the_same_file_and_nearly_the_same_are_told(
    tmp_path: Path, table_files: list[Path], common: tuple[str | Path, ...], capsys: Capture
) -> None:
    assert run("submit", table_files[0], *common, "--name", "first") == 0
    assert run("submit", table_files[1], *common, "--name", "other") == 0
    assert "copy" not in capsys.readouterr().err
    official = Path("submissions/mtl-first.txt")
    again = tmp_path / "again.txt"
    again.write_bytes(official.read_bytes())
    assert run("submit", again, *common, "--name", "again") == 0
    assert capsys.readouterr().err.count(f"{again}: its file is that of the entry 'first': is it a copy?") == 1
    lines = official.read_text().splitlines(keepends=True)
    spelled = tmp_path / "spelled.txt"
    spelled.write_text("".join([lines[0], lines[1].replace("\n", ",\n"), *lines[2:]]))
    assert run("submit", spelled, *common, "--name", "spelled") == 0
    told = "100% of its 3 videos have exactly the counts of the entry 'first': is it a copy?"
    assert told in capsys.readouterr().err


def test_validate_knows_the_files_of_the_store_and_submit_warns_of_drift(
    tmp_path: Path, table_files: list[Path], common: tuple[str | Path, ...], capsys: Capture
) -> None:
    template = ("--track", "mtl", "--template", common[3])
    assert run("submit", table_files[0], *common, "--name", "first") == 0
    official = Path("submissions/mtl-first.txt")
    capsys.readouterr()
    copy = f"warning: {official}: its file is that of the entry 'first': is it a copy?\n"
    for store in ((), ("--store", f"sqlite:///{tmp_path}/leaderboard.sqlite")):
        assert run("validate", official, *template, *store) == 0
        assert capsys.readouterr().err == copy
    assert run("validate", official, *template, "--store", "sqlite:///nowhere.sqlite") == 1
    assert "nowhere.sqlite: no such leaderboard" in capsys.readouterr().err
    # Far from training: the first action unit is always active, and happiness is all that is seen.
    header, *rows = official.read_text().splitlines()
    cells = [line.split(",") for line in rows]
    drifted = tmp_path / "drifted.txt"
    lines = [",".join([*one[:3], "4", "1", *one[5:]]) for one in cells]
    drifted.write_text("\n".join([header, *lines]) + "\n")
    training = ("--training", common[5])
    assert run("validate", drifted, *template, *training) == 0
    told = capsys.readouterr().err.splitlines()
    assert f"warning: {drifted}: Happiness is in 100.0% of the rows, and in " in "".join(told)
    assert f"warning: {drifted}: AU1 is in 100.0% of the rows, and in " in "".join(told)
    assert run("submit", drifted, *common, *training, "--name", "drifted", "--json") == 0
    output = capsys.readouterr()
    assert [line for line in output.err.splitlines() if "warning" in line] == told
    assert [f"warning: {drifted}: {line}" for line in json.loads(output.out)["warnings"]] == told
    assert run("submit", table_files[1], *common, "--training", tmp_path / "no.txt", "--name", "unread") == 1
    assert "no.txt: no such file or folder" in capsys.readouterr().err
    assert not Path("submissions/mtl-unread.txt").exists()


def test_a_zip_of_the_file_is_the_same_submission(
    tmp_path: Path, table_files: list[Path], template: Path, common: tuple[str | Path, ...], capsys: Capture
) -> None:
    packed = tmp_path / "mtl.zip"
    assert run("export", table_files[0], "--track", "mtl", "--template", template, "--out", packed) == 0
    assert run("validate", packed, "--track", "mtl", "--template", template) == 0
    assert run("submit", packed, *common, "--name", "zipped", "--json") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    with zipfile.ZipFile(packed) as archive:
        assert Path(found["file"]).read_bytes() == archive.read("mtl.txt")
    assert found["file"] == "submissions/mtl-zipped.txt"
    assert run("submit", table_files[0], *common, "--name", "table", "--json") == 0
    output = capsys.readouterr()
    assert json.loads(output.out)["score"] == found["score"]
    assert "its file is that of the entry 'zipped'" in output.err


def test_show_prints_the_first_and_says_how_many_more(
    tmp_path: Path, table_files: list[Path], common: tuple[str | Path, ...], capsys: Capture
) -> None:
    for name, table in zip("cba", reversed(table_files), strict=True):
        assert run("submit", table, *common, "--name", name) == 0
    for name in "xy":
        (tmp_path / f"{name}.txt").write_text("image,valence,arousal,expression,aus\n")
        assert run("submit", tmp_path / f"{name}.txt", *common, "--name", name) == 1
    capsys.readouterr()
    assert run("show", "--top", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("│")[2].strip() for line in lines if line.startswith("│ 1")] == ["a", "a"]
    assert [line for line in lines if line.startswith(("│ 2", "│ 3"))] == []
    assert [line for line in lines if "invalid" in line] == ["mtl, invalid, not ranked: x"]
    assert lines[-1] == "mtl: 3 more entries; --top 5 shows all"
    assert run("show", "--json", "--top", "2") == 0
    (board,) = json.loads(capsys.readouterr().out)
    assert [(one["rank"], one["name"]) for one in board["entries"]] == [(1, "a"), (2, "b"), (None, "x"), (None, "y")]
    assert run("show") == 0
    assert "more entries" not in capsys.readouterr().out
