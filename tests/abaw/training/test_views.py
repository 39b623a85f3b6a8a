"""A prediction is the mean over the views that the job's augmentation asks for; training and inference share it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from abaw.data.augment import Augmentation, views_of
from abaw.data.batches import FrameSource
from abaw.predictions import read_predictions
from abaw.tracks import get_track
from abaw.training.evaluation import predict
from abaw.training.loop import run_job
from abaw.training.workers import Worker

MTL = get_track("mtl")


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(resize=36, crop=32, views="ten")])
def test_a_prediction_is_the_mean_over_the_views(shards, make_job, tmp_path, augmentation):
    torch.manual_seed(0)
    system = make_job(shards, tmp_path).system.build().eval()
    source = FrameSource(shards, videos=["video0"])
    index, columns = predict(system, source, track=MTL, worker=Worker(), augmentation=augmentation)
    views = views_of(source.batch(index)["image"], augmentation)
    with torch.no_grad():
        parts = [system.predict({"image": view}) for view in views]
    for task in MTL.tasks:
        mean = np.mean([part[task.name].numpy() for part in parts], axis=0)
        ours = np.stack([columns[name].to_numpy() for name in task.columns], axis=1)
        np.testing.assert_allclose(ours, mean, atol=1e-6)


def test_a_job_trains_and_predicts_with_its_augmentation(shards, make_job, tmp_path):
    plain = make_job(shards, tmp_path / "plain", epochs=1)
    settings = replace(
        plain.optimisation,
        augmentation=Augmentation(resize=36, crop=32, rand_augment=9.0, erase=0.25, saturation=0.3, views="flip"),
    )
    job = replace(plain, folder=tmp_path / "augmented", optimisation=settings)
    run_job(job, Worker())
    assert read_predictions(job.folder / "predictions" / "held_out.parquet", MTL).num_rows == 48
