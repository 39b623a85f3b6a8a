"""Every `abaw` command of README and docs runs, in one folder, on small data under the names that the pages use.

What takes hours or minutes runs at its size for tests with the same options (`SMALLER`); whether a paper's size
would start on the same files is asked without running it. `python` and `ray` commands have tests of their own
(`ELSEWHERE`). A command that is in neither list fails in the default run.
"""

import contextlib
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch

from abaw.data.videos import list_videos
from abaw.models.dan import Dan
from abaw.runs import is_complete, read_result
from experiments import cli
from experiments import table as tables
from experiments.inputs import check_recipe
from experiments.prepare import WITH_DROPS
from experiments.recipe import Recipe
from experiments.registry import RECIPES, TABLES, get_recipe
from experiments.sizes import MICRO, debug
from leaderboard.cli import main as leaderboard

ROOT = Path(__file__).parents[2]
DOCS = runpy.run_path(str(ROOT / "tests" / "test_docs.py"))
SYSTEMS = runpy.run_path(str(Path(__file__).with_name("test_every_system.py")))
exit_code = DOCS["exit_code"]
systems = pytest.mark.systems

SMALLER = {
    "run demo": "run demo_debug",
    "tune demo": "tune demo_debug",
    "run emma_mtl": "run emma_mtl_debug",
    "run emma_mtl-vit_celeba": "run emma_mtl_debug-vit_celeba",
    # At the size for tests the first pass learns the expressions of the training frames; here it has AffectNet again.
    "run mae_face_expr": "run mae_face_expr_debug --passes.0.system.track affectnet8",
    "run mae_face_mtl": "run mae_face_mtl_debug",
    "run cotex_lsd": "run cotex_lsd_debug --finetune.batch-size 8",
    "run contrawarping_expr": "run contrawarping_expr_debug",
    "run dual_view_expr": "run dual_view_expr_debug",
    "run temporal_mtl": "run temporal_mtl_debug",
    "runs/demo": "runs/demo_debug",
    "runs/demo/finetune-...": "runs/demo_debug/finetune-pretrained-fold-0-*",
    "runs/demo/finetune-scratch-fold-0-KEY": "runs/demo_debug/finetune-scratch-fold-0-*",
    "--trials 6": "--trials 2",
    "--trials 8": "--trials 2",
    "--trials 50": "--trials 4",
    "--trials 200": "--trials 4",
    "--seeds 3": "--seeds 1",
    "--videos 40": "--videos 40 --frames 8 --test-videos 1 --pool-people 1 --pool-frames 1 --lsd-people 3",
}
"""Sizes of the pages, and what runs instead. The rows of `abaw table` are at their size for tests, too."""
PLACES = {
    "RECIPE": "demo_debug",
    "RECIPE --search NAME": "demo_debug --search finetune --trials 2",
    "STAGE": "runs/demo_debug/finetune-scratch-fold-1-*",
    "SOURCE": "affectnet",
    "SOURCE ROOT": "affectnet AFFECTNET",
    "video ROOT OUT": "video VIDEOS OUT --detector mediapipe --weights face_landmarker.task",
    "images ROOT OUT": "images PICTURES OUT --detector mediapipe --weights face_landmarker.task",
    "--delivery.root OUT": "--delivery.root SHARDS",
    "--delivery.template TEMPLATE": "--delivery.template AFFWILD2/test_templates/expr.txt",
    "OTHER_OUT --delivery.template TEMPLATE": "POOL_SHARDS --delivery.template AFFWILD2/test_templates/mtl.txt",
}
"""Words of the pages that stand for something of the reader's. Other capitals are names of files, see `world`."""
NAMED = {f"abaw {command}" for command in ("run", "tune", "prepare", "export", "data report")}
NAMED |= {"ray up", "ray job stop", "ray job logs --follow"}
"""Sentences name these; they are no whole commands."""
ELSEWHERE = {
    r"abaw run .* --address http://.*": "tests/cluster/test_job.py",
    r"ray start --block": "tests/cluster/test_job.py",
    r"ray job submit .*": "tests/cluster/test_job.py",
    # Needs an account: the file is checked against Ray's schema, and the commands have not been run.
    r"ray (up|attach|dashboard|rsync-down|down) cluster\.yaml.*": "tests/test_cluster_files.py",
    r"python docs/(tables_index|system_pictures)\.py": "tests/test_docs.py",
    # Draws a picture of a report that a person then looks at; what is in the report is tested there.
    r"python docs/report_picture\.py board\.html": "tests/leaderboard/test_report_browser.py",
    r"python benchmarks/chaos\.py --write": "tests/cluster/test_faults.py",
    # `make bench` runs them.
    r"python benchmarks/(?!chaos)\w+\.py( .*)?": "benchmarks/bench.py",
}
"""Commands that do not run here, and the file that runs them, or what they are made of."""
REFUSED = {
    "abaw tune RECIPE": "finetune: Learning rate x layer decay x drop path",
    **dict.fromkeys(("abaw table affectnet8", "abaw table affectnet7", "abaw table emo135"), "has no row that"),
}
"""Commands that the pages give for what they say: which searches there are, and that data are missing."""


