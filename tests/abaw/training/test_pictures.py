"""A pre-training leaves pictures of what it learnt; one that predicts leaves predictions."""

from dataclasses import replace

import numpy as np
from PIL import Image

from abaw.models.mae import MaeConfig
from abaw.models.vit import VitConfig
from abaw.systems.mae import MaePretraining
from abaw.training.job import Frames
from abaw.training.loop import PICTURES, run_job
from abaw.training.workers import Worker

MICRO = MaeConfig(encoder=VitConfig(size="micro", image_size=32), decoder_width=32, decoder_depth=1, decoder_heads=4)


def test_a_masked_autoencoder_leaves_faces_as_they_are_hidden_and_rebuilt(shards, make_job, tmp_path):
    supervised = make_job(shards, tmp_path / "pretrain", epochs=1)
    job = replace(
        supervised, system=MaePretraining(mae=MICRO), held_out=None, predict={}, track=None, train=Frames(shards=shards)
    )
    run_job(job, Worker())
    pixels = np.asarray(Image.open(job.folder / "pictures.png")).reshape(PICTURES, 32, 3, 32, 3)
    faces, hidden, rebuilt = (pixels[:, :, k].astype(int) for k in range(3))
    grey = (hidden == [124, 116, 104]).all(axis=-1)
    assert grey.mean() == 0.75
    assert (np.abs(faces - rebuilt)[~grey] == 0).all()
    assert (np.abs(faces - rebuilt)[grey] > 0).mean() > 0.5
    assert len({face.tobytes() for face in faces}) == PICTURES


def test_what_predicts_leaves_no_pictures(shards, make_job, tmp_path):
    job = make_job(shards, tmp_path / "finetune", epochs=1)
    run_job(job, Worker())
    assert not (job.folder / "pictures.png").exists()
