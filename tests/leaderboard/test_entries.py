"""Submitting: files, manifest, rank, refusals, and the promise that nothing is left half done."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abaw.predictions import write_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from abaw.version import commit_and_dirty, commit_name
from leaderboard import board, store
from leaderboard.entries import Request, submit
from leaderboard.manifest import commit_of
from leaderboard.scoring import score_file
from leaderboard.submissions import read_submission

MTL = TRACKS["mtl"]


@pytest.fixture
def request_(request_: Request, store_url: str) -> Request:
    return replace(request_, name="first try", author="", store=store_url)


def test_a_table_becomes_the_official_file(request_: Request) -> None:
    result = submit(request_)
    wanted = [line.rstrip(",") for line in request_.template.read_text().splitlines()[1:]]
    lines = result.file.read_text().splitlines()
    assert lines[0] == "image,valence,arousal,expression,aus"
    assert [line.split(",")[0] for line in lines[1:]] == wanted
    assert result.file == request_.out / "mtl-first-try.txt"  # type: ignore[operator]
    assert (result.rank, result.ranked, result.delta_to_best, result.rows, result.videos) == (1, 1, 0.0, 60, 3)
    assert result.filled == 15, "every fourth row has no crop"
    assert result.score == score_file(result.file, MTL, request_.truth)


def test_filled_rows_are_between_their_neighbours_and_stay_in_their_video(request_: Request) -> None:
    rows, _ = read_submission(submit(request_).file, MTL)
    assert rows is not None
    valence = dict(zip(rows["image"], rows["valence"], strict=True))
    # Rows 0, 4, 8, ... lack a crop: the first of a video holds the next, an inner one is half way (frames 10, 13, 16).
    assert valence["vid/00001.jpg"] == valence["vid/00004.jpg"]
    middle = (valence["vid/00010.jpg"] + valence["vid/00016.jpg"]) / 2
    assert valence["vid/00013.jpg"] == pytest.approx(middle, abs=1.1e-4)
    assert valence["vid_left/00001.jpg"] == valence["vid_left/00004.jpg"]


def test_the_manifest_says_what_the_file_is_made_of(request_: Request, table_files: list[Path]) -> None:
    run = {"commit": "c" * 40, "dirty": True, "config_hash": "abc"}
    (table_files[0].parent / "result.json").write_text(json.dumps(run))
    result = submit(replace(request_, files=tuple(table_files[:2]), note="mean of two"))
    assert result.manifest is not None
    manifest = json.loads(result.manifest.read_text())
    assert manifest["sha256"] == result.sha256 == hashlib.sha256(result.file.read_bytes()).hexdigest()
    assert manifest["members"] == [str(path) for path in table_files[:2]]
    assert (manifest["rows"], manifest["filled_rows"], manifest["config_hash"]) == (60, 15, "abc")
    assert manifest["commit"] == "c" * 40 + "+"
    assert manifest["metrics"]["P_MTL"] == manifest["score"] == result.score.score  # type: ignore[union-attr]
    assert manifest["file"] == result.file.name


def test_ranks_follow_the_score_and_ties_the_earlier_date(request_: Request, table_files: list[Path]) -> None:
    results = [submit(replace(request_, name=f"n{k}", files=(path,))) for k, path in enumerate(reversed(table_files))]
    assert [result.rank for result in results] == [1, 1, 1], "noise falls from run 2 to run 0"
    again = submit(replace(request_, name="same as the best"))
    assert (again.rank, again.delta_to_best) == (2, 0.0)
    rows = board.rows(request_.store, MTL)
    assert [row.name for row in rows] == ["n2", "same as the best", "n1", "n0"]
    assert [row.rank for row in rows] == [1, 2, 3, 4]
    scores = [row.score or 0.0 for row in rows]
    assert scores == sorted(scores, reverse=True)
    worst = submit(replace(request_, name="n0", files=(table_files[2],), overwrite=True))
    assert worst.delta_to_best == pytest.approx(scores[3] - scores[0], abs=1e-15)


def test_an_official_file_stays_where_it_is(request_: Request, tmp_path: Path) -> None:
    made = submit(request_).file
    own = tmp_path / "mine.txt"
    own.write_bytes(made.read_bytes())
    result = submit(replace(request_, name="mine", files=(own,), out=None))
    assert (result.file, result.manifest) == (own, tmp_path / "mine.txt.manifest.json")
    copied = submit(replace(request_, name="copied", files=(own,)))
    assert copied.file.read_bytes() == own.read_bytes()
    assert copied.file == tmp_path / "out" / "mtl-copied.txt"


def test_a_taken_name_is_refused_and_nothing_changes(request_: Request, table_files: list[Path]) -> None:
    first = submit(request_)
    content = first.file.read_bytes()
    with pytest.raises(BadInput, match="mtl/first try: there is an entry of this name"):
        submit(replace(request_, files=(table_files[2],)))
    assert first.file.read_bytes() == content
    second = submit(replace(request_, files=(table_files[2],), overwrite=True))
    assert first.file.read_bytes() != content
    rows = board.rows(request_.store, MTL)
    assert [(row.name, row.sha256) for row in rows] == [("first try", second.sha256)]


@pytest.mark.parametrize("name", ["n" * 225, "ü" * 120])
def test_a_name_too_long_for_a_file_is_refused_and_others_may_submit(request_: Request, name: str) -> None:
    with pytest.raises(BadInput, match="has more than 200 bytes; choose a shorter --name"):
        submit(replace(request_, name=name))
    assert submit(request_).rank == 1


def test_an_output_folder_that_is_a_file_and_a_table_given_twice_are_refused(request_: Request) -> None:
    with pytest.raises(BadInput, match="is a file; --out names the folder of the official file"):
        submit(replace(request_, out=request_.template))
    with pytest.raises(BadInput, match=r"run0\.parquet: is given more than once; name each table once"):
        submit(replace(request_, files=request_.files * 2))


def test_an_existing_output_is_refused(request_: Request, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mtl-first-try.txt").write_text("precious")
    with pytest.raises(BadInput, match=r"mtl-first-try\.txt: exists already; .*--overwrite"):
        submit(request_)
    assert (tmp_path / "out" / "mtl-first-try.txt").read_text() == "precious"
    assert board.rows(request_.store, MTL) == []


def test_an_invalid_file_is_stored_with_its_reasons_and_never_ranked(request_: Request, tmp_path: Path) -> None:
    good = submit(request_)
    bad = tmp_path / "bad.txt"
    bad.write_text(good.file.read_text().replace("vid/00004.jpg,", "vid/00004.jpg,nan"))
    result = submit(replace(request_, name="bad", files=(bad,)))
    assert (result.status, result.rank, result.score, result.manifest) == ("invalid", None, None, None)
    assert len(result.reasons) == 1
    assert result.reasons[0].startswith(f"{bad}:3: valence is 'nan")
    ranked, invalid = board.rows(request_.store, MTL)
    assert (ranked.name, ranked.rank) == ("first try", 1)
    assert (invalid.name, invalid.rank, invalid.status, invalid.reasons) == ("bad", None, "invalid", result.reasons)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "mtl-first-try.txt",
        "mtl-first-try.txt.manifest.json",
    ]


def test_an_invalid_version_does_not_replace_a_valid_entry(request_: Request, tmp_path: Path) -> None:
    submit(request_)
    bad = tmp_path / "bad.txt"
    bad.write_text("image,valence,arousal,expression,aus\n")
    with pytest.raises(BadInput, match="the valid entry stays as it was") as refused:
        submit(replace(request_, files=(bad,), overwrite=True))
    assert len(refused.value.problems) > 1, "and the reasons why it is invalid"
    assert [row.status for row in board.rows(request_.store, MTL)] == ["valid"]


def test_names_that_share_a_file_do_not_replace_each_other(request_: Request) -> None:
    first = submit(request_)
    with pytest.raises(BadInput, match="is the file of the entry 'first try'; choose another --name"):
        submit(replace(request_, name="first-try", overwrite=True))
    (entry,) = store.entries(store.open_store(request_.store, create=False), "mtl")
    assert entry.sha256 == hashlib.sha256(first.file.read_bytes()).hexdigest()


def test_a_video_without_any_prediction_makes_the_entry_invalid(request_: Request, make_table: Any) -> None:
    table = make_table(0)
    path = request_.template.with_name("part.parquet")
    write_predictions(table.filter([video != "other" for video in table["video"].to_pylist()]), path)
    result = submit(replace(request_, files=(path,)))
    assert result.status == "invalid"
    assert result.reasons == (
        f"{path}: no prediction for any frame of video other (20 rows of the template ask for it); "
        "run predict on it too",
    )


def test_stills_are_never_filled(tmp_path: Path, make_table: Any) -> None:
    lsd = TRACKS["lsd"]
    table = make_table(0).select(["frame", *lsd.columns]).slice(0, 2)
    table = table.add_column(0, "video", [["", ""]])
    write_predictions(table, tmp_path / "lsd.parquet")
    names = [f"{frame}.jpg" for frame in table["frame"].to_pylist()]
    template = tmp_path / "t.txt"
    template.write_text("image,expression\n" + "".join(f"{name},\n" for name in [*names, "77.jpg"]))
    request = Request(
        files=(tmp_path / "lsd.parquet",),
        track=lsd,
        template=template,
        name="x",
        store=f"sqlite:///{tmp_path}/b.sqlite",
        out=tmp_path / "out",
    )
    result = submit(request)
    assert [reason.partition(": ")[2] for reason in result.reasons] == [
        "no prediction for 77.jpg; a still image cannot be filled from others"
    ]
    template.write_text("image,expression\n" + "".join(f"{name},\n" for name in names))
    assert submit(replace(request, name="y")).rows == 2


def test_without_truth_an_entry_is_kept_and_not_ranked(request_: Request) -> None:
    result = submit(replace(request_, truth=None))
    assert (result.status, result.rank, result.score, result.delta_to_best) == ("valid", None, None, None)
    assert board.unranked_lines(board.rows(request_.store, MTL), MTL) == [
        "mtl, no score, not ranked (submitted without --truth): first try"
    ]


def test_bad_truth_or_template_stores_nothing(request_: Request, tmp_path: Path) -> None:
    for change in ({"truth": tmp_path / "nowhere"}, {"template": tmp_path / "nowhere"}, {"files": (tmp_path / "no",)}):
        with pytest.raises(BadInput, match=r"nowhere|no such"):
            submit(replace(request_, **change))  # type: ignore[arg-type]
    assert board.rows(request_.store, MTL) == []
    assert not (tmp_path / "out").exists()


def test_files_and_entry_appear_together_or_not_at_all(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last rename fails: no entry, no file, no leftovers."""
    replaced = Path.replace

    def fail_on_manifest(self: Path, target: Path) -> Path:
        if str(target).endswith(".manifest.json"):
            raise OSError("disk full")
        return replaced(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_manifest)
    with pytest.raises(OSError, match="disk full"):
        submit(request_)
    assert board.rows(request_.store, MTL) == []
    assert request_.out is not None
    assert list(request_.out.iterdir()) == []


