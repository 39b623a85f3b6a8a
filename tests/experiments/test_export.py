"""`abaw export`: what it writes gives the run's own predictions, says what it is, and is refused where it cannot be."""

import json
import re
import shutil

import numpy as np
import polars as pl
import pytest
import simplejpeg
import torch
from safetensors import safe_open
from torch import nn

from abaw import runs
from abaw.data.augment import Augmentation
from abaw.data.frames import frame_table
from abaw.data.shards import open_frames, write_shards
from abaw.models.backbones import BackboneConfig
from abaw.models.vit import VitConfig
from abaw.predictions import read_predictions
from abaw.problems import BadInput
from abaw.systems.cotex import MaskedCotex
from abaw.systems.dual_view import DualView, SingleView
from abaw.systems.emma import Emma
from abaw.systems.mae import MaePretraining
from abaw.systems.multitask import MultiTask
from abaw.systems.supervised import Supervised
from abaw.tracks import AU, get_track
from abaw.training.job import Frames, TrainingJob
from abaw.training.loop import run_job
from abaw.training.optimisation import Optimisation
from abaw.training.starts import load_start
from abaw.training.trained import read_trained, rebuild, system_configs
from abaw.training.workers import Worker
from experiments.cli import run
from experiments.export import export_run
from experiments.recording import ImagePredictor, Images, write_script

MTL = get_track("mtl")
MICRO = VitConfig(size="micro", image_size=32, stem="conv")
FRAMES = 12


@pytest.fixture(scope="module")
def trained(local_ray, tmp_path_factory):
    """The folder of a finished training of two videos that held two others out, and its shards."""
    folder, rng = tmp_path_factory.mktemp("export"), np.random.default_rng(0)
    rows = []
    for video in ("a", "b", "c", "d"):
        for frame in range(1, FRAMES + 1):
            path = folder / f"{video}-{frame}.jpg"
            path.write_bytes(simplejpeg.encode_jpeg(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)))
            labels = {"valence": rng.random(), "arousal": rng.random(), "expression": int(rng.integers(8))}
            labels |= {unit: int(rng.integers(2)) for unit in AU.columns}
            rows.append({"video": video, "frame": frame, "path": str(path), "split": "train", **labels})
    write_shards(frame_table(pl.DataFrame(rows)), folder / "shards", slots=2)
    job = TrainingJob(
        name="finetune/mae/fold-1",
        folder=folder / "run" / "finetune-mae-fold-1-0123456789ab",
        system=MultiTask(encoder=MICRO, pool="spatial"),
        optimisation=Optimisation(epochs=1, batch_size=8, augmentation=Augmentation(resize=36, views="flip")),
        seed=0,
        train=Frames(shards=folder / "shards", videos=("a", "b")),
        held_out=Frames(shards=folder / "shards", videos=("c", "d")),
        track="mtl",
        fold=1,
    )
    run_job(job, Worker())
    return job.folder, folder / "shards"


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "model"
    assert run(["export", str(trained[0]), str(out)]) == 0
    return out


def test_torchscript_gives_the_predictions_that_the_run_wrote(trained, exported):
    folder, shards = trained
    written = read_predictions(folder / "predictions" / "held_out.parquet", MTL)
    frames = open_frames(shards, columns=["video", "frame", "image"], videos=["c", "d"]).to_pylist()
    images = {(row["video"], row["frame"]): simplejpeg.decode_jpeg(row["image"]) for row in frames}
    keys = zip(written["video"].to_pylist(), written["frame"].to_pylist(), strict=True)
    batch = torch.from_numpy(np.stack([images[key] for key in keys])).permute(0, 3, 1, 2)
    assert batch.shape == (2 * FRAMES, 3, 40, 40)
    predicted = torch.jit.load(exported / "model.pt")(batch)
    assert set(predicted) == {"va", "expr", "au"}
    for task in MTL.tasks:
        theirs = np.stack([written[column].to_numpy() for column in task.columns], axis=1)
        assert np.abs(predicted[task.name].numpy() - theirs).max() < 1e-5


def test_torchscript_refuses_images_of_another_size_or_type(exported):
    model = torch.jit.load(exported / "model.pt")
    for wrong in (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 3, 40, 40)):
        with pytest.raises(torch.jit.Error, match=r"images must be uint8 \(B, 3, 40, 40\)"):
            model(wrong)


def test_the_weights_say_what_they_are_and_start_another_training(trained, exported):
    with safe_open(exported / "model.safetensors", framework="pt") as file:
        about = file.metadata()
    assert rebuild(MultiTask, json.loads(about["config"])) == MultiTask(encoder=MICRO, pool="spatial")
    assert json.loads(about["columns"])["va"] == ["valence", "arousal"]
    assert (about["system"], about["track"]) == ("MultiTask", "mtl")
    assert json.loads(about["preprocessing"])["size"] == 40
    encoder = MICRO.build()
    assert load_start([encoder], str(exported / "model.safetensors")).share == 1.0
    kept = read_trained(trained[0]).system.encoder.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in encoder.state_dict().items())


def test_the_model_card_tells_scores_with_their_interval_labels_data_and_origin(trained, exported):
    result, card = runs.read_result(trained[0]), (exported / "README.md").read_text()
    low, high = result["interval"]["low"], result["interval"]["high"]
    assert f"**P_MTL {result['score']:.4f}**, 95 % interval {low:.4f} to {high:.4f} (bootstrap over videos)" in card
    assert "On 24 labelled frames of 2 videos that this training did not see (fold 1)" in card
    assert f"| S_VA | {result['metrics']['S_VA']:.4f} |" in card
    expressions = ", ".join(MTL.task("expr").columns)
    assert f"| `expr` (B, 8) | {expressions} | probabilities that sum to 1" in card
    assert "- size: 40" in card
    assert "The mean of each image and its mirror image." in card
    assert "24 frames of 2 videos, seed 0. Started from: fresh weights." in card
    assert re.search(r"Frames and labels of Aff-Wild2 .* must not be shared; weights trained on them may", card)
    assert f"config hash `{result['config_hash']}`" in card
    assert f"commit: `{result['commit'] or 'unknown'}`" in card
    assert str(trained[0].parent) not in card, "no path of the machine that trained"


