"""`compare`, `rules` and `reveal` on the command line: what they print, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from leaderboard.cli import main

Capture = pytest.CaptureFixture[str]


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def submit(
    tmp_path: Path, template: Path, truth_list: Path, table_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ("--track", "mtl", "--template", template, "--truth", truth_list)
    for name, table in zip("abc", table_files, strict=True):
        assert run("submit", table, *common, "--name", name) == 0


def test_entries_are_compared_by_name(submit: None, capsys: Capture) -> None:
    capsys.readouterr()
    assert run("compare", "a", "c", "--track", "mtl") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("a against c: P_MTL ")
    assert lines[1].startswith("difference +")
    assert lines[-4].startswith("videos that made it")
    assert sorted(line.split()[1] for line in lines[-3:-1]) == ["other", "vid"], "vid_left is of the video vid"
    assert lines[-1].startswith("the board ranks 3 entries")


def test_comparisons_of_a_board_come_with_a_caution(submit: None, capsys: Capture) -> None:
    capsys.readouterr()
    assert run("compare", "a", "b", "--track", "mtl", "--json") == 0
    pair = json.loads(capsys.readouterr().out)
    assert "the board ranks 3 entries: if this pair was picked from its 3 pairs" in pair["caution"]
    assert run("compare", "a", "b", "c", "--track", "mtl", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["second"] for one in found["comparisons"]] == ["b", "c"]
    assert found["comparisons"][0]["score"] == pair["comparisons"][0]["score"]
    assert all(one["adjusted_p"] >= one["p"] for one in found["comparisons"])
    assert found["caution"].startswith("2 comparisons")


def test_a_table_is_compared_by_its_own_labels(table_files: list[Path], capsys: Capture) -> None:
    assert run("compare", table_files[0], table_files[1], "--track", "mtl", "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["caution"] == ""
    assert plain["comparisons"][0]["score"]["difference"] > 0


def test_folders_of_one_file_a_video_are_compared(tmp_path: Path, capsys: Capture) -> None:
    for name, value in (("good", 0.5), ("bad", -0.5), ("Validation_Set", 0.5)):
        (tmp_path / name).mkdir()
        for video in "vw":
            lines = [f"{frame / 10 * value:.4f},{frame / 20 * value:.4f}" for frame in range(9)]
            (tmp_path / name / f"{video}.txt").write_text("\n".join(["valence,arousal", *lines]) + "\n")
    given = (tmp_path / "good", tmp_path / "bad", "--track", "va", "--truth", tmp_path / "Validation_Set")
    assert run("compare", *given, "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["comparisons"]
    assert found["score"]["first"] == pytest.approx(1)
    assert found["score"]["second"] < 0


def test_a_side_that_was_tuned_is_told_with_the_score_that_was_compared(
    submit: None, tmp_path: Path, template: Path, truth_list: Path, table_files: list[Path], capsys: Capture
) -> None:
    """A greedy ensemble scored on the frames of its choice, and a smoothed table scored on frames of no choice."""
    chosen, smoothed = tmp_path / "chosen.parquet", tmp_path / "search" / "val.parquet"
    assert run("ensemble", *table_files, "--track", "mtl", "--method", "greedy", "--out", chosen) == 0
    scores = json.loads(Path(f"{chosen}.recipe.json").read_text())["scores"]
    smoothed.parent.mkdir()
    smoothed.write_bytes(table_files[1].read_bytes())
    three = {"untuned": 0.4, "in_sample": 0.6, "cross_fitted": 0.5}
    (smoothed.parent / "smoothing.json").write_text(json.dumps(three))
    capsys.readouterr()
    assert run("compare", chosen, smoothed, table_files[2], "--track", "mtl", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["comparisons"]
    ways = {"untuned": scores["mean"], "in_sample": scores["inner"], "cross_fitted": scores["outer"]}
    tuned = {"name": str(chosen), "compared": "in-sample", "scores": ways}
    assert first["tuned"] == [tuned, {"name": str(smoothed), "compared": "as submitted", "scores": three}]
    assert second["tuned"] == [tuned]
    common = ("--track", "mtl", "--template", template, "--truth", truth_list)
    assert run("submit", smoothed, *common, "--name", "smoothed") == 0
    capsys.readouterr()
    assert run("compare", "a", "smoothed", "--track", "mtl") == 0
    assert capsys.readouterr().out.splitlines()[2] == (
        "smoothed was tuned on labels (untuned 0.4000, in-sample 0.6000, cross-fitted 0.5000); "
        "compared is its score as submitted, which is too good if it was tuned on these videos"
    )
    assert run("compare", "a", "b", "--track", "mtl", "--json") == 0
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["tuned"] == []


def test_what_is_neither_file_nor_entry_is_refused(submit: None, capsys: Capture) -> None:
    capsys.readouterr()
    assert run("compare", "a", "nobody", "--track", "mtl") == 1
    assert "nobody: no such file, and no entry of this name in track mtl" in capsys.readouterr().err


def test_entries_without_a_score_are_refused_with_the_reason(
    submit: None, template: Path, table_files: list[Path], capsys: Capture
) -> None:
    assert run("submit", table_files[0], "--track", "mtl", "--template", template, "--name", "blind") == 0
    assert run("submit", template, "--track", "mtl", "--template", template, "--name", "bad") == 1
    for name, why in (("blind", "it has no score; submit it with --truth"), ("bad", "it is invalid")):
        capsys.readouterr()
        assert run("compare", "a", name, "--track", "mtl") == 1
        assert capsys.readouterr().err == f"{name}: cannot be compared: {why}\n"


def test_a_file_beside_an_entry_counts_on_the_videos_that_are_shown(tmp_path: Path, capsys: Capture) -> None:
    store = ("--track", "va", "--store", f"sqlite:///{tmp_path}/b.sqlite")
    assert run("rules", *store, "--seed", "1") == 1
    assert "--seed: decides which videos are private; give --private too" in capsys.readouterr().err
    assert run("rules", *store, "--private", "0.5", "--seed", "1") == 0
    rng, files = np.random.default_rng(0), {}
    for name in ("truth", "a", "b"):
        rows = [
            f"v{k}/{n:05d}.jpg,{x:.4f},{y:.4f}\n" for k in range(6) for n, (x, y) in enumerate(rng.random((9, 2)), 1)
        ]
        files[name] = tmp_path / f"{name}.txt"
        files[name].write_text("image_location,valence,arousal\n" + "".join(rows))
    official = ("--template", files["truth"], "--truth", files["truth"])
    for name in "ab":
        assert run("submit", files[name], *store, *official, "--name", name) == 0
    capsys.readouterr()
    found = []
    for other in ("b", files["b"]):
        assert run("compare", "a", other, *store, "--truth", files["truth"], "--json") == 0
        found.append(json.loads(capsys.readouterr().out)["comparisons"][0])
    assert found[0]["score"] == found[1]["score"]
    assert sorted(found[0]["videos"]) == sorted(found[1]["videos"]) == ["v0", "v2", "v4"]


def test_rules_are_told_and_reveal_shows_the_board(
    tmp_path: Path, template: Path, truth_list: Path, table_files: list[Path], capsys: Capture
) -> None:
    store = ("--track", "mtl", "--store", f"sqlite:///{tmp_path}/b.sqlite")
    assert run("rules", *store, "--private", "0.5", "--seed", "2", "--step", "0.01", "--limit", "5") == 0
    told = capsys.readouterr().out
    assert run("rules", *store) == 0
    assert capsys.readouterr().out == told
    assert told.splitlines() == [
        "rules of track mtl",
        "  about 50% of the videos are private until `reveal` (seed 2)",
        "  a score is shown only if it beats the best of its author by more than 0.01 (Ladder)",
        "  an author may submit 5 valid entries; baselines do not count",
    ]
    files = ("--template", template, "--truth", truth_list, "--out", tmp_path / "out")
    assert run("submit", table_files[0], *store, *files, "--name", "good") == 0
    assert run("submit", table_files[2], *store, *files, "--name", "bad") == 0
    assert "bad: valid; not ranked, since the Ladder rule withholds its score" in capsys.readouterr().out
    assert run("compare", "good", "bad", *store) == 1
    assert "cannot be compared before the reveal" in capsys.readouterr().err
    assert run("show", *store) == 0
    before = capsys.readouterr().out
    assert before.startswith("Multi-task learning (mtl), ranked by P_MTL on the public videos; `leaderboard reveal`")
    assert run("reveal", *store) == 0
    after = capsys.readouterr().out
    assert "on the private videos, revealed " in after
    assert "public" in after
    assert "withheld" not in after


def test_rules_that_cannot_hold_are_refused(submit: None, tmp_path: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert run("rules", "--track", "mtl", "--limit", "5") == 1
    assert "the track has 3 entries; rules are set before the first one" in capsys.readouterr().err
    assert run("rules", "--track", "lsd", "--private", "0.5", "--store", f"sqlite:///{tmp_path}/new.sqlite") == 1
    assert "its images are stills: there are no videos to split" in capsys.readouterr().err
    assert not (tmp_path / "new.sqlite").exists()
    for option in (("--private", "1"), ("--step", "-1"), ("--limit", "0")):
        with pytest.raises(SystemExit) as caught:
            run("rules", "--track", "va", *option)
        assert caught.value.code == 2


def test_the_password_of_a_store_is_not_printed(tmp_path: Path, capsys: Capture) -> None:
    url = f"postgresql+psycopg://ann:secret@/none?host={tmp_path}"
    assert run("show", "--store", url) == 1
    told = capsys.readouterr()
    assert "cannot be used as a leaderboard store" in told.err
    assert "secret" not in told.err + told.out
