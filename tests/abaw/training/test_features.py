"""A feature cache holds what its network says, is written once, and is what a temporal head trains on."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from abaw import runs
from abaw.data.augment import Augmentation, views_of
from abaw.data.batches import FrameSource
from abaw.data.features import FeatureSource, read_feature_manifest
from abaw.data.sampling import Sampling
from abaw.predictions import read_predictions
from abaw.problems import BadInput
from abaw.systems.temporal import Temporal
from abaw.tracks import get_track
from abaw.training import features
from abaw.training.features import Extractor, write_features
from abaw.training.job import Frames
from abaw.training.loop import Training, run_job
from abaw.training.resources import Resources
from abaw.training.trained import read_trained
from abaw.training.workers import Worker

SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def trained(shards, make_job, tmp_path_factory):
    """A finished fine-tuning whose predictions average over mirror images."""
    job = make_job(
        shards, tmp_path_factory.mktemp("features") / "run", epochs=2, augmentation=Augmentation(views="flip")
    )
    run_job(job, Worker())
    return job.folder


@pytest.fixture(scope="module")
def cache(trained, shards, tmp_path_factory):
    """Its features of all videos."""
    out = tmp_path_factory.mktemp("cache") / "cache"
    write_features(trained, shards, out, splits=SPLITS, resources=Resources())
    return out


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_cache_holds_the_features_that_the_network_gives(trained, shards, cache):
    source, cached = FrameSource(shards), FeatureSource(cache)
    assert cached.table.equals(source.table), "labels and splits travel with the features"
    network, rows = read_trained(trained), np.arange(len(source))
    views = views_of(source.batch(rows)["image"], network.augmentation)
    with torch.no_grad():
        direct = torch.stack([network.system.features({"image": view}) for view in views]).mean(dim=0)
    assert len(views) == 2
    assert torch.allclose(cached.batch(rows)["feature"], direct, rtol=2**-11, atol=1e-5)
    logits = network.system.heads(cached.batch(rows)["feature"])
    one_view = network.system.heads(network.system.features(source.batch(rows)))
    assert {name: value.shape for name, value in logits.items()} == {
        name: value.shape for name, value in one_view.items()
    }
    manifest = read_feature_manifest(cache)
    assert (manifest.features, manifest.system, len(manifest.files)) == (96, "MultiTask", 7)
    assert [file.frames for file in manifest.files] == [24] * 7
    stored = pl.read_parquet(cache / manifest.files[0].path)
    assert stored["frame"].is_sorted()


def test_a_resumed_cache_is_that_of_an_uninterrupted_run(trained, shards, cache, tmp_path, monkeypatch):
    whole = contents(cache)
    out = tmp_path / "cache"
    extractor = Extractor(
        run=trained, shards=shards, out=out, splits=SPLITS, made_of="something else", resources=Resources()
    )
    extractor({"path": "videos/00002.parquet", "video": "video1"})
    for name in ("videos/00000.parquet", "videos/00001.parquet"):
        (out / name).write_bytes((cache / name).read_bytes())
    (out / "videos" / "00001.parquet").write_bytes(b"PAR1 damaged")
    before = (out / "videos" / "00000.parquet").stat().st_mtime_ns
    (out / "notes.txt").write_text("someone's")
    with pytest.raises(BadInput, match=r"it holds notes\.txt, which this command does not write or replace"):
        write_features(trained, shards, out, splits=SPLITS, resources=Resources())
    (out / "notes.txt").unlink()
    write_features(trained, shards, out, splits=SPLITS, resources=Resources())
    written = {name: content for name, content in contents(out).items() if name.suffix != ".npy"}
    assert written == {name: content for name, content in whole.items() if name.suffix != ".npy"}
    assert (out / "videos" / "00000.parquet").stat().st_mtime_ns == before
    monkeypatch.setattr(features, "Extractor", None)
    write_features(trained, shards, out, splits=SPLITS, resources=Resources())


def test_shards_without_such_frames_are_refused(trained, shards, tmp_path):
    with pytest.raises(BadInput, match="holds no frame of the splits unlabelled; expected one or more"):
        write_features(trained, shards, tmp_path / "cache", splits=("unlabelled",), resources=Resources())


def test_a_system_without_features_says_so(shards, trained, tmp_path):
    extractor = Extractor(run=trained, shards=shards, out=tmp_path, splits=SPLITS, made_of="", resources=Resources())
    extractor.system = Temporal(features=3).build()
    with pytest.raises(ValueError, match="TemporalSystem gives no feature of a frame; choose a system that does"):
        extractor({"path": "videos/00000.parquet", "video": "video1"})


@pytest.fixture
def head(make_job, shards, cache, tmp_path):
    """The training of a temporal head on four videos that holds two out and predicts the test video."""
    job = make_job(shards, tmp_path / "head", epochs=10, batch_size=4, lr=5e-3, sampling=Sampling(window=8, stride=4))
    frames = {
        name: replace(value, features=cache) for name, value in (("train", job.train), ("held_out", job.held_out))
    }
    predict = {"test": replace(job.predict["test"], features=cache)}
    return replace(job, system=Temporal(features=96, width=32, depth=2), predict=predict, **frames)


@pytest.mark.parametrize("kind", ["transformer", "tcn"])
def test_a_head_trains_on_windows_of_features_and_predicts_every_frame(head, kind):
    run_job(replace(head, system=replace(head.system, kind=kind)), Worker())
    mtl, result = get_track("mtl"), runs.read_result(head.folder)
    assert result["metrics"]["S_VA"] > 0.5
    assert result["training_frames"] == 96
    held_out = read_predictions(head.folder / "predictions" / "held_out.parquet", mtl)
    assert held_out["frame"].to_pylist() == [*range(1, 25)] * 2
    assert read_predictions(head.folder / "predictions" / "test.parquet", mtl).num_rows == 24


def test_a_window_larger_than_a_batch_of_evaluation_is_predicted(head):
    settings = replace(head.optimisation, epochs=1, batch_size=1, sampling=Sampling(window=300))
    run_job(replace(head, optimisation=settings), Worker())
    assert runs.read_result(head.folder)["frames"] == 48


def test_windows_for_frames_and_frames_for_windows_are_refused(head, make_job, shards, tmp_path):
    no_window = replace(head, optimisation=replace(head.optimisation, sampling=Sampling()))
    with pytest.raises(ValueError, match=r"takes windows of frames; give sampling\.window, such as 300"):
        Training(no_window, Worker())
    with pytest.raises(ValueError, match="takes features of frames; give a feature cache"):
        Training(replace(head, train=Frames(shards=shards)), Worker())
    frames = make_job(shards, tmp_path / "frames")
    with pytest.raises(ValueError, match="takes images; give no feature cache"):
        Training(replace(frames, train=head.train), Worker())
