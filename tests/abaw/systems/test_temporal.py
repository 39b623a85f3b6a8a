"""Temporal heads learn windows by heart, and lose nothing but what lies beyond a window."""

import pytest
import torch
from system_batches import MASKS

from abaw.systems.heads import task_losses
from abaw.systems.temporal import Temporal
from abaw.tracks import get_track

SMALL = {"features": 8, "width": 32, "depth": 2, "heads": 4}
KINDS = ("transformer", "tcn")


def windows(count=3, frames=32, *, beyond=5):
    """Windows whose last one ends `beyond` places before its end; some labels are missing."""
    generator = torch.Generator().manual_seed(0)
    size = (count, frames)
    mask = torch.ones(size, dtype=torch.bool)
    mask[-1, frames - beyond :] = False
    return {
        "feature": torch.randn(*size, 8, generator=generator),
        "frame": torch.randint(1, 4, size, generator=generator).cumsum(dim=1),
        "mask": mask,
        "va": torch.rand(*size, 2, generator=generator) * 2 - 1,
        "va_mask": torch.rand(size, generator=generator) > 0.2,
        "expression": torch.randint(0, 8, size, generator=generator),
        "expression_mask": torch.rand(size, generator=generator) > 0.2,
        "au": torch.randint(0, 2, (*size, 12), generator=generator).float(),
        "au_mask": torch.rand(*size, 12, generator=generator) > 0.2,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_windows_of_32_frames_are_learnt_by_heart(kind):
    torch.manual_seed(0)
    system = Temporal(kind=kind, dropout=0.0, **SMALL | {"width": 64}).build()
    optimiser = torch.optim.AdamW(system.parameters(), lr=1e-2)
    for _ in range(50):
        losses = system(windows(), torch.Generator())
        optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
    assert all(value < 0.1 for value in losses.values()), losses
    batch = windows()
    labelled = batch["expression_mask"] & batch["mask"]
    predicted = system.eval().predict(batch)["expr"].argmax(dim=-1)
    assert (predicted == batch["expression"])[labelled].all()


@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_the_frames_inside_the_windows(kind):
    torch.manual_seed(0)
    system = Temporal(kind=kind, au_weight=tuple(range(1, 13)), expression_weight=tuple(range(1, 9)), **SMALL).build()
    batch, inside = windows(), windows()["mask"]
    losses = system.eval()(batch, torch.Generator())
    logits = {name: value.view(3, 32, -1)[inside] for name, value in system.logits(batch).items()}
    labels = {name: value[inside] for name, value in batch.items()}
    weights = {"au_weight": torch.arange(1.0, 13), "expression_weight": torch.arange(1.0, 9)}
    expected = task_losses(logits, labels, **weights)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-5
    )
    # Labels of places beyond the window are never read.
    batch["va"][~inside], batch["au_mask"][~inside], batch["expression_mask"][~inside] = 99.0, True, True
    assert all(torch.equal(value, losses[name]) for name, value in system(batch, torch.Generator()).items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_labels_gives_finite_gradients_to_every_parameter(kind):
    system, batch = Temporal(kind=kind, **SMALL).build(), windows(2, 1, beyond=0)
    for name in MASKS:
        batch[name][:] = False
    losses = system(batch, torch.Generator())
    torch.stack(list(losses.values())).sum().backward()
    assert all(value == 0 for value in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in system.parameters())


@pytest.mark.parametrize("track", ["va", "expr", "au", "mtl", "lsd", "cexpr", "affectnet8", "emo135"])
def test_predictions_of_every_track_are_those_of_its_frames(track):
    system = Temporal(track=track, **SMALL).build().eval()
    batch = windows(2, 5, beyond=1)
    batch["expression"] %= 6  # the fewest classes that a track has
    assert set(system(batch, torch.Generator())) == {task.name for task in get_track(track).tasks}
    predicted = system.predict(batch)
    for task in get_track(track).tasks:
        assert predicted[task.name].shape == (2, 5, len(task.columns))
        if task.kind == "classes":
            assert torch.allclose(predicted[task.name].sum(dim=-1), torch.ones(2, 5))
    alone = system.predict({name: value[1:] for name, value in batch.items()})
    assert all(torch.allclose(alone[name], predicted[name][1:], atol=1e-6) for name in alone)


def test_other_features_and_impossible_widths_are_refused():
    with pytest.raises(ValueError, match="features have 8 values, this system takes 5"):
        Temporal(features=5).build().predict(windows())
    with pytest.raises(ValueError, match="features is 0; expected the number of values"):
        Temporal().build()
    with pytest.raises(ValueError, match="width is 30; expected an even multiple of the 4 heads"):
        Temporal(features=8, width=30).build()
