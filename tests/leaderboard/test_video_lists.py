"""ABAW3's own templates: lists of video names, and the folders that are made and checked by them."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from abaw.predictions import schema, write_predictions
from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.cli import main
from leaderboard.serving import read_challenge
from leaderboard.templates import check, read_template

VA = TRACKS["va"]
LONG = "10-60-1280x720"
Run = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in the temporary folder: its exit code, and the lines of stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, list[str], list[str]]:
        code = main(arguments)
        output = capsys.readouterr()
        return code, output.out.splitlines(), output.err.splitlines()

    return run


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Valence is a tenth of the frame; frames 2 and 3 of `v`, and whatever comes after 4, have no prediction."""
    keys = [(LONG, 1), (LONG, 2), ("other", 1), ("v", 1), ("v", 4)]
    columns = {"video": [video for video, _ in keys], "frame": [frame for _, frame in keys]}
    columns |= {"valence": [frame / 10 for _, frame in keys], "arousal": [0.5] * len(keys)}
    fields = [field for field in schema(VA) if field.name in columns]
    write_predictions(
        pa.table([pa.array(columns[f.name], f.type) for f in fields], schema=pa.schema(fields)), tmp_path / "t.parquet"
    )
    return "t.parquet"


def listed(text: str = f"v\n{LONG}\n") -> str:
    Path("videos.txt").write_bytes(text.encode())
    return "videos.txt"


def command(name: str, file: str, *more: str) -> Sequence[str]:
    return name, file, "--track", "va", "--template", "videos.txt", *more


LINES = ["valence,arousal", "0.1000,0.5000", "0.2000,0.5000", "0.3000,0.5000", "0.4000,0.5000"]
OPEN = "videos.txt: lists videos alone: each file ends with the last predicted frame of its video"
UNCHECKED = "videos.txt: lists videos alone: how many lines each must have could not be checked"
FILLED = "2 of 6 rows (33.3%) had no prediction: filled from their neighbours"


def test_a_list_asks_for_a_folder_which_is_valid(run: Run, table: str) -> None:
    listed()
    written = ["out: 6 rows in 2 videos", "manifest: out.manifest.json"]
    assert run(*command("export", table, "--out", "out")) == (0, written, [FILLED, OPEN])
    assert sorted(path.name for path in Path("out").iterdir()) == [f"{LONG}.txt", "v.txt"]
    assert Path("out/v.txt").read_text().splitlines() == LINES
    assert run(*command("validate", "out")) == (0, ["ok: 6 rows in 2 videos"], [UNCHECKED])
    assert run(*command("export", table, "--out", "out.zip"))[0] == 0
    with zipfile.ZipFile("out.zip") as archive:
        assert archive.namelist() == ["v.txt", f"{LONG}.txt"], "the order of the list"
    assert run(*command("validate", "out.zip"))[:2] == (0, ["ok: 6 rows in 2 videos"])


@pytest.mark.parametrize(
    "text",
    [f"v\r\n{LONG}\r\n", f"\ufeffv.txt,\n{LONG}.txt,\n\n", f"image_location\nv\n\n{LONG}", f" v \n{LONG} ,\n"],
    ids=["CRLF", "byte order mark, .txt and commas", "header and blank lines", "blanks"],
)
def test_a_list_is_read_in_every_form(run: Run, table: str, text: str) -> None:
    path = Path(listed(text))
    assert read_template(path, VA).asked["video"].to_list() == ["v", LONG]
    assert run(*command("export", table, "--out", "out"))[0] == 0
    end = "\r\n" if "\r" in text else "\n"
    assert Path("out/v.txt").read_bytes().decode() == end.join(LINES) + end
    assert run(*command("validate", "out"))[0] == 0


def test_what_a_folder_lacks_or_has_too_much_is_told_by_video(run: Run) -> None:
    listed(f"v\n{LONG}\nempty\n")
    folder = Path("s")
    folder.mkdir()
    for name, text in (("v", "0,0\n"), ("w", "0,0\n0,0\n"), ("empty", ""), ("V", "2,0\n")):
        (folder / f"{name}.txt").write_text(f"valence,arousal\n{text}")
    assert run(*command("validate", "s")) == (
        1,
        [
            f"s: video {LONG} is missing whole; videos.txt:2 asks for {LONG}.txt",
            "s: video empty is missing whole; videos.txt:3 asks for empty.txt",
            "s/V.txt: video V is not in the list videos.txt; remove the file",
            "s/w.txt: video w is not in the list videos.txt; remove the file",
            "s/V.txt:2: valence is 2; expected a number in [-1, 1]",
        ],
        ["refused: 1 out of range, 2 missing video, 2 extra video"],
    )


def test_one_file_is_no_submission_for_a_list(run: Run, table: str) -> None:
    listed()
    Path("one.txt").write_text("image_location,valence,arousal\nv/00001.jpg,0,0\n")
    message = "one file of all videos; videos.txt lists videos, so expected a folder or zip of <video>.txt"
    assert run(*command("validate", "one.txt"))[1] == [
        f"one.txt: {message}, as `leaderboard export --form abaw3` writes it"
    ]
    code, _, error = run(*command("export", table, "--out", "va.txt", "--form", "file"))
    assert (code, error) == (
        1, ["videos.txt: lists videos, so the submission is one file a video; leave out --form, or give abaw3"]
    )  # fmt: skip


