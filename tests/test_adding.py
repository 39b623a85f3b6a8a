"""docs/adding.md: its code, put where it says, is a track, a source, a system and a recipe that work."""

import importlib
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import tyro

from abaw.metrics import score
from abaw.models.vit import VitConfig
from abaw.training.trained import rebuild, system_configs

ROOT = Path(__file__).parent.parent
LINES = 30
"""Each addition has fewer lines of code; blank ones do not count."""


def blocks():
    """The code of the page by the file that its first line names."""
    found = re.findall(
        r"^```python\n# (\S+?),?(?: [^\n]*)?\n(.*?)^```", (ROOT / "docs" / "adding.md").read_text(), re.M | re.S
    )
    return dict(found)


CODE = blocks()


def written(name, tmp_path, monkeypatch, package):
    """The module that the page writes to this file, imported as a module of the package."""
    path = tmp_path / Path(name).name
    path.write_text(CODE[name])
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    full = f"{package.__name__}.{path.stem}"
    monkeypatch.delitem(sys.modules, full, raising=False)
    module = importlib.import_module(full)
    monkeypatch.setitem(sys.modules, full, module)
    return module


@pytest.fixture
def track(monkeypatch):
    """The track of the page among the others."""
    from abaw import tracks

    one = eval(CODE["platform/abaw/tracks.py"], dict(vars(tracks)))
    monkeypatch.setitem(tracks.TRACKS, one.name, one)
    return one


def test_the_page_has_all_of_them_and_each_is_short():
    assert list(CODE) == [
        "platform/abaw/tracks.py",
        "tests/abaw/test_tracks.py",
        "platform/abaw/data/rafdb.py",
        "experiments/prepare.py",
        "platform/abaw/systems/linear_probe.py",
        "experiments/linear_probe.py",
    ]

    def lines(*names):
        return sum(bool(line.strip()) for name in names for line in CODE[name].splitlines())

    assert lines("platform/abaw/tracks.py", "tests/abaw/test_tracks.py") < LINES
    assert lines("platform/abaw/data/rafdb.py", "experiments/prepare.py") < LINES
    assert lines("platform/abaw/systems/linear_probe.py") < LINES
    assert lines("experiments/linear_probe.py") < LINES


@pytest.mark.parametrize("name", [name for name in CODE if not name.endswith("tracks.py")])
def test_the_lines_pass_make_check(name):
    """A module as it is, a class with the file that it goes into."""
    there = (ROOT / name).read_text() if (ROOT / name).exists() else ""
    command = [sys.executable, "-m", "ruff", "check", "--extend-ignore", "E402,I001", "--stdin-filename", name, "-"]
    done = subprocess.run(command, cwd=ROOT, input=there + CODE[name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_track_has_its_file_and_its_score(track, monkeypatch):
    spec = importlib.util.spec_from_file_location("test_tracks_of_page", ROOT / "tests" / "abaw" / "test_tracks.py")
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    row = eval(CODE["tests/abaw/test_tracks.py"])
    tests.test_submission_file_and_score_of_each_track(*row)
    monkeypatch.setattr(tests, "FILES", [*tests.FILES, row])
    tests.test_every_track_has_a_row_here()
    tests.test_label_columns_and_sentinels_of_the_annotation_files()
    tests.test_no_sentinel_is_a_valid_label()
    tests.test_a_decision_is_a_valid_label_and_float64()
    decided, every = np.array([[0.0], [6.0]]), np.ones(2, dtype=bool)
    assert score(track, {"expr": decided}, {"expr": decided}, {"expr": every})["top1"] == 1.0


def test_the_source_gives_frames_with_labels_and_says_what_it_leaves_out(track, tmp_path, monkeypatch):
    from abaw import data
    from experiments import prepare

    module = written("platform/abaw/data/rafdb.py", tmp_path, monkeypatch, data)
    names = dict(vars(prepare)) | {"read_rafdb": module.read_rafdb}
    exec(CODE["experiments/prepare.py"], names)
    root = tmp_path / "RAF-DB"
    (root / "EmoLabel").mkdir(parents=True)
    listed = ["train_00001.jpg 5", "train_00002.jpg 8", "test_0001.jpg 1", ""]
    (root / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(listed))
    options = tyro.cli(names["RafDb"], args=[str(root), str(tmp_path / "shards"), "--slots", "2"])
    found = options.read()
    assert (options.output.slots, found.track) == (2, "rafdb")
    rows = found.frames.select("video", "frame", "split", "expression").rows()
    assert sorted(rows) == [("Image/aligned/test", 1, "test", 0), ("Image/aligned/train", 1, "train", 4)]
    assert Path(found.frames["path"][0]).resolve() == (root / "Image" / "aligned" / "test_0001_aligned.jpg").resolve()
    assert [(Path(path).name, reason) for path, reason in found.drops.rows()] == [
        ("list_patition_label.txt:2", "is not such as: train_00001.jpg 5")
    ]


def test_the_system_learns_and_the_recipe_is_one(tmp_path, monkeypatch):
    import experiments
    from abaw import systems
    from experiments import catalogue
    from experiments.line import Line

    probe = written("platform/abaw/systems/linear_probe.py", tmp_path, monkeypatch, systems).LinearProbe
    assert system_configs()["LinearProbe"] is probe
    small = probe(encoder=VitConfig(size="micro", image_size=32, patch_size=8))
    torch.manual_seed(0)
    system = rebuild(probe, {"encoder": {"size": "micro", "image_size": 32, "patch_size": 8}}).build()
    assert small.build().size == system.size == 32
    batch = {
        "image": torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8),
        "va": torch.rand(8, 2),
        "va_mask": torch.ones(8, dtype=torch.bool),
        "expression": torch.arange(8),
        "expression_mask": torch.ones(8, dtype=torch.bool),
        "au": torch.randint(0, 2, (8, 12)).float(),
        "au_mask": torch.ones(8, 12, dtype=torch.bool),
    }
    optimiser = torch.optim.SGD([one for one in system.parameters() if one.requires_grad], lr=0.1)
    losses = []
    for _ in range(30):
        loss = torch.stack(list(system(batch, torch.Generator()).values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert {name: tuple(one.shape) for name, one in system.predict(batch).items()} == {
        "va": (8, 2),
        "expr": (8, 8),
        "au": (8, 12),
    }

    own = tmp_path / "recipes"
    own.mkdir()
    module = written("experiments/linear_probe.py", own, monkeypatch, experiments)
    assert catalogue.recipes_of(str(own / "linear_probe.py")) == {
        "linear_probe": "What the demo's pre-training alone is worth."
    }
    made = module.linear_probe()
    parsed = tyro.cli(probe, default=made.system, args=["--encoder.drop-path", "0.1"])
    stages = Line(replace(made, system=parsed), tmp_path / "runs").stages()
    assert [stage.name for stage in stages if stage.name.startswith("finetune")] == [
        "finetune/pretrained/fold-0",
        "finetune/pretrained/fold-1",
    ]
