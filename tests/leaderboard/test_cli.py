"""The command line: exact output, exit codes, and where each line goes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from abaw.tracks import TRACKS
from leaderboard.cli import main

Capture = pytest.CaptureFixture[str]


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is empty but for the test's own files."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def va_file(path: Path, rows: str) -> Path:
    path.write_text("image_location,valence,arousal\n" + rows)
    return path


def test_score_prints_exactly_this_json(here: Path, capsys: Capture) -> None:
    truth = va_file(here / "truth.txt", "v/00001.jpg,0,0.25\nv/00002.jpg,0.5,-0.25\nw/00001.jpg,-5,0\n")
    path = va_file(here / "s.txt", "v/00001.jpg,0,0.25\nv/00002.jpg,0.5,-0.25\nw/00001.jpg,1,1\n")
    assert run("score", path, "--track", "va", "--truth", truth, "--json") == 0
    output = capsys.readouterr()
    assert output.out == (
        '{"track": "va", "score": 1.0, "metrics": {"CCC_valence": 1.0, "CCC_arousal": 1.0, "S_VA": 1.0}, '
        '"frames": 2, "videos": 1, "ignored": 1, "beyond": 0, "filled": null, "coverage": null, '
        '"labelled": {"va": 2}, "intervals": {}, "folds": {}, '
        '"per_video": [{"video": "v", "fold": null, "frames": 2, '
        '"metrics": {"CCC_valence": 1.0, "CCC_arousal": 1.0, "S_VA": 1.0}}], "tuning": null}\n'
    )
    assert output.err == f"{path}: 1 predictions are for frames without truth; they do not count\n"


def test_score_prints_a_table_for_people(table_files: list[Path], capsys: Capture) -> None:
    assert run("score", table_files[0], "--track", "mtl") == 0
    out = capsys.readouterr().out
    assert out.startswith("Multi-task learning: P_MTL ")
    assert "over 45 frames in 3 videos" in out.splitlines()[0]
    for metric in ("CCC_valence", "F1_Other", "F1_AU26", "S_AU", "P_MTL"):
        assert metric in out
    assert run("score", table_files[0], "--track", "mtl", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    low, high = result["intervals"]["P_MTL"]
    assert low <= result["score"] <= high
    assert f"P_MTL {result['score']:.4f} [{low:.4f}, {high:.4f}] over" in out
    assert out.splitlines()[-1] == f"fold 0: P_MTL {result['score']:.4f}", "all frames of this table are of fold 0"
    assert run("score", table_files[0], "--track", "mtl", "--videos") == 0
    videos = capsys.readouterr().out.removeprefix(out).splitlines()
    assert [line.split("│")[1].strip() for line in videos if line.startswith("│")] == ["other", "vid", "vid_left"]


def test_names_of_videos_are_printed_as_they_are(here: Path, capsys: Capture) -> None:
    names = [":smile:", "[b]v"]
    rows = "".join(f"{name}/00001.jpg,0,0.25\n{name}/00002.jpg,0.5,-0.25\n" for name in names)
    truth = va_file(here / "truth.txt", rows)
    assert run("score", truth, "--track", "va", "--truth", truth, "--videos") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("│")[1].strip() for line in lines if line.startswith("│")][-2:] == names


def test_validate_says_ok_or_every_reason(here: Path, capsys: Capture) -> None:
    template = va_file(here / "t.txt", "v/00001.jpg,\nv/00002.jpg,\n")
    good = va_file(here / "good.txt", "v/00001.jpg,0,0\nv/00002.jpg,0,0\n")
    assert run("validate", good, "--track", "va", "--template", template) == 0
    assert capsys.readouterr().out == "ok: 2 rows in 1 videos\n"
    bad = va_file(here / "bad.txt", "v/00001.jpg,0,3\nw/00002.jpg,0,0\n")
    assert run("validate", bad, "--track", "va", "--template", template) == 1
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        f"{bad}: v/00002.jpg is missing; {template}:3 asks for it",
        f"{bad}:2: arousal is 3; expected a number in [-1, 1]",
        f"{bad}:3: w/00002.jpg is not in the template {template}; remove it",
    ]
    assert output.err == "refused: 1 out of range, 1 missing row, 1 extra row\n"


def test_submit_and_show(
    here: Path, template: Path, truth_list: Path, table_files: list[Path], capsys: Capture
) -> None:
    common = ("--track", "mtl", "--template", template, "--truth", truth_list)
    assert run("submit", table_files[1], *common, "--name", "one [v2]", "--author", "me", "--baseline") == 0
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        "15 of 60 rows (25.0%) had no prediction: filled from their neighbours",
        "submissions/mtl-one-v2.txt: 1 predictions are for frames without truth; they do not count",
    ]
    first, *files = output.out.splitlines()
    assert first.startswith("one [v2]: P_MTL ")
    assert first.endswith(", rank 1 of 1, the best")
    assert files == ["file: submissions/mtl-one-v2.txt", "manifest: submissions/mtl-one-v2.txt.manifest.json"]
    assert run("submit", table_files[0], *common, "--name", "two", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rank"], result["ranked"], result["status"], result["filled"]) == (1, 2, "valid", 15)
    assert run("show", "--track", "mtl") == 0
    out = capsys.readouterr().out
    assert out.startswith("Multi-task learning (mtl), ranked by P_MTL\n")
    table = [line.replace("┃", "│").split("│")[1:-1] for line in out.splitlines() if line[0] in "┃│"]
    heading, *rows = [[cell.strip() for cell in line] for line in table[:3]]
    assert heading == ["#", "entry", "VA", "EXPR", "AU", "MTL", "95 %", "frames"]
    more = [[cell.strip() for cell in line] for line in table[3:]]
    assert [(row[0], row[-1]) for row in more] == [("#", "filled"), ("1", "25.0%"), ("2", "25.0%")]
    low, high = result["intervals"]["P_MTL"]
    assert rows[0][6] == f"{low:.2f}–{high:.2f}"
    metrics = result["metrics"]
    assert rows[0][:6] == ["1", "two", *(f"{metrics[key]:.4f}" for key in ("S_VA", "S_EXPR", "S_AU", "P_MTL"))]
    assert rows[1][:2] == ["2", "one [v2] (baseline)"]
    assert run("show", "--json") == 0
    (board,) = json.loads(capsys.readouterr().out)
    assert board["track"] == "mtl"
    assert [(entry["rank"], entry["name"]) for entry in board["entries"]] == [(1, "two"), (2, "one [v2]")]


def test_submit_of_an_invalid_file_exits_1_and_show_sets_it_apart(
    here: Path, template: Path, truth_list: Path, capsys: Capture
) -> None:
    bad = here / "bad.txt"
    rows = [f"{video}/00001.jpg,0,0,0{',0' * 12}\n" for video in ("vid", "vid_left", "other")]
    bad.write_text("image,valence,arousal,expression,aus\n" + "".join(rows))
    common = ("--track", "mtl", "--template", template, "--truth", truth_list)
    assert run("submit", bad, *common, "--name", "bad") == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 58
    assert output.err.endswith("stored as invalid, not ranked: bad\n")
    assert run("show") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mtl, invalid, not ranked: bad"
    assert lines[1] == f"  {bad}: vid/00004.jpg is missing; {template}:3 asks for it"
    assert lines[-1] == "  and 37 more reasons; --json shows them"


def test_ensemble_writes_once(here: Path, table_files: list[Path], capsys: Capture) -> None:
    arguments = ("ensemble", *table_files, "--track", "mtl", "--out", here / "e.parquet")
    assert run(*arguments) == 0
    assert capsys.readouterr().out.startswith(f"{here}/e.parquet: 45 rows, the mean of 3 tables\nP_MTL ")
    assert run(*arguments) == 1
    assert "exists already; name another --out, or replace it with --overwrite" in capsys.readouterr().err
    assert run(*arguments, "--overwrite") == 0
    twice = ("ensemble", table_files[0], table_files[0], "--track", "mtl", "--out", here / "f.parquet")
    assert run(*twice) == 1
    assert "is given more than once; name each table once" in capsys.readouterr().err
    own = ("ensemble", *table_files, "--track", "mtl", "--out", table_files[1], "--overwrite")
    assert run(*own) == 1
    assert "run1.parquet: is one of the files that it is made of; name another" in capsys.readouterr().err
    kept = table_files[1].read_bytes()
    recipe = ("--out", here / "g.parquet", "--overwrite", "--recipe")
    assert run("ensemble", *table_files, "--track", "mtl", *recipe, here / "x" / ".." / table_files[1].name) == 1
    assert "run1.parquet: is one of the files that it is made of; name another" in capsys.readouterr().err
    assert table_files[1].read_bytes() == kept
    assert run("ensemble", *table_files, "--track", "mtl", *recipe, here / "g.parquet") == 1
    assert "g.parquet: is given more than once; name each output once" in capsys.readouterr().err
    assert run("ensemble", *table_files, "--track", "mtl", "--out", here / "e.txt") == 1
    assert "e.txt: is to be a prediction table; name it e.parquet" in capsys.readouterr().err


def test_refusals_go_to_stderr_with_exit_1(
    here: Path, template: Path, table_files: list[Path], capsys: Capture
) -> None:
    for arguments, message in (
        (("score", here / "no.txt", "--track", "va", "--truth", here), "no.txt: No such file or directory"),
        (("score", table_files[0], "--track", "cexpr"), "lacks the columns Fearfully_Surprised"),
        (("show",), "leaderboard.sqlite: no such leaderboard"),
        (("show", "--store", "board.sqlite"), "no database URL"),
        (("ensemble", here / "no.parquet", "--track", "va", "--out", here / "e.parquet"), "no such prediction table"),
        (("compare", "a", "b", "a", "--track", "va"), "a: is given more than once; name each entry once"),
        (("report", "--out", here), f"{here}: is a folder; name the file, such as {here / 'board.html'}"),
        (("show", "--store", "postgres://host/x"), "or postgresql+psycopg://USER@HOST/DATABASE"),
        (("validate", table_files[0], "--track", "va", "--template", here), f"{here}: Is a directory; expected the"),
        (("validate", here, "--track", "va", "--template", table_files[0]), "run0.parquet: not a UTF-8 text file; exp"),
        (
            ("export", table_files[0], "--track", "mtl", "--template", template, "--out", table_files[0] / "x.txt"),
            f"leaderboard export: {table_files[0]}: ",
        ),
    ):
        assert run(*arguments) == 1
        output = capsys.readouterr()
        assert message in output.err
        assert output.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["rank"], "'score', 'validate', 'submit', 'show', 'ensemble'"),
        (["score", "s.txt", "--track", "valence"], ", ".join(repr(name) for name in TRACKS)),
        (["score", "s.txt"], "--track"),
        (["validate", "s.txt", "--track", "va"], "--template"),
        (["submit", "s.txt", "--track", "va", "--template", "t", "--name", " "], "is no name"),
    ],
)
def test_usage_errors_exit_2_and_list_the_choices(arguments: list[str], message: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_has_examples_and_common_errors(capsys: Capture) -> None:
    for arguments, texts in (
        (["--help"], ("examples:", "common errors:", "exit codes:")),
        (["submit", "-h"], ("examples:",)),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        out = capsys.readouterr().out
        assert all(text in out for text in texts)


def test_exit_codes_reach_the_shell(here: Path) -> None:
    path = va_file(here / "s.txt", "v/00001.jpg,0,0\n")
    codes = [
        subprocess.run([sys.executable, "-m", "leaderboard", *arguments], capture_output=True, check=False).returncode
        for arguments in (
            ["validate", path, "--track", "va", "--template", path],
            ["score", path, "--track", "va"],
            ["score", path, "--track", "vb"],
        )
    ]
    assert codes == [0, 1, 2]


def loaded_after(code: str, modules: set[str]) -> str:
    """Those of the modules that a fresh interpreter has loaded after the code."""
    probe = f"import sys; {code}; print(sorted({modules!r} & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.strip()


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "ray", "optuna", "polars", "sqlalchemy", "pyarrow", "scipy", "pandas", "rich"}
    assert loaded_after("import leaderboard.cli; leaderboard.cli._parser()", heavy) == "[]"


def test_no_command_imports_torch_ray_or_optuna() -> None:
    code = "import leaderboard.commands, leaderboard.entries, leaderboard.constant"
    assert loaded_after(code, {"torch", "ray", "optuna"}) == "[]"
