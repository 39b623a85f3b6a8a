"""Self-distillation: soft targets from the batch or from a frozen teacher, beside the labels or alone."""

import dataclasses
import math

import pytest
import torch
from system_batches import frames, learn, unlabelled

from abaw.models.vit import VitConfig
from abaw.systems.distillation import Distillation, soft_expression_loss, soft_losses
from abaw.systems.multitask import MultiTask

STUDENT = MultiTask(encoder=VitConfig(size="micro", image_size=16, patch_size=4))
LABELS = ("va", "expr", "au")


def taught(count=32):
    """A batch with its teacher's answers."""
    generator = torch.Generator().manual_seed(1)
    return frames(count, size=16) | {
        "soft_va": torch.rand(count, 2, generator=generator) * 2 - 1,
        "soft_expr": (4 * torch.randn(count, 8, generator=generator)).softmax(1),
        "soft_au": torch.rand(count, 12, generator=generator),
    }


def test_losses_follow_the_equations():
    """Eq. 2-4 with soft targets, in float64 with plain loops."""
    generator = torch.Generator().manual_seed(3)
    rows = 7
    logits = {
        name: torch.randn(rows, width, generator=generator) for name, width in zip(LABELS, (2, 8, 12), strict=True)
    }
    target = {
        "va": torch.rand(rows, 2, generator=generator) * 2 - 1,
        "expr": torch.randn(rows, 8, generator=generator).softmax(1),
        "au": torch.rand(rows, 12, generator=generator),
    }
    weight_C, weight_A = torch.rand(8, generator=generator) + 0.5, torch.rand(12, generator=generator) + 0.5
    found = soft_losses(logits, target, expression_weight=weight_C, au_weight=weight_A)
    expr = au = 0.0
    for row in range(rows):
        z = logits["expr"][row].double()
        expr -= sum(
            (weight_C[c] * target["expr"][row, c] * torch.log(z.exp()[c] / z.exp().sum())).item() for c in range(8)
        )
        for unit in range(12):
            p, y = torch.sigmoid(logits["au"][row, unit].double()).item(), target["au"][row, unit].item()
            au -= weight_A[unit].item() * (y * math.log(p) + (1 - y) * math.log(1 - p))
    va = 0.0
    for column in range(2):
        x, y = torch.tanh(logits["va"][:, column].double()), target["va"][:, column].double()
        covariance = ((x - x.mean()) * (y - y.mean())).mean()
        spread = x.var(correction=0) + y.var(correction=0) + (x.mean() - y.mean()) ** 2
        va += (1 - 2 * covariance / spread).item() / 2
    assert found["soft_expr"].item() == pytest.approx(expr / rows, rel=1e-5)
    assert found["soft_au"].item() == pytest.approx(au / rows / 12, rel=1e-5)
    assert found["soft_va"].item() == pytest.approx(va, rel=1e-5)


def test_a_teacher_as_sure_as_a_label_is_a_label():
    batch = taught(5)
    batch["soft_va"], batch["soft_au"] = batch["va"], batch["au"]
    batch["soft_expr"] = torch.nn.functional.one_hot(batch["expression"], 8).float()
    student = dataclasses.replace(STUDENT, expression_weight=(0.5, 1.5, 1, 1, 1, 1, 2, 0), au_weight=(2.0,) * 12)
    losses = Distillation(student=student).build()(batch, torch.Generator())
    for name in LABELS:
        assert losses[f"soft_{name}"].item() == pytest.approx(losses[name].item(), rel=1e-5)


def test_the_student_of_its_equal_has_nothing_to_learn_but_the_teachers_doubt():
    probability = torch.tensor([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    entropy = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1)) / 2
    logits = probability.clamp(min=1e-30).log().requires_grad_()
    loss = soft_expression_loss(logits, probability, weight_C=torch.ones(3))
    loss.backward()
    assert loss.item() == pytest.approx(entropy, rel=1e-5)
    assert logits.grad.abs().max() < 1e-6