def test_the_commit_is_that_of_the_run_that_made_the_tables(request_: Request, table_files: list[Path]) -> None:
    runs = []
    for k, dirty in enumerate((False, True)):
        folder = table_files[0].parent / f"stage{k}" / "predictions"
        folder.mkdir(parents=True)
        runs.append(table_files[k].rename(folder / f"run{k}.parquet"))
        (folder.parent / "result.json").write_text(json.dumps({"commit": str(k) * 40, "dirty": dirty}))
    manifests = []
    for name, files in (("one", runs[:1]), ("both", runs), ("unknown", table_files[2:])):
        result = submit(replace(request_, name=name, files=tuple(files)))
        assert result.manifest is not None
        manifests.append(json.loads(result.manifest.read_text())["commit"])
    assert manifests == ["0" * 40, "0" * 40 + "," + "1" * 40 + "+", commit_name()]


def test_without_a_run_the_commit_is_that_of_this_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commit, dirty = commit_and_dirty()
    monkeypatch.chdir(tmp_path)
    assert commit_of([tmp_path / "table.parquet"]) == (f"{commit}+" if commit and dirty else commit or "")


def test_default_store_is_said_once_to_the_user() -> None:
    from leaderboard.cli import STORE

    assert STORE == store.DEFAULT_STORE