def commands() -> set[str]:
    """Every command of `abaw`, `python` and `ray` in the blocks and sentences of the pages."""
    blocks = [(page, shlex.join(words)) for page, words in DOCS["ALL"]]
    written = {text.replace("'", "") for page, text in [*blocks, *DOCS["SPANS"]] if page.name != "api.md"}
    return {text for text in written if re.match(r"(abaw|python|ray) ", text)}


def elsewhere(text: str) -> bool:
    return any(re.fullmatch(pattern, text) for pattern in ELSEWHERE)


HERE = sorted(text for text in commands() - NAMED if text.startswith("abaw ") and not elsewhere(text))


def put(text: str, instead: dict[str, str]) -> str:
    """The text with words replaced, longer ones first."""
    for old in sorted(instead, key=len, reverse=True):
        text = re.sub(rf"(?<!\S){re.escape(old)}(?!\S)", instead[old], text)
    return text.replace("/shared/", "shared/")


def words_of(text: str) -> list[str]:
    """What runs: a stage of a run is the one that is there."""
    text = put(put(text.removeprefix("abaw "), PLACES), SMALLER)
    words = [glob(word)[0] if "*" in word else word for word in text.split()]
    return [*words, "--seeds", "1"] if words[0] == "table" and "--seeds" not in words else words


def test_each_command_of_the_docs_is_run_by_a_test():
    found = commands() - NAMED
    assert len(HERE) > 50
    unknown = [text for text in found - set(HERE) if not elsewhere(text) and text != TOKEN]
    assert unknown == [], "run it in this file, or name the file that does in ELSEWHERE"
    assert {pattern for pattern in ELSEWHERE if not any(re.fullmatch(pattern, text) for text in found)} == set()
    assert {file for file in ELSEWHERE.values() if not (ROOT / file).is_file()} == set()
    short = set(re.findall(r'^    "(\w+)": \(', (ROOT / "benchmarks" / "bench.py").read_text(), re.M))
    listed = {name for pattern in ELSEWHERE for name in re.findall(r"benchmarks/\(([\w|]+)\)", pattern)}
    assert {name for names in listed for name in names.split("|")} <= short


def test_no_option_of_a_page_is_left_out_and_no_replacement_is_stale():
    text = "\n".join(HERE)
    assert [old for old in SMALLER | PLACES if old not in text] == []
    for one in HERE:
        assert set(re.findall(r"(?<!\S)--[\w.-]+", one)) <= set(put(put(one, PLACES), SMALLER).split()), one
    assert set(REFUSED) <= set(HERE)


TOKEN = "ray get-auth-token --generate"


