"""Losses against float64 loops written from the equations; missing labels; gradients at the edges."""

import math

import pytest
import torch

from abaw.systems.losses import au_loss, ccc_loss, expression_loss


def random_rows(rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator)


def test_expression_loss_is_weighted_cross_entropy_over_labelled_rows():
    logits, classes = random_rows(6, 4), torch.tensor([0, 3, 2, 1, 3, 0])
    mask = torch.tensor([True, True, False, True, False, True])
    weights = torch.tensor([0.5, 2.0, 1.0, 0.25])
    terms = []
    for row, target in zip(logits[mask].double().tolist(), classes[mask].tolist(), strict=True):
        terms.append(-weights[target].item() * math.log(math.exp(row[target]) / sum(map(math.exp, row))))
    expected = math.fsum(terms) / len(terms)
    assert expression_loss(logits, classes, mask_B=mask, weight_C=weights).item() == pytest.approx(expected, rel=1e-6)


def test_au_loss_is_binary_cross_entropy_over_labelled_entries():
    logits, active = random_rows(5, 3), (random_rows(5, 3, seed=1) > 0).float()
    mask = random_rows(5, 3, seed=2) > -0.5
    weights, active_weights = torch.tensor([1.0, 3.0, 0.5]), torch.tensor([2.0, 1.0, 4.0])
    terms = []
    for row in range(5):
        for unit in range(3):
            if mask[row, unit]:
                probability = 1 / (1 + math.exp(-logits[row, unit].item()))
                of_active = active_weights[unit].item() * math.log(probability)
                chosen = of_active if active[row, unit] else math.log(1 - probability)
                terms.append(-weights[unit].item() * chosen)
    expected = math.fsum(terms) / len(terms)
    found = au_loss(logits, active, mask_BA=mask, weight_A=weights, active_weight_A=active_weights)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_ccc_loss_is_one_minus_lin_with_one_over_n():
    pred, target = random_rows(7, 2), random_rows(7, 2, seed=1)
    mask = torch.tensor([True, False, True, True, True, False, True])
    values = []
    for column in range(2):
        x, y = pred[mask, column].double().tolist(), target[mask, column].double().tolist()
        n, mx, my = len(x), math.fsum(x) / len(x), math.fsum(y) / len(y)
        covariance = math.fsum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / n
        spread = math.fsum((a - mx) ** 2 for a in x) / n + math.fsum((b - my) ** 2 for b in y) / n
        values.append(1 - 2 * covariance / (spread + (mx - my) ** 2))
    assert ccc_loss(pred, target, mask_B=mask).item() == pytest.approx(sum(values) / 2, rel=1e-5)


@pytest.mark.parametrize("task", ["va", "expr", "au"])
def test_what_is_not_labelled_never_changes_loss_or_gradient(task):
    def loss_and_gradient(garbage):
        logits = random_rows(8, {"va": 2, "expr": 4, "au": 3}[task]).requires_grad_()
        mask = torch.arange(8) % 3 > 0
        if task == "va":
            target = random_rows(8, 2, seed=1).where(mask[:, None], torch.tensor(garbage))
            loss = ccc_loss(logits, target, mask_B=mask)
        elif task == "expr":
            target = torch.arange(8) % 4
            target = target.where(mask, torch.tensor(-1 if garbage != 0 else 0))
            loss = expression_loss(logits, target, mask_B=mask)
        else:
            mask_BA = mask[:, None].expand(8, 3)
            target = torch.ones(8, 3).where(mask_BA, torch.tensor(garbage))
            loss = au_loss(logits, target, mask_BA=mask_BA)
        loss.backward()
        return loss.item(), logits.grad

    loss, gradient = loss_and_gradient(0.0)
    for garbage in (-5.0, math.nan):
        again, other = loss_and_gradient(garbage)
        assert again == loss
        assert torch.equal(gradient, other)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("labelled", [False, True])
def test_gradients_are_finite_at_the_edges(rows, labelled):
    mask = torch.full((rows,), labelled)
    va, expr, au = (torch.full((rows, columns), 80.0, requires_grad=True) for columns in (2, 8, 12))
    loss = (
        ccc_loss(va.tanh(), torch.zeros(rows, 2), mask_B=mask)
        + expression_loss(expr, torch.zeros(rows, dtype=torch.long), mask_B=mask)
        + au_loss(au, torch.zeros(rows, 12), mask_BA=mask[:, None].expand(rows, 12))
    )
    loss.backward()
    for value in (va, expr, au):
        assert value.grad is not None
        assert value.grad.isfinite().all()
    if not labelled:
        assert loss.item() == 0