def test_neither_frames_nor_labels_nor_names_of_videos_are_in_the_files(trained, exported):
    """Weights of the network and nothing else, and no piece of an image."""
    assert {path.name for path in exported.iterdir()} == {"model.safetensors", "model.pt", "README.md"}
    with safe_open(exported / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(read_trained(trained[0]).system.state_dict())
        assert not {"videos", "train", "held_out"} & {name for one in file.metadata() for name in one.split("_")}
    images = [image for path in trained[1].glob("slot=*/*.parquet") for image in pl.read_parquet(path)["image"]]
    written = b"".join(path.read_bytes() for path in exported.iterdir())
    assert len(images) == 4 * FRAMES
    assert not any(image[len(image) // 2 :][:64] in written for image in images)


def test_an_output_that_is_not_empty_is_refused(trained, exported, capsys):
    before = (exported / "README.md").read_text()
    assert run(["export", str(trained[0]), str(exported)]) == 1
    assert "is not empty; give another folder, or --overwrite" in capsys.readouterr().err
    assert run(["export", str(trained[0]), str(exported), "--overwrite"]) == 0
    assert capsys.readouterr().out.split() == [
        str(exported / name) for name in ("model.safetensors", "model.pt", "README.md")
    ]
    assert (exported / "README.md").read_text() == before


def test_what_is_no_finished_training_is_refused_with_those_that_are(trained, tmp_path, capsys):
    folder = trained[0]
    assert run(["export", str(folder.parent), str(tmp_path / "out")]) == 1
    told = f"is no finished training (result.json, config.yaml, final.safetensors); choose one of .*{folder.name}"
    assert re.search(told.replace("(", r"\(").replace(")", r"\)"), capsys.readouterr().err)
    assert run(["export", str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    assert "`abaw run` makes such folders" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def changed(trained, folder, old, new):
    """A copy of the training whose config.yaml says something else."""
    shutil.copytree(trained[0], folder)
    text = (folder / "config.yaml").read_text()
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, new, 1))
    return folder


def test_trainings_that_cannot_be_exported_say_why(trained, tmp_path):
    cases = {
        ("pool: spatial", "pooling: spatial"): r"is of another version \(.*'pooling'\); use commit",
        ("size: micro", "size: tiny"): r"is of another version \(.*size mismatch",
        ("track: mtl\ninit", "track: null\ninit"): r"learns without labels \(MultiTask\) and predicts no track",
    }
    for k, ((old, new), told) in enumerate(cases.items()):
        folder = changed(trained, tmp_path / str(k), old, new)
        with pytest.raises(BadInput, match=told):
            export_run(folder, tmp_path / "out")


@pytest.mark.parametrize(
    "config",
    [
        MultiTask(encoder=VitConfig(size="micro", image_size=32), pool="token"),
        SingleView(encoder=MICRO, regions=("eyes", "mouth")),
        DualView(encoder=MICRO),
        MaskedCotex(encoder=MICRO),
        Supervised(backbone=BackboneConfig(name="vit-micro", image_size=64)),
        Emma(encoder=MICRO, va_from="vit"),
    ],
    ids=lambda config: type(config).__name__,
)
def test_every_kind_of_system_is_recorded_exactly(config, tmp_path):
    augmentation = Augmentation(resize=36, crop=32, views="flip")
    predictor = ImagePredictor(config.build(), augmentation, get_track(config.track)).eval()
    assert write_script(predictor, tmp_path / "model.pt", Images(size=40)) <= 1e-5
    assert (tmp_path / "model.pt").is_file()


def test_a_form_with_other_numbers_is_not_kept(tmp_path):
    class ByValue(nn.Module):
        """Chooses by the number of images, which a recording does not see."""

        def forward(self, image):
            mean = image.float().mean(dim=(1, 2, 3), keepdim=True).flatten(1) / 255
            return {"va": mean if len(image) == 3 else -mean}

    class Nothing(nn.Module):
        def forward(self, image):
            return {"va": image.float().mean(dim=(1, 2, 3)) / 0 * 0}

    class Rounding(nn.Module):
        def forward(self, image):
            return {"va": image.float().mean(dim=(1, 2, 3)) * round(image.shape[-1] / 2)}

    cases = {
        ByValue(): r"TorchScript differs from the network by \d\.\de[-+]\d+, allowed are 1e-05",
        Nothing(): "TorchScript differs from the network by nan, allowed are 1e-05",
        Rounding(): "the system cannot be recorded as TorchScript: .*__round__",
    }
    for network, told in cases.items():
        with pytest.raises(BadInput, match=told):
            write_script(network, tmp_path / "model.pt", Images(size=40))
        assert list(tmp_path.iterdir()) == []


def test_the_config_of_every_system_comes_back_from_plain_values():
    configs = system_configs()
    assert {"MultiTask", "Emma", "MaskedCotex", "MaePretraining", "DualView"} <= set(configs)
    special = [MultiTask(encoder=MICRO, au_weight=(1.5,) * 12), SingleView(regions=("nose",)), MaePretraining()]
    for config in [*special, *(kind() for kind in configs.values())]:
        assert rebuild(type(config), json.loads(json.dumps(runs.plain(config)))) == config
