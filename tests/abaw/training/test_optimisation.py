"""Schedule, layer decay, weight decay and the moving average."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.models.vit import VitConfig
from abaw.systems.multitask import MultiTask
from abaw.training.optimisation import (
    MovingAverage,
    Optimisation,
    accumulation,
    learning_rate,
    make_optimiser,
    precision_on,
    set_learning_rate,
    total_steps,
)

SETTINGS = Optimisation(epochs=10, warmup_epochs=2, lr=0.1, layer_decay=0.5, weight_decay=0.05)


def micro():
    torch.manual_seed(0)
    return MultiTask(encoder=VitConfig(size="micro", image_size=64)).build()


def test_learning_rate_rises_linearly_then_falls_as_a_cosine():
    rates = [learning_rate(step, settings=SETTINGS, steps_per_epoch=5) for step in range(50)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[9] == pytest.approx(0.1)
    assert rates[10] == pytest.approx(0.1)
    assert rates[30] == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 20 / 40)))
    assert rates == sorted(rates[:10]) + sorted(rates[10:], reverse=True)


def test_each_layer_has_its_rate_and_vectors_do_not_decay():
    system = micro()
    optimiser = make_optimiser(system, SETTINGS)
    set_learning_rate(optimiser, 0.08)
    found = {id(p): group for group in optimiser.param_groups for p in group["params"]}
    assert len(found) == len(list(system.parameters()))
    named = dict(system.named_parameters())
    assert found[id(named["heads.va.weight"])]["lr"] == pytest.approx(0.08)
    assert found[id(named["encoder.blocks.1.attn.qkv.weight"])]["lr"] == pytest.approx(0.04)
    assert found[id(named["encoder.patch_embed.proj.weight"])]["lr"] == pytest.approx(0.08 * 0.5**3)
    assert found[id(named["heads.va.weight"])]["weight_decay"] == 0.05
    assert found[id(named["heads.va.bias"])]["weight_decay"] == 0.0


def test_moving_average_follows_and_can_be_off():
    system = micro()
    average = MovingAverage(system, 0.9)
    before = average.system.heads["va"].weight.clone()
    with torch.no_grad():
        system.heads["va"].weight += 1.0
    average.update(system, step=10_000)
    assert torch.allclose(average.system.heads["va"].weight, before + 0.1, atol=1e-6)
    assert MovingAverage(system, 0.0).system is system


def test_a_training_counts_in_epochs_or_in_iterations():
    assert total_steps(SETTINGS, steps_per_epoch=5) == 50
    iterations = Optimisation(iterations=12, warmup_epochs=0, lr=0.1)
    assert total_steps(iterations, steps_per_epoch=5) == 12
    rates = [learning_rate(step, settings=iterations, steps_per_epoch=5) for step in (0, 6, 12)]
    assert rates == pytest.approx([0.1, 0.05, 0.0])


def test_sgd_has_its_momentum_and_adamw_its_betas():
    sgd = make_optimiser(micro(), Optimisation(optimiser="sgd", momentum=0.8))
    assert isinstance(sgd, torch.optim.SGD)
    assert {group["momentum"] for group in sgd.param_groups} == {0.8}
    adamw = make_optimiser(micro(), Optimisation(betas=(0.9, 0.999)))
    assert isinstance(adamw, torch.optim.AdamW)
    assert {group["betas"] for group in adamw.param_groups} == {(0.9, 0.999)}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", 0, "epochs is 0; expected 1 or more"),
        ("iterations", -1, "iterations is -1; expected 0 or more"),
        ("lr", math.nan, "lr is nan; expected 0 or more"),
        ("layer_decay", 1.5, "layer_decay is 1.5; expected a share in (0, 1], 1 for one rate"),
        ("ema_decay", 1.0, "ema_decay is 1.0; expected a share in [0, 1), 0 for none"),
    ],
)
def test_numbers_that_train_nothing_are_refused(name, value, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        Optimisation(**{name: value})


@settings(deadline=None)
@given(batch=st.integers(1, 4096), world=st.integers(1, 9), most=st.integers(0, 600))
def test_a_batch_is_kept_by_as_few_micro_batches_as_memory_allows(batch, world, most):
    asked = Optimisation(batch_size=batch, micro_batch=most)

    def fits(parts):
        whole, rest = divmod(batch, parts)
        return rest == 0 and whole >= world and (not most or math.ceil(whole / world) <= most)

    possible = [parts for parts in range(1, batch + 1) if fits(parts)]
    if possible:
        assert accumulation(asked, world=world) == possible[0]
    else:
        with pytest.raises(ValueError, match=f"batch_size {batch} cannot be split for {world} workers"):
            accumulation(asked, world=world)


def test_precision_is_chosen_by_the_device_unless_it_is_given():
    cpu = torch.device("cpu")
    assert precision_on(cpu, "auto") == "fp32"
    assert precision_on(cpu, "fp16") == "fp16"
