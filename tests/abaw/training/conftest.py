"""Tiny shards that a network can learn something from."""

import numpy as np
import polars as pl
import pytest
import simplejpeg

from abaw.data.frames import frame_table
from abaw.data.shards import write_shards
from abaw.models.vit import VitConfig
from abaw.systems.multitask import MultiTask
from abaw.tracks import AU
from abaw.training.job import Frames, TrainingJob
from abaw.training.optimisation import Optimisation

VIDEOS = [f"video{k}" for k in range(6)]
FRAMES = 24


@pytest.fixture(scope="session")
def shards(local_ray, tmp_path_factory):
    """Six labelled videos and a test video of 24 frames; brightness tells the labels. Some labels are missing."""
    folder, rng = tmp_path_factory.mktemp("training"), np.random.default_rng(0)
    rows = []
    for video in [*VIDEOS, "test0"]:
        for frame in range(1, FRAMES + 1):
            level = rng.random()
            pixels = np.clip(rng.normal(level * 255, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            path = folder / f"{video}-{frame}.jpg"
            path.write_bytes(simplejpeg.encode_jpeg(pixels))
            labels = {"valence": level * 2 - 1, "arousal": 1 - level * 2, "expression": int(level > 0.5) * 4}
            labels |= dict.fromkeys(AU.columns, int(level > 0.5))
            missing = {"expression": None} if frame % 5 == 0 else {"valence": None} if frame % 7 == 0 else {}
            split = "test" if video == "test0" else "train"
            rows.append({"video": video, "frame": frame, "path": str(path), "split": split, **labels, **missing})
    write_shards(frame_table(pl.DataFrame(rows)), folder / "shards", slots=2)
    return folder / "shards"


@pytest.fixture(scope="session")
def make_job():
    """A fine-tuning of four videos that holds two out and predicts the test video."""
    return _make_job


def _make_job(shards, folder, **optimisation):
    settings = {"epochs": 3, "warmup_epochs": 1, "batch_size": 16, "lr": 1e-3, "ema_decay": 0.9, "clip_norm": 1.0}
    return TrainingJob(
        name="finetune/fold-0",
        folder=folder,
        system=MultiTask(encoder=VitConfig(size="micro", image_size=32, drop_path=0.1)),
        optimisation=Optimisation(**{**settings, **optimisation}),
        seed=0,
        train=Frames(shards=shards, videos=("video0", "video1", "video2", "video3")),
        held_out=Frames(shards=shards, videos=("video4", "video5")),
        predict={"test": Frames(shards=shards, splits=("test",))},
        track="mtl",
        fold=0,
    )
