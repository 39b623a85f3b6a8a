"""Weights from outside, in the key layouts in which they are published: what comes in, what does not, what is told."""

import argparse
import re

import pytest
import timm
import torch
import torchvision
from torch import nn

from abaw.models.dan import Dan
from abaw.models.iresnet import IResNet50
from abaw.models.mae import MaeConfig
from abaw.models.vit import VitConfig
from abaw.problems import BadInput
from abaw.systems.cotex import MaskedCotex
from abaw.systems.mae import MaePretraining
from abaw.systems.multitask import MultiTask
from abaw.training.checkpoints import save_weights
from abaw.training.starts import load_start

MICRO = VitConfig(size="micro", image_size=64)
WIDTH, DEPTH = 96, 2


def mae_layout(*, patches, decoder=False, head="norm"):
    """The tensors of a published MAE or MAE-Face of the micro size: names as in their files, values drawn."""
    block = {
        "norm1.weight": (WIDTH,), "norm1.bias": (WIDTH,), "norm2.weight": (WIDTH,), "norm2.bias": (WIDTH,),
        "attn.qkv.weight": (3 * WIDTH, WIDTH), "attn.qkv.bias": (3 * WIDTH,),
        "attn.proj.weight": (WIDTH, WIDTH), "attn.proj.bias": (WIDTH,),
        "mlp.fc1.weight": (4 * WIDTH, WIDTH), "mlp.fc1.bias": (4 * WIDTH,),
        "mlp.fc2.weight": (WIDTH, 4 * WIDTH), "mlp.fc2.bias": (WIDTH,),
    }  # fmt: skip
    shapes = {
        "cls_token": (1, 1, WIDTH), "pos_embed": (1, 1 + patches, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 16, 16), "patch_embed.proj.bias": (WIDTH,),
        f"{head}.weight": (WIDTH,), f"{head}.bias": (WIDTH,),
    }  # fmt: skip
    shapes |= {f"blocks.{k}.{name}": shape for k in range(DEPTH) for name, shape in block.items()}
    if decoder:
        shapes |= {
            "mask_token": (1, 1, 32),
            "decoder_pos_embed": (1, 1 + patches, 32),
            "decoder_pred.weight": (768, 32),
        }
        shapes |= {f"decoder_blocks.{k}.norm1.weight": (32,) for k in range(3)}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def equal(network, tensors):
    ours = network.state_dict()
    assert ours.keys() <= tensors.keys()
    return all(torch.equal(value, tensors[name]) for name, value in ours.items())


@pytest.mark.parametrize("decoder", [True, False])
def test_a_mae_file_comes_in_whole_and_its_decoder_is_left_over(tmp_path, decoder):
    tensors = mae_layout(patches=16, decoder=decoder)
    torch.save({"model": tensors}, tmp_path / "mae.pth")
    encoder = MICRO.build()
    report = load_start([encoder], str(tmp_path / "mae.pth"))
    assert equal(encoder, tensors)
    assert (report.share, report.missing, report.reshaped) == (1.0, (), ())
    lines = report.lines()
    assert lines[0].endswith("mae.pth: loaded 30 of 30 tensors, 100 % of the network's values")
    told = ["left over: mask_token, decoder_pos_embed, decoder_pred.weight, decoder_blocks.*.norm1.weight (3)"]
    assert lines[1:] == (told if decoder else [])


