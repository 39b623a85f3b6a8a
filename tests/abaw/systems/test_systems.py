"""Each system learns 32 frames by heart, and answers in the columns of its track."""

import pytest
import torch
from system_batches import frames

from abaw.models.mae import MaeConfig
from abaw.models.vit import VitConfig
from abaw.systems.mae import MaePretraining
from abaw.systems.multitask import MultiTask
from abaw.tracks import get_track

ENCODER = VitConfig(size="micro", image_size=64)


def train(system, steps, lr=1e-3):
    batch, history = frames(size=64), []
    optimiser = torch.optim.AdamW(system.parameters(), lr=lr)
    for _ in range(steps):
        losses = system(batch, torch.Generator().manual_seed(0))
        loss = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append({name: value.item() for name, value in losses.items()})
    return history


POOLS = [pytest.param("mean", marks=pytest.mark.slow), pytest.param("token", marks=pytest.mark.slow), "spatial"]


@pytest.mark.parametrize("pool", POOLS)
def test_multitask_learns_32_frames_by_heart(pool):
    torch.manual_seed(0)
    system = MultiTask(encoder=ENCODER, pool=pool).build()
    history = train(system, 200)
    assert history[0]["expr"] > 1.9
    assert history[-1]["expr"] < 0.1
    assert history[-1]["au"] < 0.1
    assert history[-1]["va"] < 0.1
    predicted = system.eval().predict(frames(size=64))
    assert (predicted["expr"].argmax(1) == frames(size=64)["expression"]).all()


def test_predictions_are_columns_of_the_track():
    system = MultiTask(encoder=ENCODER).build().eval()
    predicted = system.predict(frames(3, size=64))
    for task in get_track("mtl").tasks:
        assert predicted[task.name].shape == (3, len(task.columns))
    assert torch.allclose(predicted["expr"].sum(1), torch.ones(3))
    assert predicted["va"].abs().max() <= 1


def test_mae_rebuilds_32_frames_by_heart():
    torch.manual_seed(0)
    mae = MaeConfig(encoder=ENCODER, decoder_width=64, decoder_depth=1, decoder_heads=4, loss="l2")
    history = train(MaePretraining(mae=mae).build(), 150, lr=2e-3)
    assert history[-1]["reconstruction"] < 0.5 * history[0]["reconstruction"]


@pytest.mark.parametrize("track", ["va", "expr", "au", "lsd", "cexpr", "affectnet7", "affectnet8", "emo135"])
def test_every_track_has_its_losses_and_its_columns(track):
    tasks = get_track(track).tasks
    batch = frames(3, size=64, track=track)
    if tasks[0].kind == "classes":
        batch["expression"] = torch.tensor([0, 1, len(tasks[0].columns) - 1])
    system = MultiTask(track=track, encoder=ENCODER).build()
    assert set(system(batch, torch.Generator())) == {task.name for task in tasks}
    predicted = system.eval().predict(batch)
    assert {name: value.shape[1] for name, value in predicted.items()} == {
        task.name: len(task.columns) for task in tasks
    }


def test_a_self_supervised_system_predicts_no_track():
    mae = MaeConfig(encoder=ENCODER, decoder_width=32, decoder_depth=1, decoder_heads=4)
    with pytest.raises(ValueError, match="predicts no track"):
        MaePretraining(mae=mae).build().predict(frames(1, size=64))


def test_layers_rise_from_the_input_to_the_heads():
    system = MultiTask(encoder=ENCODER).build()
    layers = {name: system.layer_of(name) for name, _ in system.named_parameters()}
    assert layers["encoder.patch_embed.proj.weight"] == 0
    assert layers["encoder.blocks.0.attn.qkv.weight"] == 1
    assert layers["heads.va.weight"] == system.layers == 3
    assert set(layers.values()) == {0, 1, 2, 3}


def test_weights_of_another_length_are_refused():
    with pytest.raises(ValueError, match="3 weights given for the 8 columns Neutral"):
        MultiTask(encoder=ENCODER, expression_weight=(1.0, 1.0, 1.0)).build()
