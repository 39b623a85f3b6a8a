"""A feature cache gives windows as shards do, with features for images, in half precision."""

import numpy as np
import polars as pl
import pytest
import torch

from abaw.data.batches import batches, evaluation_batches
from abaw.data.features import (
    FeatureManifest,
    FeatureSource,
    feature_file,
    is_made_of,
    read_feature_manifest,
    write_feature_file,
    write_feature_manifest,
)
from abaw.data.frames import frame_table
from abaw.data.sampling import OUTSIDE, Sampling
from abaw.problems import BadInput

WIDTH = 5


def rows_of(video, frames, split):
    """A video's rows of the frame table: every third frame has no valence."""
    rows = [
        {"video": video, "frame": frame, "path": "", "valence": None if frame % 3 == 0 else 0.5, "arousal": -0.25}
        for frame in frames
    ]
    return frame_table(pl.DataFrame(rows).with_columns(split=pl.lit(split))).drop("path")


VIDEOS = {
    "a": rows_of("a", [1, 2, 4, 7, 8, 30], "train"),
    "b": rows_of("b", range(1, 10), "validation"),
    "t": rows_of("t", [5], "test"),
}
FEATURES = {
    name: np.random.default_rng(len(name) + table.height).normal(size=(table.height, WIDTH)).astype(np.float32)
    for name, table in VIDEOS.items()
}


@pytest.fixture
def cache(tmp_path):
    """A cache of three videos."""
    folder = tmp_path / "cache"
    for k, (name, table) in enumerate(VIDEOS.items()):
        write_feature_file(FEATURES[name], table, folder / f"videos/{k}.parquet", "these")
    files = tuple(feature_file(folder, f"videos/{k}.parquet", name) for k, name in enumerate(VIDEOS))
    write_feature_manifest(folder, FeatureManifest(features=WIDTH, system="MultiTask", made_of={}, files=files))
    return folder


def test_a_window_holds_features_true_frame_numbers_labels_and_a_mask(cache):
    source = FeatureSource(cache)
    assert len(source) == 16
    assert source.labels()["video"].to_pylist() == ["a"] * 6 + ["b"] * 9 + ["t"]
    batch = source.batch(np.array([[OUTSIDE, 0, 1, 2, 3], [6, 7, 8, 9, 10], [15, OUTSIDE, OUTSIDE, OUTSIDE, OUTSIDE]]))
    assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items()} == {
        "feature": ((3, 5, WIDTH), torch.float32),
        "va": ((3, 5, 2), torch.float32),
        "va_mask": ((3, 5), torch.bool),
        "expression": ((3, 5), torch.int64),
        "expression_mask": ((3, 5), torch.bool),
        "au": ((3, 5, 12), torch.float32),
        "au_mask": ((3, 5, 12), torch.bool),
        "frame": ((3, 5), torch.int64),
        "index": ((3, 5), torch.int64),
        "mask": ((3, 5), torch.bool),
    }
    assert batch["frame"][0].tolist() == [1, 1, 2, 4, 7]
    assert batch["mask"].sum(dim=1).tolist() == [4, 5, 1]
    assert batch["va_mask"].tolist() == [
        [False, True, True, True, True],
        [True, True, False, True, True],
        [True] + [False] * 4,
    ]
    assert torch.equal(batch["feature"][0, 1:], torch.from_numpy(FEATURES["a"][:4].astype(np.float16)).float())
    one = source.batch(np.array([15, 6]))
    assert torch.equal(one["feature"][0], torch.from_numpy(FEATURES["t"][0].astype(np.float16)).float())


def test_videos_and_splits_are_chosen_as_of_shards(cache):
    assert set(FeatureSource(cache, videos=["b"]).table["video"]) == {"b"}
    assert set(FeatureSource(cache, splits=["train", "test"]).table["video"]) == {"a", "t"}
    only_b = FeatureSource(cache, videos=["b"]).batch(np.arange(9))["feature"]
    assert torch.equal(only_b, torch.from_numpy(FEATURES["b"].astype(np.float16)).float())
    with pytest.raises(BadInput, match="holds no video z; 1 of 1 are missing"):
        FeatureSource(cache, videos=["z"])


def test_training_and_evaluation_see_every_frame_in_windows(cache):
    source, sampling = FeatureSource(cache), Sampling(window=4)
    evaluated = evaluation_batches(source, batch=2, rank=0, world=1, sampling=sampling)
    seen = [batch["index"][batch["mask"]] for batch in evaluated]
    assert torch.cat(seen).tolist() == list(range(16))
    drawn = list(batches(source, global_batch=1, rank=0, world=1, seed=0, epoch=0, sampling=sampling))
    assert all(batch["feature"].shape == (1, 4, WIDTH) for batch in drawn)
    assert all(len(set(source.table["video"].gather(batch["index"].flatten().numpy()))) == 1 for batch in drawn)


def test_what_float16_cannot_hold_is_refused_with_its_frame(tmp_path):
    features = FEATURES["a"].copy()
    features[3, 2] = 1e6
    with pytest.raises(ValueError, match="a, frame 7: a feature is no number or too large; expected at most 65504"):
        write_feature_file(features, VIDEOS["a"], tmp_path / "a.parquet", "these")
    assert not list(tmp_path.iterdir())


def test_a_file_knows_what_it_was_made_of_and_a_damaged_one_is_told(cache):
    path = cache / "videos" / "0.parquet"
    assert is_made_of(path, "these")
    assert not is_made_of(path, "those")
    path.write_bytes(path.read_bytes()[:-10])
    assert not is_made_of(path, "these")
    with pytest.raises(BadInput, match=r"0\.parquet: missing or not of \d+ bytes; write the cache again"):
        FeatureSource(cache)


def test_a_folder_that_is_no_cache_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no manifest: this is no feature cache, or an unfinished one"):
        read_feature_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema_version": 2, "files": []}')
    with pytest.raises(BadInput, match="is not of a feature cache of schema version 1"):
        read_feature_manifest(tmp_path)
    for damaged in ('{"schema_version": 1, "features"', '{"schema_version": 1, "features": 2}'):
        (tmp_path / "manifest.json").write_text(damaged)
        with pytest.raises(BadInput, match=r"manifest\.json: is damaged: .*; write the cache again"):
            read_feature_manifest(tmp_path)