@systems
def test_a_token_is_made(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [str(Path(sys.executable).parent / "ray"), *TOKEN.split()[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert TOKEN in commands()
    assert (tmp_path / ".ray" / "auth_token").read_text().strip() in done.stdout


@pytest.fixture(scope="module")
def world(local_ray, tmp_path_factory, write_video, astronaut_HWC, face_task):
    """The folder where all commands are given, with what they name. Ray's workers start in it, as a user's do."""
    import ray

    folder = tmp_path_factory.mktemp("docs")
    ray.shutdown()
    with contextlib.chdir(folder):
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
        assert cli.run(["run", "demo_debug"]) == 0
        (faces,) = glob("runs/demo_debug/prepare-*/faces")
        for name, target in {**links(Path(faces)), "face_landmarker.task": Path(str(face_task))}.items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).symlink_to(target.absolute())
        SYSTEMS["affectnet"](Path("AFFECTNET"), np.random.default_rng(0))
        Path("PICTURES").mkdir()
        Path("VIDEOS").mkdir()
        for name in ("one", "two"):
            Path("PICTURES", f"{name}.jpg").write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(astronaut_HWC)))
        write_video(Path("VIDEOS/clip.mp4"), np.stack([astronaut_HWC] * 4))
        torch.save({"model": MICRO.build().state_dict()}, "mae_face.pth")
        torch.save({"model_state_dict": Dan(classes=8).state_dict()}, "affecnet8.pth")
        for source, delivery, shards in SHARDS:
            assert cli.run(["prepare", source, delivery, shards]) in (0, WITH_DROPS)
    return folder


SHARDS = (
    ("affwild2", "AFFWILD2", "SHARDS"),
    ("images", "FACES", "POOL_SHARDS"),
    ("lsd", "AFFWILD2/lsd", "LSD_SHARDS"),
    ("affectnet", "AFFECTNET", "AFFECTNET_SHARDS"),
)
"""Source, delivery and shards that other commands read."""


def links(faces: Path) -> dict[str, Path]:
    """The embedded faces under the names of the pages; S_AFFWILD2 has the multi-task lists alone."""
    small = ("cropped_aligned", "test_templates", "training_set_annotations.txt", "validation_set_annotations.txt")
    return {
        **dict.fromkeys(("AFFWILD2", "DELIVERY", "shared/Aff-Wild2"), faces),
        **dict.fromkeys(("FACES", "CELEBA"), faces / "pool"),
        **{f"S_AFFWILD2/{name}": faces / name for name in small},
        "shared/templates/mtl.txt": faces / "test_templates" / "mtl.txt",
        "shared/runs": Path("runs"),
    }


def stages_of(words: list[str]) -> tuple[Any, list[Any], Path]:
    """Recipe, stages and run folder of a command that names a recipe."""
    return cli._stages(*cli._parser().parse_known_args(words))


def share_faces(words: list[str]) -> None:
    """The embedded faces are rendered once: what another recipe made of the same settings is linked."""
    _, stages, root = stages_of(words)
    for stage in stages:
        made = glob(f"runs/*/{stage.folder(root).name}")
        if stage.name == "prepare" and made and not stage.folder(root).exists():
            root.mkdir(parents=True, exist_ok=True)
            stage.folder(root).symlink_to(Path(made[0]).absolute())


def check_list(words: list[str], out: str) -> None:
    assert len(out.splitlines()) > len(RECIPES)


def check_stages(words: list[str], out: str) -> None:
    assert len(out.splitlines()) > 14
    # Two folds from each of two starts, for each run in the folder.
    assert len(re.findall(r"^ *finetune", out, re.M)) in (4, 8)


def check_run(words: list[str], out: str) -> None:
    """The stages with these options are there, whole; entries of a board are valid, other scores between 0 and 1."""
    recipe, stages, root = stages_of(words)
    assert all(is_complete(stage.folder(root)) for stage in stages)
    assert (recipe == get_recipe(words[1])) == (len(words) == 2), "the options change the recipe"
    result = read_result(stages[-1].folder(root))
    if "entries" in result:
        assert {entry["status"] for entry in result["entries"]} == {"valid"}
        assert len(result["entries"]) >= 3
        assert re.search(r"constant\s+predictor", out)
    else:
        assert 0 <= result["score"] <= 1


def check_tune(words: list[str], out: str) -> None:
    """A page and the trials; what a search for smoothing writes is submitted as the page on searches has it."""
    search, trials = words[words.index("--search") + 1], int(words[words.index("--trials") + 1])
    folder = Path("runs", words[1], "tune", search)
    assert out.startswith("best ")
    assert "<html" in (folder / "index.html").read_text()
    if search != "smoothing":
        assert sum(read_result(folder)["trials"].values()) == trials
        return
    assert all(len(one["trials"]) == trials for one in json.loads((folder / "smoothing.json").read_text()).values())
    (submit,) = [line for page, line in DOCS["ALL"] if page.name == "search.md" and line[0] == "leaderboard"]
    with contextlib.chdir(Path("runs", words[1])):
        assert leaderboard([path for word in submit[1:] for path in (glob(word) or [word])]) == 0