def test_unlabelled_frames_still_teach():
    batch = unlabelled(taught(6))
    system = Distillation(student=STUDENT).build()
    losses = system(batch, torch.Generator())
    assert all(losses[name] == 0 for name in LABELS)
    assert all(losses[f"soft_{name}"] > 0 for name in LABELS)
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in system.parameters())


def test_label_weight_scales_the_losses_from_labels_alone():
    torch.manual_seed(0)
    system = Distillation(student=STUDENT).build()
    other = Distillation(student=STUDENT, label_weight=0.0).build()
    other.load_state_dict(system.state_dict())
    both, soft = system(taught(4), torch.Generator()), other(taught(4), torch.Generator())
    assert both["expr"] > 0
    assert soft["expr"] == 0
    assert soft["soft_expr"] == both["soft_expr"]


def test_a_live_teacher_gives_what_its_predictions_would_give():
    torch.manual_seed(0)
    live, batch = Distillation(student=STUDENT, teacher="live").build().train(), taught(6)
    cached = Distillation(student=STUDENT).build()
    cached.student.load_state_dict(live.student.state_dict())
    predicted = {f"soft_{name}": value for name, value in live.teacher.predict(batch).items()}
    ours, theirs = live(batch, torch.Generator()), cached(batch | predicted, torch.Generator())
    assert set(ours) == {"va", "expr", "au", "soft_va", "soft_expr", "soft_au"}
    for name, loss in ours.items():
        assert torch.equal(loss, theirs[name])


def test_a_live_teacher_is_bitwise_the_same_after_training():
    torch.manual_seed(0)
    encoder = VitConfig(size="micro", image_size=16, patch_size=4, stem="conv", drop_path=0.5)
    system = Distillation(student=MultiTask(encoder=encoder), teacher="live").build().train()
    before = {name: value.clone() for name, value in system.teacher.state_dict().items()}
    assert any(name.endswith("running_mean") for name in before)
    learn(system, taught(8), steps=3, lr=2e-3)
    assert all(torch.equal(value, before[name]) for name, value in system.teacher.state_dict().items())
    assert not any(module.training for module in system.train().teacher.modules())


def test_a_live_teacher_starts_from_whole_weights():
    first_pass = STUDENT.build()
    system = Distillation(student=STUDENT, teacher="live").build()
    assert set(system.trunks()) == {"encoder", "teacher"}
    (teacher,) = system.trunks()["teacher"]
    teacher.load_state_dict(first_pass.state_dict())
    found = system.teacher.eval().predict(taught(3))
    assert all(torch.equal(value, found[name]) for name, value in first_pass.eval().predict(taught(3)).items())


def test_learns_its_teachers_answers_by_heart():
    torch.manual_seed(0)
    batch = unlabelled(taught())
    system = Distillation(student=STUDENT, label_weight=0.0).build()
    learn(system, batch, steps=80, lr=2e-3)
    predicted = system.eval().predict(batch)
    assert (predicted["expr"] - batch["soft_expr"]).abs().mean() < 0.03
    assert (predicted["au"] - batch["soft_au"]).abs().mean() < 0.1
    assert system(batch, torch.Generator())["soft_va"] < 0.1


def test_a_batch_without_the_teachers_predictions_is_refused():
    batch = taught(2)
    del batch["soft_au"]
    with pytest.raises(ValueError, match="lacks the teacher's soft_au: add them, or set teacher=live"):
        Distillation(student=STUDENT).build()(batch, torch.Generator())


def test_layers_are_the_students():
    system = Distillation(student=STUDENT, teacher="live").build()
    assert system.layers == 3
    assert system.layer_of("student.encoder.pos_embed") == 0
    assert system.layer_of("student.encoder.blocks.1.norm1.weight") == 2
    assert system.layer_of("student.heads.va.weight") == 3