@pytest.fixture
def labels(tmp_path: Path) -> str:
    """Annotations of the videos of the list, in which `v` goes on for a frame after the last predicted one."""
    folder = tmp_path / "labels" / "VA_Estimation_Challenge" / "Test_Set"
    folder.mkdir(parents=True)
    (folder / "v.txt").write_text("valence,arousal\n0.1,0.5\n0.2,0.4\n-5,-5\n0.4,0.6\n0.9,0.9\n-5,-5\n")
    (folder / f"{LONG}.txt").write_text("valence,arousal\n0.1,0.5\n0.2,0.3\n")
    return "labels"


def submission(file: str, name: str, *more: str) -> Sequence[str]:
    return command("submit", file, "--name", name, "--out", "out", "--store", "sqlite:///b.sqlite", *more)


@pytest.mark.parametrize("form", ["folder", "folder.zip"])
def test_a_file_that_ends_before_the_labels_is_refused(run: Run, table: str, labels: str, form: str) -> None:
    """What is left out would not count, and the ends of videos would be won by silence."""
    listed()
    run(*command("export", table, "--out", form))
    code, _, error = run("score", form, "--track", "va", "--truth", labels)
    assert code == 0
    assert error[0] == f"{form}: 1 labelled lines come after the last row of their video; they do not count"
    with Path("labels/VA_Estimation_Challenge/Test_Set/v.txt").open("a") as file:
        file.write("-5,-5\n" * 3 + "0.1,0.1\n")
    short = f"{form}/v.txt: 4 lines after the header, needed are 10: labels has labels of the video up to there"
    assert run("score", form, "--track", "va", "--truth", labels) == (1, [], [short])
    told = [FILLED, short, "stored as invalid, not ranked: short"]
    assert run(*submission(form, "short", "--truth", labels)) == (1, [], told)
    code, _, error = run(*submission(form, "unscored"))
    assert (code, f"warning: out/va-unscored.txt: {UNCHECKED.replace(':', '', 1)}" in error) == (0, True)


def test_a_folder_and_tables_are_submitted_and_scored_by_a_list(run: Run, table: str, labels: str) -> None:
    """Tables are filled up to the last label, as a folder must be that is submitted."""
    listed()
    run(*command("export", table, "--out", "folder"))
    with Path("folder/v.txt").open("a") as file:
        file.write(f"{LINES[-1]}\n")
    assert run("score", "folder", "--track", "va", "--truth", labels)[0] == 0
    told = []
    for name, file in (("folder", "folder"), ("tables", table)):
        code, out, error = run(*submission(file, name, "--truth", labels))
        assert code == 0
        assert not any("come after the last row" in line for line in error)
        assert ("3 of 7 rows (42.9%) had no prediction: filled from their neighbours" in error) is (name == "tables")
        told.append(out[0].split(",")[0].partition(" ")[2])
        assert Path(f"out/va-{name}.txt").read_text().splitlines() == [
            "image_location,valence,arousal",
            *(f"v/0000{frame}.jpg,{line}" for frame, line in enumerate([*LINES[1:], LINES[-1]], start=1)),
            f"{LONG}/00001.jpg,0.1000,0.5000", f"{LONG}/00002.jpg,0.2000,0.5000",
        ]  # fmt: skip
    assert told[0] == told[1]
    Path("folder/v.txt").unlink()
    code, _, error = run(*submission("folder", "lost"))
    assert (code, error) == (
        1,
        [
            "folder: video v is missing whole; videos.txt:1 asks for v.txt",
            "stored as invalid, not ranked: lost",
        ],
    )


def test_a_listed_video_without_predictions_is_refused(run: Run, table: str) -> None:
    listed("v\nnone\n")
    code, _, error = run(*command("export", table, "--out", "out"))
    message = "no prediction for any frame of video none (1 rows of the template ask for it); run predict on it too"
    assert (code, error) == (1, [f"{table}: {message}"])


def test_every_bad_line_of_a_list_is_told(run: Run) -> None:
    path = Path(listed("v\na.mp4\nv\n0.5\n"))
    with pytest.raises(BadInput) as refused:
        read_template(path, VA)
    name = "expected the name of a video, such as video1 or 10-60-1280x720"
    assert str(refused.value).splitlines() == [
        f"videos.txt:2: 'a.mp4'; {name}",
        "videos.txt:3: v came before; a template lists a video once",
        f"videos.txt:4: '0.5'; {name}",
    ]
    with pytest.raises(BadInput, match=r"videos\.txt: the template lists nothing"):
        read_template(Path(listed("image_location\n")), VA)


@pytest.mark.parametrize("track", ["mtl", "cexpr", "lsd"])
def test_other_tracks_have_no_lists(run: Run, track: str) -> None:
    path = Path(listed())
    with pytest.raises(BadInput) as refused:
        check(path, read_template(path, TRACKS[track]))
    message = f"lists names of videos; the template of track {track} lists images, one a line"
    assert str(refused.value) == f"videos.txt: {message}"


def test_where_rows_must_be_known_a_list_is_refused(run: Run) -> None:
    with pytest.raises(BadInput) as refused:
        _ = read_template(Path(listed()), VA).rows
    assert str(refused.value) == (
        "videos.txt: lists names of videos, so that their frames are not known; "
        "expected a template of rows, <video>/<frame>.jpg, such as video1/00001.jpg"
    )
    # On a server a team could leave out the ends of videos, which it is scored on.
    with pytest.raises(BadInput, match=r"videos\.txt: lists names of videos, so that their frames are not known"):
        read_challenge(VA, Path("videos.txt"), Path("truth.txt"))