def check_table(words: list[str], out: str) -> None:
    """A line for each row of the table, on the terminal and in the file."""
    assert sum(line.startswith("|") for line in out.splitlines()) == 2 + len(TABLES[words[1]].rows)
    if "--out" in words:
        assert Path(words[words.index("--out") + 1]).read_text().strip() == out.strip()


def check_prepare(words: list[str], out: str) -> None:
    """Shards that `abaw data verify` finds whole, or the embedded faces; and help."""
    if "--help" in words:
        assert "usage: abaw prepare" in out
        return
    to = next(Path(one) for one in words if one == "OUT" or one.startswith("shared/shards"))
    if words[1] == "faces":
        names = {path.name for path in (to / "cropped_aligned").iterdir()}
        assert f"videos: {len(names)}" in out
        assert len(names) == int(words[words.index("--videos") + 1]) + 1  # and the test video
        return
    assert (to / "crops").is_dir() == ("--align" in words)
    assert (to / "coverage.md").is_file() == (words[1] == "affwild2")
    shards = to / "shards" if "--align" in words else to
    assert cli.run(["data", "verify", str(shards)]) == 0
    frames = {"video": 4, "images": 1, "affectnet": 72}
    found = json.loads((shards / "manifest.json").read_text())["frames"]
    assert found == frames.get(words[1], found) > 0


def check_data(words: list[str], out: str) -> None:
    if words[1] == "verify":
        assert re.match(r"SHARDS: \d+ images in \d+ files are whole", out)
    elif words[1] == "ls":
        assert len(out.splitlines()) == 1 + list_videos(Path("SHARDS")).height
    else:
        assert {path.suffix for path in map(Path, out.split()) if path.is_file()} == {".md", ".html"}


def check_export(words: list[str], out: str) -> None:
    assert {path.name for path in Path("OUT").iterdir()} == {"model.safetensors", "model.pt", "README.md"}


def check_status(words: list[str], out: str) -> None:
    assert "demo_debug" in out


CHECKS: dict[str, Callable[[list[str], str], None]] = {
    **{"list": check_list, "plan": check_stages, "run": check_run, "tune": check_tune, "table": check_table},
    **{"prepare": check_prepare, "data": check_data, "show": check_stages, "export": check_export},
    "status": check_status,
}
"""What must be there afterwards, by command."""


def tiny(recipe: Recipe) -> Recipe:
    """A row of a table at the size for tests, with as many images of LSD as fill the largest batch of CoTEX."""
    small = debug(recipe)
    return replace(small, faces=replace(small.faces, lsd_people=15)) if recipe.track.name == "lsd" else small


@systems
@pytest.mark.parametrize("text", HERE, ids=HERE)
def test_a_command_of_the_docs_runs(text, world, monkeypatch, capsys):
    monkeypatch.chdir(world)
    monkeypatch.setattr(tables, "small", tiny)
    words, refused = words_of(text), REFUSED.get(text)
    shutil.rmtree("OUT", ignore_errors=True)
    if words[0] in ("run", "tune"):
        share_faces(words)
    code, printed = exit_code(words), capsys.readouterr()
    if refused:
        assert (code, refused in printed.err) == (1, True), printed.err
        return
    # Of two equal pictures one is left out, and the exit code says so.
    assert code == (WITH_DROPS if "--deduplicate" in words else 0), printed.out + printed.err
    CHECKS[words[0]](words, printed.out)


PAPER_SIZE = [text for text in HERE if re.match(r"abaw (plan|run|tune) ", text) and put(text, SMALLER) != text]


@systems
@pytest.mark.parametrize("text", PAPER_SIZE, ids=PAPER_SIZE)
def test_at_its_own_size_it_would_start_on_these_files(text, world, monkeypatch):
    monkeypatch.chdir(world)
    check_recipe(stages_of(put(text.removeprefix("abaw "), PLACES).split())[0])
