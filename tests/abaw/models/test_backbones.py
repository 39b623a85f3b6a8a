"""Backbones: their maps, stages and freezing; spatial reserve pooling; IR-50 and APViT."""

import math

import pytest
import torch

from abaw.models.apvit import ApVit, PoolingBlock, strongest
from abaw.models.backbones import BackboneConfig, feature_map, freeze, map_shape, parameter_stage, stages
from abaw.models.iresnet import Block, IResNet50
from abaw.models.srp import SpatialReservePooling, make_pool
from abaw.models.vit import encode_visible


@pytest.mark.parametrize(
    ("name", "size", "shape", "count"),
    [
        ("resnet18", 224, (512, 7, 7), 4),
        ("resnet50", 32, (2048, 1, 1), 4),
        ("resnet-micro", 64, (192, 8, 8), 4),
        ("convnext_atto", 64, (320, 2, 2), 4),
        ("efficientnet_b0", 64, (320, 2, 2), 4),
        ("vit-micro", 64, (96, 4, 4), 2),
        ("vit_tiny_patch16_224", 64, (192, 4, 4), 12),
        ("ir50", 64, (512, 4, 4), 4),
    ],
)
def test_maps_and_stages_of_backbones(name, size, shape, count):
    network = BackboneConfig(name=name, image_size=size).build()
    assert map_shape(network, size) == shape
    spans = stages(network)
    assert spans[""] == (0, count - 1)
    assert {parameter_stage(spans, parameter) for parameter, _ in network.named_parameters()} == set(range(count))


def test_a_resnet_has_its_stem_in_the_first_stage():
    spans = stages(BackboneConfig().build())
    assert parameter_stage(spans, "conv1.weight") == parameter_stage(spans, "layer1.1.bn2.weight") == 0
    assert parameter_stage(spans, "layer2.0.downsample.0.weight") == 1
    assert parameter_stage(spans, "layer4.1.conv2.weight") == 3


def test_the_map_of_a_vit_is_its_patches_in_their_places():
    network = BackboneConfig(name="vit-micro", image_size=64, vit_stem="conv").build().eval()
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found, patches = feature_map(network, pixels), encode_visible(network, pixels)[:, 1:]
    for row in range(4):
        for column in range(4):
            assert torch.allclose(found[:, :, row, column], patches[:, 4 * row + column], atol=1e-5)


@pytest.mark.parametrize("name", ["vit-micro", "resnet-micro", "mobilenetv3_small_050"])
def test_every_parameter_of_a_backbone_gets_a_gradient(name):
    network = BackboneConfig(name=name, image_size=64).build()
    feature_map(network, torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert [key for key, value in network.named_parameters() if value.grad is None] == []


def test_frozen_stages_take_batch_norm_and_weights_out_of_training():
    network = BackboneConfig(name="resnet18", frozen_stages=3).build()
    network.train()
    freeze(network, 3)
    trained = {name.split(".")[0] for name, value in network.named_parameters() if value.requires_grad}
    assert trained == {"layer4"}
    assert not network.bn1.training
    assert not network.layer3.training
    assert network.layer4[0].bn1.training
    assert sum(value.numel() for value in network.parameters() if value.requires_grad) == 8_393_728


@pytest.mark.parametrize("count", [-1, 5])
def test_more_frozen_stages_than_there_are_is_refused(count):
    with pytest.raises(ValueError, match=rf"frozen_stages is {count}, but ResNet has 4 stages; give 0 to 4"):
        BackboneConfig(frozen_stages=count).build()


def test_an_unknown_name_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet19'; choose ir50, apvit, .*vit-large or a name"):
        BackboneConfig(name="resnet19").build()


def test_srp_takes_7x7_to_3x3x256():
    pool = SpatialReservePooling(512, 7, 7)
    maps = torch.randn(2, 512, 7, 7)
    assert pool.reduce(maps).shape == (2, 256, 6, 6)
    assert pool.shrink(pool.reduce(maps)).shape == (2, 256, 3, 3)
    assert pool(maps).shape == (2, 3 * 3 * 256)
    assert pool.features == 2304


@pytest.mark.parametrize(("side", "left"), [(3, 1), (4, 1), (5, 2), (8, 3), (14, 6)])
def test_srp_of_other_maps_says_how_many_features_it_gives(side, left):
    pool = SpatialReservePooling(8, side, side + 1)
    assert pool(torch.randn(2, 8, side, side + 1)).shape == (2, pool.features)
    assert SpatialReservePooling(8, side, side).features == 256 * left**2


def test_srp_is_two_convolutions_with_batch_norm_and_relu():
    torch.manual_seed(0)
    pool = SpatialReservePooling(3, 5, 5, width=4).double()
    maps = torch.randn(6, 3, 5, 5, dtype=torch.float64)

    def convolve(inputs, weight, stride):
        side = (inputs.shape[-1] - 2) // stride + 1
        out = torch.zeros(len(inputs), len(weight), side, side, dtype=torch.float64)
        for row in range(side):
            for column in range(side):
                window = inputs[:, :, row * stride : row * stride + 2, column * stride : column * stride + 2]
                out[:, :, row, column] = (window[:, None] * weight).sum(dim=(2, 3, 4))
        mean, variance = out.mean(dim=(0, 2, 3), keepdim=True), out.var(dim=(0, 2, 3), keepdim=True, correction=0)
        return ((out - mean) / (variance + 1e-5).sqrt()).clamp(min=0)

    expected = convolve(convolve(maps, pool.reduce[0].weight, 1), pool.shrink[0].weight, 2).flatten(1)
    assert torch.allclose(pool(maps), expected, atol=1e-12)


def test_srp_of_a_map_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="needs a map of at least 3x3 places, this one has 2x2; take larger images"):
        make_pool("srp", (512, 2, 2))


