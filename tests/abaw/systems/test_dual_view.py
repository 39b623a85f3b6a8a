"""Dual-view fusion: frozen encoders stay bit by bit, each sees its own part of the face, every fusion learns."""

import pytest
import torch
from system_batches import MASKS, frames, learn, total

from abaw.data.views import MEAN_COLOUR, face_regions
from abaw.models.vit import VitConfig
from abaw.systems.dual_view import DualView, SingleView
from abaw.tracks import TRACKS, get_track

ENCODER = VitConfig(size="micro", image_size=32, patch_size=8)
CONV = VitConfig(size="micro", image_size=32, patch_size=8, stem="conv")
FUSIONS = ["mean", "concat", "updown-mean", "updown-concat"]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_learns_32_frames_by_heart(fusion):
    torch.manual_seed(0)
    batch = frames()
    system = learn(DualView(encoder=ENCODER, fusion=fusion).build(), batch, steps=30, lr=3e-3)
    assert (system.predict(batch)["expr"].argmax(1) == batch["expression"]).all()


def test_a_view_of_three_regions_learns_32_frames_by_heart():
    torch.manual_seed(0)
    batch = frames()
    system = learn(SingleView(encoder=CONV, regions=("eyes", "mouth", "nose")).build(), batch, steps=30, lr=3e-3)
    assert (system.predict(batch)["expr"].argmax(1) == batch["expression"]).all()


@pytest.mark.parametrize("config", [DualView(encoder=CONV), SingleView(encoder=CONV, frozen=True)])
def test_frozen_encoders_are_bitwise_the_same_after_training(config):
    torch.manual_seed(0)
    system, batch = config.build(), frames(8)
    trunks = [trunk for same in system.trunks().values() for trunk in same]
    before = [{name: value.clone() for name, value in trunk.state_dict().items()} for trunk in trunks]
    heads = system.heads["expr"].weight.clone()
    learn(system, batch, steps=3, lr=3e-3)
    assert not torch.equal(heads, system.heads["expr"].weight)
    for trunk, old in zip(trunks, before, strict=True):
        assert any("running_mean" in name for name in old)
        assert all(torch.equal(value, old[name]) for name, value in trunk.state_dict().items())


def test_a_single_view_that_is_not_frozen_trains_its_encoder_and_batch_norm():
    system = SingleView(encoder=CONV).build()
    mean = system.encoder.patch_embed.proj[0][1].running_mean.clone()
    weight = system.encoder.pos_embed.clone()
    learn(system, frames(4), steps=1, lr=3e-3)
    assert not torch.equal(system.encoder.patch_embed.proj[0][1].running_mean, mean)
    assert not torch.equal(system.encoder.pos_embed, weight)


def test_a_single_view_sees_its_regions_alone():
    torch.manual_seed(0)
    system = SingleView(encoder=ENCODER, regions=("eyes", "mouth")).build().eval()
    batch = frames(2)
    before = system.predict(batch)["expr"]
    chin, eyes = batch["image"].clone(), batch["image"].clone()
    chin[..., 30:, :] = 0
    eyes[..., 12:16, :] = 0
    torch.testing.assert_close(before, system.predict({"image": chin})["expr"])
    assert (before - system.predict({"image": eyes})["expr"]).abs().max() > 1e-4
    whole = SingleView(encoder=ENCODER).build().eval()
    whole.load_state_dict(system.state_dict())
    cut = face_regions(batch["image"], ("eyes", "mouth"))
    torch.testing.assert_close(before, whole.predict({"image": cut})["expr"])


def test_the_second_encoder_sees_the_parts_and_the_first_the_whole_face():
    system = DualView(encoder=ENCODER, parts=("mouth",)).build().eval()
    seen = {}
    for name in ("face", "parts"):
        embed = getattr(system, name).patch_embed
        embed.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: inputs[0]}))
    image = torch.full((1, 3, 100, 100), 255, dtype=torch.uint8)
    image[:] = torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None, None]
    image[..., 70:90, 20:80] = 255  # the mouth
    system.predict({"image": image})
    assert seen["parts"].amin() > 2
    assert seen["face"].amin().abs() < 0.05
    assert seen["face"].amax() > 2


@pytest.mark.parametrize("track", sorted(TRACKS))
@pytest.mark.parametrize("kind", [DualView, SingleView])
def test_every_track_has_its_losses_columns_and_gradients(kind, track):
    tasks = get_track(track).tasks
    system = kind(track=track, encoder=ENCODER).build()
    batch = frames(3, track=track)
    losses = system(batch, torch.Generator())
    assert losses.keys() == {task.name for task in tasks}
    torch.stack(list(losses.values())).sum().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in system.parameters())
    assert {name: value.shape for name, value in system.predict(batch).items()} == {
        task.name: (3, len(task.columns)) for task in tasks
    }


@pytest.mark.parametrize("count", [1, 4])
def test_without_any_label_loss_and_gradients_are_0(count):
    system = DualView(track="mtl", encoder=ENCODER).build()
    batch = frames(count)
    for name in MASKS:
        batch[name][:] = False
    loss = total(system, batch)
    loss.backward()
    assert loss.item() == 0
    assert all((parameter.grad == 0).all() for parameter in system.parameters() if parameter.requires_grad)


def test_missing_labels_leave_the_losses_of_the_others_alone():
    torch.manual_seed(0)
    system = DualView(track="mtl", encoder=ENCODER).build()
    batch = frames(6)
    alone = system({name: value[1:] for name, value in batch.items()}, torch.Generator())
    for name in MASKS:
        batch[name][0] = False
    together = system(batch, torch.Generator())
    assert {name: value.item() for name, value in together.items()} == pytest.approx(
        {name: value.item() for name, value in alone.items()}, rel=1e-5
    )


def test_trunks_take_weights_of_their_own_and_have_layers():
    single = SingleView(encoder=ENCODER).build()
    assert single.trunks() == {"encoder": [single.encoder]}
    system = DualView(encoder=ENCODER).build()
    assert system.trunks() == {"face": [system.face], "parts": [system.parts]}
    system.parts.load_state_dict(single.encoder.state_dict())
    layers = {name: system.layer_of(name) for name, _ in system.named_parameters()}
    assert layers["face.pos_embed"] == layers["parts.pos_embed"] == 0
    assert layers["parts.blocks.1.mlp.fc1.weight"] == 2
    assert layers["fusion.local.weight"] == layers["hidden.1.weight"] == layers["heads.expr.weight"] == 3