@pytest.mark.parametrize("shape", [VitConfig(size="micro", image_size=96), VitConfig(size="micro", image_size=224)])
def test_position_embeddings_are_interpolated_to_another_number_of_patches(tmp_path, shape):
    tensors = mae_layout(patches=64)
    rows = torch.linspace(-1, 1, 8)
    tensors["pos_embed"][0, 1:] = (rows[:, None] + 10 * rows)[..., None].expand(8, 8, WIDTH).flatten(0, 1)
    torch.save({"model": tensors}, tmp_path / "mae.pth")
    encoder = shape.build()
    report = load_start([encoder], str(tmp_path / "mae.pth"))
    positions, side = encoder.pos_embed[0].detach(), shape.image_size // 16
    assert torch.equal(positions[0], tensors["pos_embed"][0, 0]), "the class token's is taken as it is"
    here = 2 * (torch.arange(side) + 0.5) / side - 1
    edge = torch.linspace(-1, 1, 8)[-1] / (1 - 1 / 8)
    expected = edge * (here[:, None] + 10 * here)
    inside = slice(side // 4, side - side // 4)  # a plane stays a plane, but for the border
    got = positions[1:, 7].reshape(side, side)
    assert torch.allclose(got[inside, inside], expected[inside, inside], atol=0.15)
    assert report.reshaped == (f"pos_embed (1, 65, 96) to (1, {1 + side * side}, 96)",)
    assert "reshaped: pos_embed (1, 65, 96)" in report.lines()[1]


def test_positions_without_a_class_token_leave_the_networks_own(tmp_path):
    tensors = mae_layout(patches=16)
    tensors["pos_embed"] = torch.ones(1, 16, WIDTH)
    torch.save(tensors, tmp_path / "vit.pth")
    encoder = MICRO.build()
    before = encoder.pos_embed[0, 0].clone()
    load_start([encoder], str(tmp_path / "vit.pth"))
    assert torch.equal(encoder.pos_embed[0, 0], before)
    assert torch.allclose(encoder.pos_embed[0, 1:], torch.ones(16, WIDTH))


def test_a_fine_tuned_mae_face_lacks_the_norm_and_says_so(tmp_path):
    torch.save({"model": mae_layout(patches=16, head="fc_norm")}, tmp_path / "tuned.pth")
    report = load_start([MICRO.build()], str(tmp_path / "tuned.pth"))
    assert report.missing == ("norm.weight", "norm.bias")
    assert report.left_over == ("fc_norm.weight", "fc_norm.bias")
    assert "99.9 % of the network's values" in report.lines()[0]
    assert "missing, so fresh: norm.weight, norm.bias" in report.lines()


def test_our_own_weights_are_found_under_the_prefix_they_have_there(tmp_path):
    mae = MaePretraining(mae=MaeConfig(encoder=MICRO, decoder_width=32, decoder_depth=1, decoder_heads=4)).build()
    tuned, pair = MultiTask(encoder=MICRO).build(), MaskedCotex(encoder=MICRO).build()
    origins = {"network.encoder.": mae.network.encoder, "encoder.": tuned.encoder, "encoders.0.": pair.encoders[0]}
    for system, (prefix, origin) in zip((mae, tuned, pair), origins.items(), strict=True):
        save_weights(system, tmp_path / "w.safetensors", {})
        views = [MICRO.build(), MICRO.build()]
        report = load_start(views, str(tmp_path / "w.safetensors"))
        assert (report.prefix, report.share) == (prefix, 1.0)
        assert all(equal(view, origin.state_dict()) for view in views)
    assert "as many names lie under encoders.1.*" in report.lines()
    save_weights(tuned, tmp_path / "w.safetensors", {})
    whole = MultiTask(encoder=MICRO).build()
    assert load_start([whole], str(tmp_path / "w.safetensors")).prefix == ""
    assert equal(whole, tuned.state_dict())


def test_dan_comes_in_whole_and_gives_its_trunk_to_a_resnet(tmp_path):
    published = dan_layout()
    parallel = {f"module.{name}": value for name, value in published.items()}
    torch.save({"iter": 5, "model_state_dict": parallel, "optimizer_state_dict": {}}, tmp_path / "affecnet8.pth")
    dan = Dan(classes=8)
    report = load_start([dan], str(tmp_path / "affecnet8.pth"))
    assert equal(dan, published)
    assert (report.prefix, report.missing, report.left_over) == ("module.", (), ())
    torch.save({"model_state_dict": published}, tmp_path / "affecnet8.pth")
    trunk = timm.create_model("resnet18", num_classes=0)
    report = load_start([trunk], str(tmp_path / "affecnet8.pth"))
    assert report.share == 1.0
    assert torch.equal(trunk.layer3[1].conv2.weight, published["features.6.1.conv2.weight"])
    assert torch.equal(trunk.bn1.running_var, published["features.1.running_var"])
    assert "cat_head3.ca.attention.0.weight" in report.left_over


def test_an_ir50_of_face_recognition_comes_in_whole_and_its_output_layer_is_left_over(tmp_path):
    published = ir50_layout()
    torch.save(published, tmp_path / "ir50_ms1m.pth")
    trunk = IResNet50()
    report = load_start([trunk], str(tmp_path / "ir50_ms1m.pth"))
    assert (report.share, report.missing) == (1.0, ())
    assert set(report.left_over) == {"output_layer.3.weight", "output_layer.3.bias"}
    assert torch.equal(trunk.stages[1][0].shortcut[0].weight, published["body.3.shortcut_layer.0.weight"])
    assert torch.equal(trunk.stages[3][2].residual[3].weight, published["body.23.res_layer.3.weight"])
    assert torch.equal(trunk.stem[2].weight, published["input_layer.2.weight"])


def ir50_layout():
    """The tensors of an IR-50 as face recognition publishes it: 24 blocks numbered throughout, a layer behind them."""
    shapes = {"input_layer.0.weight": (64, 3, 3, 3), "input_layer.2.weight": (64,), **norm("input_layer.1", 64)}
    before, number = 64, 0
    for width, blocks in ((64, 3), (128, 4), (256, 14), (512, 3)):
        for _ in range(blocks):
            block = f"body.{number}.res_layer"
            shapes |= {f"{block}.1.weight": (width, before, 3, 3), f"{block}.2.weight": (width,)}
            shapes |= {
                f"{block}.3.weight": (width, width, 3, 3),
                **norm(f"{block}.0", before),
                **norm(f"{block}.4", width),
            }
            if before != width:
                shapes |= {f"body.{number}.shortcut_layer.0.weight": (width, before, 1, 1)}
                shapes |= norm(f"body.{number}.shortcut_layer.1", width)
            before, number = width, number + 1
    shapes |= {"output_layer.3.weight": (512, 512 * 49), "output_layer.3.bias": (512,)}
    return {name: torch.rand(shape) if shape else torch.tensor(7) for name, shape in shapes.items()}


def dan_layout():
    """The tensors of a published DAN: torchvision's ResNet-18 numbered as a sequence, four heads, 8 classes."""
    parts = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    resnet = torchvision.models.resnet18().state_dict()
    shapes = {
        f"features.{parts[name.split('.')[0]]}.{name.partition('.')[2]}": value.shape
        for name, value in resnet.items()
        if not name.startswith("fc.")
    }
    for k in range(4):
        convolutions = {"conv1x1": (256, 512, 1, 1), "conv_3x3": (512, 256, 3, 3)}
        convolutions |= {"conv_1x3": (512, 256, 1, 3), "conv_3x1": (512, 256, 3, 1)}
        for name, shape in convolutions.items():
            shapes |= {f"cat_head{k}.sa.{name}.0.weight": shape, f"cat_head{k}.sa.{name}.0.bias": shape[:1]}
            shapes |= norm(f"cat_head{k}.sa.{name}.1", shape[0])
        linear = {"0.weight": (32, 512), "0.bias": (32,), "3.weight": (512, 32), "3.bias": (512,)}
        shapes |= {f"cat_head{k}.ca.attention.{name}": shape for name, shape in linear.items()}
        shapes |= norm(f"cat_head{k}.ca.attention.1", 32)
    shapes |= {"fc.weight": (8, 512), "fc.bias": (8,), **norm("bn", 8)}
    return {name: torch.rand(shape) if shape else torch.tensor(7) for name, shape in shapes.items()}


def norm(name, width):
    return {f"{name}.num_batches_tracked": ()} | {
        f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")
    }


def test_torchvision_resnets_come_from_the_cache_of_torch_or_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    trunk = timm.create_model("resnet18", num_classes=0)
    cached = tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    fetch = f"curl --location --create-dirs --output {cached} https://download.pytorch.org/models/resnet18-f37072fd.pth"
    with pytest.raises(BadInput, match="nothing is downloaded here") as refused:
        load_start([trunk], "torchvision:resnet18")
    assert str(refused.value).endswith(f"run once: {fetch}")
    cached.parent.mkdir(parents=True)
    weights = torchvision.models.resnet18().state_dict()
    torch.save(weights, cached)
    for source in ("torchvision:resnet18", str(cached)):
        trunk = timm.create_model("resnet18", num_classes=0)
        report = load_start([trunk], source)
        assert report.left_over == ("fc.weight", "fc.bias")
        assert equal(trunk, weights)
    with pytest.raises(BadInput, match="no weights of that name; perhaps resnet18"):
        load_start([trunk], "torchvision:resnet19")


def hub_cache(tmp_path, monkeypatch, name):
    """An empty cache of Hugging Face, and the folder in it where a repository's files lie."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / f"models--timm--{name}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    return repository / "snapshots" / ("0" * 40)


def test_timm_weights_come_from_the_cache_of_hugging_face(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = hub_cache(tmp_path, monkeypatch, name := "test_vit.r160_in1k")
    published = timm.create_model(name)
    save_weights(published, folder / "model.safetensors", {})
    encoder = timm.create_model("test_vit", img_size=64, num_classes=0)
    report = load_start([encoder], f"timm:{name}")
    assert torch.equal(encoder.blocks[5].attn.qkv.weight, published.blocks[5].attn.qkv.weight)
    assert report.reshaped == ("pos_embed (1, 101, 64) to (1, 17, 64)",)
    assert report.left_over == ("head.weight", "head.bias")
    save_weights(nn.Linear(3, 3), folder / "model.safetensors", {})
    with pytest.raises(BadInput, match=f"does not hold the weights of {re.escape(name)}"):
        load_start([encoder], f"timm:{name}")


def test_timm_weights_that_are_not_there_are_refused_with_the_command_that_fetches_them(tmp_path, monkeypatch):
    hub_cache(tmp_path, monkeypatch, "vit_base_patch16_224.mae")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(BadInput) as refused:
        load_start([MICRO.build()], "timm:vit_base_patch16_224.mae")
    command = "hf download timm/vit_base_patch16_224.mae model.safetensors"
    assert str(refused.value).endswith(f"is not in the cache, and nothing is downloaded here; run once: {command}")
    for wrong in ("vit_base_patch16_224.mea", "vit_bse_patch16_224.mae"):
        with pytest.raises(BadInput, match=r"timm has no weights of that name; perhaps .*vit_base_patch16_224\.mae"):
            load_start([MICRO.build()], f"timm:{wrong}")


def test_too_little_is_refused_unless_told_so_and_changes_nothing(tmp_path):
    tensors = mae_layout(patches=16)
    kept = {name: value for name, value in tensors.items() if not name.startswith("blocks.1.")}
    torch.save({"state_dict": kept}, tmp_path / "half.pth")
    encoder = MICRO.build()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(BadInput) as refused:
        load_start([encoder], str(tmp_path / "half.pth"))
    assert "only 62.6 % of the network's values came in, expected 90.0 % or more" in str(refused.value)
    assert "missing, so fresh: blocks.*.norm1.weight, blocks.*.norm1.bias" in str(refused.value)
    assert equal(encoder, before)
    report = load_start([encoder], str(tmp_path / "half.pth"), at_least=0.6)
    assert len(report.missing) == 12
    assert torch.equal(encoder.blocks[0].attn.qkv.weight, tensors["blocks.0.attn.qkv.weight"])
    assert torch.equal(encoder.blocks[1].attn.qkv.weight, before["blocks.1.attn.qkv.weight"])


def test_tensors_of_another_shape_are_told_with_both(tmp_path):
    tensors = mae_layout(patches=16)
    tensors["patch_embed.proj.weight"] = torch.randn(WIDTH, 3, 8, 8)
    torch.save(tensors, tmp_path / "p8.pth")
    report = load_start([MICRO.build()], str(tmp_path / "p8.pth"), at_least=0.5)
    assert report.missing == ("patch_embed.proj.weight (96, 3, 8, 8) to (96, 3, 16, 16) does not fit",)
    assert report.left_over == ("patch_embed.proj.weight",)


def test_a_pickle_that_holds_other_objects_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "training.pth"
    torch.save({"model": mae_layout(patches=16), "args": argparse.Namespace(lr=1)}, path)
    with pytest.raises(BadInput, match=r"holds an object of argparse\.Namespace .* can run any code; .* save only"):
        load_start([MICRO.build()], str(path))


def test_files_without_weights_are_refused(tmp_path):
    cases = {"garbage.pth": b"not weights", "empty.pth": b"", "cut.pth": None}
    torch.save(mae_layout(patches=16), tmp_path / "whole.pth")
    cases["cut.pth"] = (tmp_path / "whole.pth").read_bytes()[:5000]
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=r"not a file that torch\.save wrote|cannot be read"):
            load_start([MICRO.build()], str(tmp_path / name))
    torch.save({"optimiser": {}, "epoch": 3}, tmp_path / "state.pth")
    with pytest.raises(BadInput, match="holds no tensors by name, but optimiser, epoch"):
        load_start([MICRO.build()], str(tmp_path / "state.pth"))
    with pytest.raises(BadInput, match=r"no such weights; expected a \.safetensors or \.pth file, timm:NAME"):
        load_start([MICRO.build()], str(tmp_path / "none.pth"))
    save_weights(nn.Linear(2, 2), tmp_path / "other.safetensors", {})
    with pytest.raises(BadInput, match=r"only 0\.0 % of the network's values"):
        load_start([MICRO.build()], str(tmp_path / "other.safetensors"))
