"""`abaw export` of a temporal head: windows of features give the run's own predictions, and the card says whose."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import simplejpeg
import torch
from safetensors import safe_open
from torch import nn

from abaw.data.augment import Augmentation
from abaw.data.batches import evaluation_batches
from abaw.data.features import FeatureSource
from abaw.data.frames import frame_table
from abaw.data.sampling import Sampling
from abaw.data.shards import write_shards
from abaw.models.vit import VitConfig
from abaw.predictions import read_predictions
from abaw.problems import BadInput
from abaw.systems.multitask import MultiTask
from abaw.systems.temporal import Temporal
from abaw.tracks import AU, get_track
from abaw.training.features import write_features
from abaw.training.job import Frames, TrainingJob
from abaw.training.loop import run_job
from abaw.training.optimisation import Optimisation
from abaw.training.resources import Resources
from abaw.training.trained import read_trained
from abaw.training.workers import Worker
from experiments.cli import run
from experiments.export import export_run
from experiments.recording import WindowPredictor, Windows, write_script

MTL = get_track("mtl")
VIDEOS = ("person-one", "person-two", "person-three", "person-four")
FEATURES, WINDOW, FRAMES = 96, 8, 19
KINDS = ("transformer", "tcn")


@pytest.fixture(scope="module")
def trained(local_ray, tmp_path_factory):
    """Folders: of trained heads by kind, of their features' network, and of these. Brightness tells the labels."""
    folder, rng = tmp_path_factory.mktemp("windows"), np.random.default_rng(0)
    rows = []
    for video in VIDEOS:
        for frame in np.sort(rng.permutation(60)[:FRAMES] + 1).tolist():
            path = folder / f"{video}-{frame}.jpg"
            level = rng.random()
            pixels = np.clip(rng.normal(level * 255, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
            path.write_bytes(simplejpeg.encode_jpeg(pixels))
            labels = {"valence": level * 2 - 1, "arousal": 1 - level * 2, "expression": int(level > 0.5) * 4}
            labels |= dict.fromkeys(AU.columns, int(level > 0.5))
            rows.append({"video": video, "frame": frame, "path": str(path), "split": "train", **labels})
    shards, cache = folder / "shards", folder / "features"
    write_shards(frame_table(pl.DataFrame(rows)), shards, slots=2)
    network = TrainingJob(
        name="finetune/fold-1",
        folder=folder / "finetune-fold-1-0123456789ab",
        system=MultiTask(encoder=VitConfig(size="micro", image_size=32, stem="conv")),
        optimisation=Optimisation(epochs=1, batch_size=8, augmentation=Augmentation(views="flip")),
        seed=0,
        train=Frames(shards=shards, videos=VIDEOS[:2]),
        held_out=Frames(shards=shards, videos=VIDEOS[2:]),
        track="mtl",
        fold=1,
    )
    run_job(network, Worker())
    write_features(network.folder, shards, cache, splits=("train",), resources=Resources())
    heads = {}
    for kind in KINDS:
        head = replace(
            network,
            name=f"temporal/{kind}/fold-1",
            folder=folder / f"temporal-{kind}-fold-1-0123456789ab",
            system=Temporal(kind=kind, features=FEATURES, width=32, depth=2),
            optimisation=Optimisation(epochs=10, batch_size=2, lr=5e-3, sampling=Sampling(window=WINDOW, stride=4)),
            train=replace(network.train, features=cache),
            held_out=replace(network.held_out, features=cache),
        )
        run_job(head, Worker())
        heads[kind] = head.folder
    return heads, network.folder, cache


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The folders of exports by kind."""
    out = tmp_path_factory.mktemp("out")
    assert all(run(["export", str(trained[0][kind]), str(out / kind)]) == 0 for kind in KINDS)
    return {kind: out / kind for kind in KINDS}


def windows(trained):
    """The held-out windows that the run predicted, as one batch of three a video."""
    source = FeatureSource(trained[2], videos=VIDEOS[2:])
    (batch,) = evaluation_batches(source, batch=6, sampling=Sampling(window=WINDOW), rank=0, world=1)
    assert batch["mask"].sum(dim=1).tolist() == [8, 8, 3] * 2
    assert (batch["frame"].diff(dim=1)[batch["mask"][:, 1:]] > 1).any(), "with gaps"
    return batch["feature"], batch["frame"], batch["mask"]


@pytest.mark.parametrize("kind", KINDS)
def test_torchscript_gives_the_predictions_that_the_run_wrote(trained, exported, kind):
    written = read_predictions(trained[0][kind] / "predictions" / "held_out.parquet", MTL)
    feature, frame, mask = windows(trained)
    model = torch.jit.load(exported[kind] / "model.pt")
    predicted = model(feature, frame, mask)
    assert written["frame"].to_pylist() == frame[mask].tolist()
    assert set(predicted) == {"va", "expr", "au"}
    for task in MTL.tasks:
        theirs = np.stack([written[column].to_numpy() for column in task.columns], axis=1)
        assert predicted[task.name].shape == (6, WINDOW, len(task.columns))
        assert np.abs(predicted[task.name][mask].numpy() - theirs).max() < 1e-5
        assert np.ptp(theirs, axis=0).max() > 1e-2, "predictions that differ from frame to frame"
    last = model(feature[2:3, :3], frame[2:3, :3], mask[2:3, :3])
    assert all((last[name] - predicted[name][2:3, :3]).abs().max() < 1e-5 for name in last), "shorter as padded"
    feature[~mask], frame[~mask] = torch.nan, -7
    anything = model(feature, frame, mask)
    assert all(torch.equal(anything[name][mask], predicted[name][mask]) for name in anything)


@pytest.mark.parametrize("kind", KINDS)
def test_torchscript_has_gradients_and_no_private_operation(trained, exported, kind):
    feature, frame, mask = windows(trained)
    model = torch.jit.load(exported[kind] / "model.pt")
    torch.stack(
        [value[mask].square().sum() for value in model(feature.requires_grad_(True), frame, mask).values()]
    ).sum().backward()
    assert (feature.grad[mask].abs().sum(dim=-1) > 0).all()
    assert "aten::_transformer" not in str(model.inlined_graph)
    assert torch.backends.mha.get_fastpath_enabled(), "as before the export"


def test_torchscript_refuses_other_types_sizes_and_orders(trained, exported):
    feature, frame, mask = windows(trained)
    model = torch.jit.load(exported["transformer"] / "model.pt")
    shapes = r"expected feature float32 \(B, T, 96\), frame int64 \(B, T\) and mask bool \(B, T\)"
    longer = [torch.cat([one, one], dim=1) for one in (feature, frame, mask)]
    cases = [
        ((feature.half(), frame, mask), shapes),
        ((feature, frame.int(), mask), shapes),
        ((feature, frame, mask.float()), shapes),
        ((feature[..., 1:], frame, mask), shapes),
        ((feature, frame[:, 1:], mask), shapes),
        ((feature, frame, mask[1:]), shapes),
        ((feature[0], frame[0], mask[0]), shapes),
        (longer, "windows have 16 places; expected 1 to 8, as in training"),
        ((feature[:, :0], frame[:, :0], mask[:, :0]), "windows have 0 places; expected 1 to 8"),
        ((feature, frame.flip(1), mask), "frame must rise from place to place"),
        ((feature, torch.zeros_like(frame), mask), "frame must rise from place to place"),
    ]
    for given, told in cases:
        with pytest.raises(torch.jit.Error, match=told):
            model(*given)


def test_the_card_and_the_weights_say_whose_features_they_are(trained, exported):
    heads, network, _ = trained
    sha256 = hashlib.sha256((network / "checkpoints" / "final.safetensors").read_bytes()).hexdigest()
    card = (exported["tcn"] / "README.md").read_text()
    assert "`feature` float32 (B, T, 96), `frame` int64 (B, T)\n  and `mask` bool (B, T), any B, T from 1 to 8" in card
    assert "On 8 random windows with gaps and padding it differs from the network by at most" in card
    assert 'torch.jit.load("model.pt")(feature, frame, mask)' in card
    assert f"| `expr` (B, T, 8) | {', '.join(MTL.task('expr').columns)} | probabilities" in card
    assert "- `feature`: 96 values a frame, what one network of the system `MultiTask` saw" in card
    assert f"`checkpoints/final.safetensors` has the sha256\n  `{sha256}`" in card
    assert "The mean of each image and its mirror image." in card
    assert "round to float16, then convert to float32" in card
    assert "`frame`: the number of each frame in its video" in card
    assert "Windows hold up to 8 frames of one video" in card
    assert "The network that wrote the features expects images that were made like these" in card
    assert "- size: 32" in card
    assert "size: micro" in card, "the settings of the network behind the features"
    assert "kind: tcn" in card
    assert "by `init`" not in card, "a head starts from nothing"
    assert str(network.parent) not in card, "no path of the machine that trained"
    with safe_open(exported["tcn"] / "model.safetensors", framework="pt") as file:
        about = file.metadata()
        assert set(file.keys()) == set(read_trained(heads["tcn"]).system.state_dict())
    assert (about["features_of"], about["features_weights_sha256"]) == ("MultiTask", sha256)
    assert json.loads(about["config"])["features"] == FEATURES


def test_neither_features_nor_names_of_videos_are_in_the_files(trained, exported):
    written = b"".join(path.read_bytes() for folder in exported.values() for path in folder.iterdir())
    assert not any(video.encode() in written for video in VIDEOS)
    feature, _, mask = windows(trained)
    rows = [row[:16].numpy() for row in feature[mask]]
    assert len(rows) == 2 * FRAMES
    assert not any(row.astype(kind).tobytes() in written for row in rows for kind in ("<f2", "<f4"))


def test_without_its_feature_cache_a_head_is_refused(trained, tmp_path):
    head, cache = trained[0]["tcn"], trained[2]
    cache.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(BadInput, match=f"{cache}/manifest.json: no manifest: this is no feature cache"):
            export_run(head, tmp_path / "out")
    finally:
        (tmp_path / "elsewhere").rename(cache)
    assert not (tmp_path / "out").exists()


def test_a_form_that_is_right_for_one_length_of_windows_is_not_kept(tmp_path):
    class ByLength(nn.Module):
        """Chooses by the number of places, which a recording does not see."""

        def forward(self, feature, frame, mask):
            mean = feature.mean(dim=-1, keepdim=True)
            return {"va": mean if feature.shape[1] == WINDOW else -mean}

    form = Windows(features=4, window=WINDOW)
    with pytest.raises(BadInput, match=r"TorchScript differs from the network by \d\.\de[-+]\d+, allowed are 1e-05"):
        write_script(ByLength(), tmp_path / "model.pt", form)
    other = WindowPredictor(Temporal(features=5, width=16).build().eval())
    with pytest.raises(BadInput, match="features have 4 values, this system takes 5; give the cache that it was train"):
        write_script(other, tmp_path / "model.pt", form)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("track", "window"), [("va", 1), ("emo135", 2), ("expr", 50)])
def test_heads_of_every_length_and_track_are_recorded(track, window, tmp_path):
    for kind in KINDS:
        system = Temporal(track=track, kind=kind, features=7, width=16, depth=2).build().eval()
        assert write_script(WindowPredictor(system), tmp_path / "model.pt", Windows(features=7, window=window)) <= 1e-5