def test_gap_is_the_mean_over_the_places():
    maps = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    expected = [[math.fsum(channel.flatten().tolist()) / 12 for channel in image] for image in maps]
    pool = make_pool("gap", (5, 3, 4))
    assert pool.features == 5
    assert torch.allclose(pool(maps), torch.tensor(expected, dtype=torch.float64))


def test_ir50_has_the_published_size():
    with torch.device("meta"):  # shapes without numbers
        network = IResNet50()
        assert network(torch.empty(1, 3, 64, 64)).shape == (1, 512, 4, 4)
    # 43.6 million parameters with the output layer of face recognition: 512 * 49 * 512 and four vectors of 512 more.
    assert sum(value.numel() for value in network.parameters()) == 30_727_360


def test_a_block_of_ir50_without_change_of_width_adds_to_every_second_place():
    block = Block(4, 4, stride=2).eval()
    torch.nn.init.zeros_(block.residual[3].weight)
    maps = torch.randn(1, 4, 6, 6)
    assert torch.equal(block(maps), maps[:, :, ::2, ::2])


def test_strongest_keeps_the_largest_scores_in_their_order():
    tokens = torch.arange(10.0).reshape(1, 5, 2)
    assert strongest(tokens, torch.tensor([[0.1, 5.0, -2.0, 3.0, 4.0]]), 3)[0, :, 0].tolist() == [2, 6, 8]


def test_apvit_keeps_160_of_196_places_and_nine_tenths_in_the_last_four_blocks():
    counts = []
    with torch.device("meta"):  # shapes without numbers
        network = ApVit()
        for block in network.blocks:
            block.register_forward_hook(lambda module, inputs, output: counts.append(output.shape[1] - 1))
        assert network(torch.empty(1, 3, 112, 112)).shape == (1, 768, 1, 1)
    assert counts == [160, 160, 160, 160, 144, 129, 116, 104]
    assert stages(network)[""] == (0, 10)


def test_a_pooling_block_is_attention_pooling_and_mlp():
    torch.manual_seed(0)
    block = PoolingBlock(0.5).double()
    tokens = torch.randn(1, 5, 768, dtype=torch.float64)
    normed = torch.nn.functional.layer_norm(tokens, (768,), eps=1e-6)[0]
    query, key, value = (normed @ part.T for part in block.qkv.weight.chunk(3))
    heads, score = [], torch.zeros(4, dtype=torch.float64)
    for head in range(8):
        columns = slice(96 * head, 96 * head + 96)
        raw = query[:, columns] @ key[:, columns].T
        heads.append((raw / math.sqrt(96)).softmax(dim=1) @ value[:, columns])
        score += raw[0, 1:]
    after = tokens[0] + torch.cat(heads, dim=1) @ block.out.weight.T + block.out.bias
    kept = sorted(score.argsort(descending=True)[:2].tolist())
    left = torch.stack([after[0], *(after[1 + k] for k in kept)])
    expected = left + block.mlp(torch.nn.functional.layer_norm(left, (768,), eps=1e-6))
    assert torch.allclose(block(tokens)[0], expected, atol=1e-9)
