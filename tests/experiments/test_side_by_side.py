"""Trainings that do not need each other run in worker groups side by side; one that fails stops only what needs it."""

import numpy as np
import polars as pl
import pytest
import simplejpeg

from abaw import runs
from abaw.data.frames import frame_table
from abaw.data.shards import write_shards
from abaw.models.mae import MaeConfig
from abaw.models.vit import VitConfig
from abaw.problems import BadInput
from abaw.systems.mae import MaePretraining
from abaw.training.job import Frames, TrainingJob
from abaw.training.optimisation import Optimisation
from abaw.training.resources import Resources
from experiments.progress import Progress
from experiments.stages import Stage, independent, run_stages

MAE = MaeConfig(
    encoder=VitConfig(size="micro", image_size=32), decoder_width=32, decoder_depth=1, decoder_heads=4, mask_ratio=0.5
)


@pytest.fixture
def shards(local_ray, tmp_path):
    """One video of 16 frames."""
    rng, rows = np.random.default_rng(0), []
    for frame in range(1, 17):
        path = tmp_path / f"{frame}.jpg"
        path.write_bytes(simplejpeg.encode_jpeg(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)))
        rows.append({"video": "one", "frame": frame, "path": str(path), "split": "unlabelled"})
    write_shards(frame_table(pl.DataFrame(rows)), tmp_path / "shards")
    return tmp_path / "shards"


def training(name, shards, *, batch_size=8, inputs=()):
    optimisation = Optimisation(epochs=1, warmup_epochs=0, batch_size=batch_size, micro_batch=4)

    def job(folder):
        return TrainingJob(
            name=name,
            folder=folder,
            system=MaePretraining(mae=MAE),
            optimisation=optimisation,
            seed=0,
            train=Frames(shards=shards),
        )

    return Stage(name=name, config=[optimisation], inputs=inputs, job=job)


def action(name, *inputs):
    return Stage(name=name, config={}, inputs=inputs, action=lambda folder: {})


def test_trainings_that_need_each_other_are_in_different_waves(tmp_path):
    first = training("first", tmp_path)
    second = training("second", tmp_path, inputs=(first,))
    other = training("other", tmp_path)
    third = training("third", tmp_path, inputs=(second, other))
    waves = independent([first, second, other, third])
    assert [[stage.name for stage in wave] for wave in waves] == [["first", "other"], ["second"], ["third"]]


@pytest.mark.slow
def test_a_fold_that_fails_does_not_stop_the_others_and_is_named(shards, tmp_path, capsys):
    good, broken = training("fold-0", shards), training("fold-1", shards, batch_size=1024)
    later, kept, lost = training("later", shards, inputs=(good,)), action("kept", good), action("lost", broken)
    root, resources = tmp_path / "run", Resources(workers=1)
    with pytest.raises(BadInput) as raised:
        run_stages([good, broken, later, kept, lost], root=root, resources=resources, progress=Progress())
    failed, waiting = raised.value.problems
    assert failed.path == str(broken.folder(root).absolute())
    assert failed.message.startswith("fold-1 failed: an epoch takes 16 of the 16 frames")
    assert waiting.message == "1 stage(s) that need them did not run: lost"
    assert [runs.is_complete(stage.folder(root)) for stage in (good, later, kept)] == [True] * 3
    assert not lost.folder(root).exists()
    printed = capsys.readouterr().err
    assert "2 training(s) in 2 group(s) of 1 workers of 0.5 CPUs each: starting" in printed
    assert "batch 8 = 1 worker(s) x 4 x 2 accumulated" in printed
