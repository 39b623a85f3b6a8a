"""Every `leaderboard` command of README and docs runs as it stands there, on a small world with the files it names.

`serve` does not end: `test_serve_socket.py` runs it. Search's `submit` names the folders of a search:
`experiments/test_docs_runs.py`.
"""

import json
import runpy
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from safetensors.numpy import save_file

from abaw.predictions import schema, write_predictions
from abaw.tracks import TRACKS
from leaderboard.cli import main

ROOT = Path(__file__).parents[2]
DOCS = runpy.run_path(str(ROOT / "tests" / "test_docs.py"))
COMMANDS = {
    " ".join(words): words[1:]
    for page, words in DOCS["ALL"]
    if words[0] == "leaderboard" and words[1] != "serve" and page.name != "search.md"
}
TABLES = ("TABLE", "A", "B", "test", "out_of_fold", "a/test", "b/test", "a/out_of_fold", "b/out_of_fold")
TEMPLATES = ("TEMPLATE", "EXPR_test_set_release.txt", "MTL_test_set_release.txt")
TRUTHS = ("TRUTH", "validation_set_annotations.txt")
THREE = {"untuned": 0.4, "in_sample": 0.5, "cross_fitted": 0.45}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a run folder, and the files that are the same for every track."""
    folder = tmp_path / "here"
    (folder / "data").mkdir(parents=True)
    monkeypatch.chdir(folder)
    Path("data/manifest.json").write_text(json.dumps({"source": "Faces"}))
    stage = {"optimisation": {}, "train": {"shards": str(folder / "data")}, "track": None, "init": {}}
    Path("config.yaml").write_text(yaml.safe_dump(stage))
    result = {"name": "stage", "commit": "c" * 40, "dirty": False, "config_hash": "hash", "inputs": []}
    Path("result.json").write_text(json.dumps(result))
    training = Path("EXPR_Classification_Challenge/Train_Set")
    training.mkdir(parents=True)
    header = "Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other\n"
    (training / "one.txt").write_text(header + "".join(f"{k % 8}\n" for k in range(80)))
    Path("smoothing.json").write_text(json.dumps({task: THREE for task in ("va", "expr", "au")}))
    Path("predict.sh").write_text('case "$1" in *-002*) cp B.parquet "$2" ;; *) cp A.parquet "$2" ;; esac\n')
    for epoch in (1, 2):
        save_file({"w": np.full(3, epoch, dtype=np.float32)}, f"epoch-{epoch:03d}.safetensors")
    return folder


def in_folds(table: pa.Table, name: str) -> pa.Table:
    """The columns of one track, each video in a fold of its own."""
    wanted, video = schema(TRACKS[name]), table["video"].to_pylist()
    fold = pa.array([sorted(set(video)).index(one) for one in video], wanted.field("fold").type)
    columns = {field.name: table[field.name].cast(field.type) for field in wanted} | {"fold": fold}
    return pa.table(columns, schema=wanted)


def write_files(name: str, needed: list[str], make_table: Callable[..., pa.Table], truth_list: Path) -> None:
    """Tables, template, truth and submission files of a track, under the names that the pages use."""
    tables = [in_folds(make_table(seed, 0.3 + seed / 10, gap=100), name) for seed in (0, 1)]
    for path in TABLES:
        Path(path).parent.mkdir(exist_ok=True)
        write_predictions(tables[path[0] in "bB"], Path(f"{path}.parquet"))
    track = TRACKS[name]
    images = [f"{video}/{frame:05d}.jpg" for video in ("other", "vid", "vid_left") for frame in range(1, 60, 3)]
    rng = np.random.default_rng(3)
    values = rng.uniform(-1, 1, (60, 2)) if name == "va" else rng.integers(0, 8, (60, 1)).astype(float)
    rows = map(track.format_row, images, values) if name != "mtl" else [f"{image}," for image in images]
    text = "\n".join([",".join(track.submission_header), *rows]) + "\n"
    for path in TEMPLATES:
        Path(path).write_text(text)
    for path in TRUTHS:
        Path(path).write_text(truth_list.read_text() if name == "mtl" else text)
    for out, table in {"FILE": "A", f"{name}.txt": "A", f"{name}.zip": "A", "earlier.txt": "B"}.items():
        if out not in needed:
            continue
        assert run("export", f"{table}.parquet", "--track", name, "--template", "TEMPLATE", "--out", out) == 0


def before(words: list[str], track: str) -> Iterator[list[str]]:
    """What a user has done by then: entries that the command names, rules before a reveal, members of a recipe."""
    names = words[1 : words.index("--track")] if words[0] == "compare" else []
    names += [words[words.index("--validation") + 1]] if "--validation" in words else []
    names += ["first"] if words[0] in ("show", "report") else []
    if words[0] == "reveal":
        yield ["rules", "--track", track, "--private", "0.5", "--seed", "2"]
        names.append("first")
    for name in names:
        files = ["--template", "TEMPLATE", "--truth", "TRUTH"]
        yield ["submit", f"{'B' if name == names[-1] else 'A'}.parquet", "--track", track, *files, "--name", name]
    if words[0] == "team":
        yield ["team", "add", "team-b"]
    if words[:2] in (["trial", "reply"], ["trial", "list"]):
        yield ["submit", "A.parquet", "--track", "va", "--template", "TEMPLATE", "--truth", "TRUTH", "--name", "first"]
        yield ["trial", "add", "va.zip", "--track", "va", "--challenge", "ABAW8 VA", "--validation", "first"]
    if "--replay" in words:
        yield ["ensemble", "a/out_of_fold.parquet", "b/out_of_fold.parquet", "--track", track, "--method", "greedy",
               "--out", "chosen.parquet", "--recipe", "best.json"]  # fmt: skip


def run(*words: str) -> int:
    return main(list(words))


@pytest.mark.slow
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_of_the_docs_runs(
    words: list[str],
    world: Path,
    make_table: Callable[..., pa.Table],
    truth_list: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    track = words[words.index("--track") + 1] if "--track" in words else "va" if words[0] == "trial" else "mtl"
    write_files(track, [*words, "va.zip"], make_table, truth_list)
    for one in before(words, track):
        assert run(*one) == 0, capsys.readouterr().err
    if "--out" in words:
        for path in glob(words[words.index("--out") + 1] + "*"):
            Path(path).unlink()
    given = [path for word in words for path in (sorted(glob(word)) if "*" in word else [word])]
    assert run(*given) == 0, capsys.readouterr().err
