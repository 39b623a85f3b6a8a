"""Half precision with a scaled loss, and compiled blocks: it learns, resumes exactly, and finds its scale."""

import json

import pytest
import torch
from timm.models.vision_transformer import Attention

from abaw import runs
from abaw.models.vit import VitConfig
from abaw.systems.dan import DanClassifier
from abaw.systems.multitask import MultiTask
from abaw.training.checkpoints import Position, load_weights
from abaw.training.loop import Training, run_job
from abaw.training.optimisation import Optimisation
from abaw.training.states import States
from abaw.training.steps import Stepper
from abaw.training.workers import Worker


def final(job):
    return load_weights(job.folder / "checkpoints" / "final.safetensors")


def losses(job):
    lines = [json.loads(line) for line in (job.folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_learns_and_resumes_bit_for_bit(shards, make_job, tmp_path, precision):
    settings = {"epochs": 3, "precision": precision}
    whole, killed = (make_job(shards, tmp_path / name, **settings) for name in ("whole", "killed"))
    run_job(whole, Worker())
    assert losses(whole)[-1] < losses(whole)[0]
    runs.start(killed.folder, killed)
    training = Training(killed, Worker())
    training._train_epoch(0)
    training.states.save(training.stepper, Position(epoch=1, step=0))
    training.states.wait()
    run_job(killed, Worker())
    assert all(torch.equal(value, final(killed)[name]) for name, value in final(whole).items())


@pytest.mark.parametrize(("precision", "fused"), [("fp32", True), ("bf16", False), ("fp16", False)])
def test_attention_is_fused_on_a_cpu_in_single_precision_alone(precision, fused):
    system = MultiTask(encoder=VitConfig(size="micro", image_size=32)).build()
    Stepper(system, Optimisation(batch_size=4, precision=precision), seed=0, worker=Worker())
    assert [part.fused_attn for part in system.modules() if isinstance(part, Attention)] == [fused] * 2


def half_stepper():
    torch.manual_seed(0)
    system = MultiTask(encoder=VitConfig(size="micro", image_size=32)).build()
    return Stepper(system, Optimisation(batch_size=4, precision="fp16"), seed=0, worker=Worker())


def scaled_gradient(stepper, value):
    """As a backward pass of a scaled loss leaves it, were every gradient `value`."""
    stepper.scaler.scale(torch.zeros(1))  # the scale is made at its first use
    for parameter in stepper.system.parameters():
        parameter.grad = torch.full_like(parameter, value) * stepper.scaler.get_scale()


def test_a_scale_that_overflows_is_halved_and_is_no_divergence():
    stepper = half_stepper()
    for _ in range(12):
        scaled_gradient(stepper, float("inf"))
        assert not stepper._allowed()
    assert stepper.scaler.get_scale() == 2.0**4
    assert stepper.guard.skipped == 0
    scaled_gradient(stepper, 1e-3)
    assert stepper._allowed()
    parameter = next(stepper.system.parameters())
    assert parameter.grad.abs().max() == pytest.approx(1e-3)


def test_a_gradient_that_is_no_number_at_any_scale_is_skipped_and_counted():
    stepper = half_stepper()
    for _ in range(16 + 3):
        scaled_gradient(stepper, float("nan"))
        assert not stepper._allowed()
    assert stepper.guard.skipped == 3


def test_the_scale_comes_back_with_a_checkpoint(tmp_path):
    stepper, states = half_stepper(), States(tmp_path)
    for _ in range(3):
        scaled_gradient(stepper, float("inf"))
        stepper._allowed()
    states.save(stepper, Position(epoch=0, step=3))
    states.wait()
    fresh = half_stepper()
    States(tmp_path).load(fresh)
    assert fresh.scaler.state_dict() == stepper.scaler.state_dict()
    assert fresh.scaler.state_dict()["scale"] == 2.0**13


def test_a_machine_without_a_compiler_is_told_before_the_first_step(monkeypatch):
    monkeypatch.setenv("PATH", "")
    system = MultiTask(encoder=VitConfig(size="micro", image_size=32)).build()
    with pytest.raises(ValueError, match=r"no C\+\+ compiler, .* apt install g\+\+\), or give compile False"):
        Stepper(system, Optimisation(batch_size=4, compile=True), seed=0, worker=Worker())


def test_a_network_without_a_vision_transformer_is_not_compiled():
    system = DanClassifier(track="expr", image_size=64).build()
    with pytest.raises(ValueError, match="DanSystem has no Vision Transformer to compile"):
        Stepper(system, Optimisation(batch_size=4, compile=True), seed=0, worker=Worker())


@pytest.mark.slow
def test_compiled_fine_tuning_gives_what_it_gives_without():
    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=generator),
        "index": torch.arange(4),
        "va": torch.rand(4, 2, generator=generator),
        "va_mask": torch.ones(4, dtype=torch.bool),
        "expression": torch.arange(4),
        "expression_mask": torch.ones(4, dtype=torch.bool),
        "au": torch.eye(4, 12),
        "au_mask": torch.ones(4, 12, dtype=torch.bool),
    }
    told, weights = [], []
    for compiled in (False, True):
        torch.manual_seed(0)
        system = MultiTask(encoder=VitConfig(size="micro", image_size=32)).build()
        settings = Optimisation(batch_size=4, compile=compiled, lr=1e-3, warmup_epochs=0, ema_decay=0.9, epochs=1)
        stepper = Stepper(system, settings, seed=0, worker=Worker())
        told.append([stepper.step(iter([batch]), epoch=0, step=step, steps_per_epoch=3) for step in range(3)])
        weights.append(stepper.average.system.state_dict())
        compiled_blocks = [block._compiled_call_impl is not None for block in system.encoder.blocks]
        assert compiled_blocks == [compiled] * 2
    for plain, fused in zip(*told, strict=True):
        assert fused == pytest.approx(plain, rel=1e-3)
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=1e-4)
