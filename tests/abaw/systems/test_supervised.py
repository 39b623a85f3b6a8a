"""Supervised learning with a backbone: it learns 32 frames by heart, and what is frozen stays as it was."""

import pytest
import torch
from system_batches import MASKS, frames, total

from abaw.models.backbones import BackboneConfig
from abaw.systems.supervised import Supervised
from abaw.tracks import get_track

MICRO = BackboneConfig(name="resnet-micro", image_size=32)


def train(system, steps, *, batch=None):
    """SGD as published, with momentum and weight decay; returns the sums of the losses."""
    trained = [value for value in system.train().parameters() if value.requires_grad]
    optimiser = torch.optim.SGD(trained, lr=0.05, momentum=0.9, weight_decay=1e-4)
    sums = []
    for _ in range(steps):
        loss = total(system, batch or frames())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        sums.append(loss.item())
    return sums


@pytest.mark.parametrize("pool", ["srp", "gap"])
def test_it_learns_32_frames_by_heart(pool):
    torch.manual_seed(0)
    system = Supervised(backbone=MICRO, track="mtl", pool=pool).build()
    sums = train(system, 30)
    assert sums[0] > 3
    assert sums[-1] < 1
    for _ in range(3):  # as long as batch norm's averages lag behind the weights
        system(frames(), torch.Generator())
    predicted = system.eval().predict(frames())
    assert torch.equal(predicted["expr"].argmax(1), frames()["expression"])


@pytest.mark.parametrize("name", ["resnet-micro", "vit-micro"])
def test_frozen_stages_are_bitwise_as_before_training(name):
    torch.manual_seed(0)
    backbone = BackboneConfig(name=name, image_size=32, frozen_stages=1, vit_stem="conv")
    system = Supervised(backbone=backbone, pool="gap").build()
    before = {key: value.clone() for key, value in system.state_dict().items()}
    train(system, 3)
    changed = {key for key, value in system.state_dict().items() if not torch.equal(value, before[key])}
    first = {key for key in before if key.startswith("encoder.") and system.layer_of(key) == 0}
    assert not changed & first
    assert any("running_mean" in key for key in first)
    assert {system.layer_of(key) for key in changed} == set(range(1, system.layers + 1))


def test_with_all_stages_frozen_pooling_and_heads_still_learn():
    torch.manual_seed(0)
    backbone = BackboneConfig(name="resnet-micro", image_size=32, frozen_stages=4)
    system = Supervised(backbone=backbone).build()
    sums = train(system, 15)
    assert sums[-1] < 0.7 * sums[0]
    assert {name.split(".")[0] for name, value in system.named_parameters() if value.requires_grad} == {"pool", "heads"}


@pytest.mark.parametrize("track", ["expr", "au", "va", "mtl", "lsd", "cexpr", "affectnet7", "affectnet8", "emo135"])
def test_every_track_has_its_losses_and_columns(track):
    system = Supervised(backbone=BackboneConfig(name="vit-micro", image_size=64), track=track).build()
    batch = frames(4, track=track)
    expected = {task.name: (4, len(task.columns)) for task in get_track(track).tasks}
    assert set(system(batch, torch.Generator())) == set(expected)
    assert {name: tuple(value.shape) for name, value in system.eval().predict(batch).items()} == expected


def test_what_is_not_labelled_changes_no_loss_and_nothing_labelled_gives_zero():
    torch.manual_seed(0)
    system = Supervised(backbone=MICRO, track="mtl").build().eval()
    batch = frames(6)
    for name in MASKS:
        batch[name][3:] = False
    losses = system(batch, torch.Generator())
    other = batch | {"va": batch["va"].clone(), "expression": batch["expression"].clone(), "au": batch["au"].clone()}
    other["va"][3:], other["expression"][3:], other["au"][3:] = 0, 0, 0
    assert {name: value.item() for name, value in system(other, torch.Generator()).items()} == {
        name: value.item() for name, value in losses.items()
    }
    for name in MASKS:
        batch[name][:] = False
    empty = torch.stack(list(system(batch, torch.Generator()).values())).sum()
    empty.backward()
    assert empty.item() == 0
    assert all(value.grad is not None and value.grad.isfinite().all() for value in system.parameters())


def test_layers_are_the_stages_and_then_the_heads():
    system = Supervised(backbone=MICRO).build()
    layers = {name: system.layer_of(name) for name, _ in system.named_parameters()}
    assert layers["encoder.conv1.weight"] == 0
    assert layers["encoder.layer3.0.conv1.weight"] == 2
    assert layers["pool.reduce.0.weight"] == layers["heads.expr.weight"] == system.layers == 4
