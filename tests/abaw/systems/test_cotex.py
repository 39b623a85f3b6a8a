"""Masked CoTEX: eq. 5 and 6 in float64, masks of their own for each view, inference that hides nothing."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from system_batches import MASKS, frames

from abaw.models.vit import VitConfig
from abaw.systems.cotex import MaskedCotex, disagreement, jensen_shannon, masked_batch_size
from abaw.systems.heads import task_predictions
from abaw.tracks import TRACKS, get_track

ENCODER = VitConfig(size="micro", image_size=32, patch_size=8)


def chance():
    return torch.Generator().manual_seed(0)


def entropy(p):
    return -np.sum(p * np.log(p), axis=-1)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 9), st.floats(0.01, 5), st.integers(0, 2**31))
def test_divergence_is_equation_6_of_any_number_of_views(views, rows, classes, spread, seed):
    logits = np.random.default_rng(seed).normal(size=(views, rows, classes)) * spread
    p = softmax(logits)
    average = p.mean(axis=0)
    by_entropy = entropy(average) - entropy(p).mean(axis=0)
    by_kl = np.mean([(view * np.log(view / average)).sum(axis=-1) for view in p], axis=0)
    computed = jensen_shannon(torch.from_numpy(logits).log_softmax(-1)).numpy()
    assert computed == pytest.approx(by_entropy, abs=1e-12)
    assert computed == pytest.approx(by_kl, abs=1e-12)
    in_single = jensen_shannon(torch.from_numpy(logits).float().log_softmax(-1)).numpy()
    assert in_single == pytest.approx(by_kl, abs=1e-6)
    assert computed.min() > -1e-12
    assert computed.max() < math.log(views) + 1e-12
    swapped = jensen_shannon(torch.from_numpy(logits[::-1].copy()).log_softmax(-1)).numpy()
    assert swapped == pytest.approx(computed, abs=1e-12)


def test_divergence_is_0_for_equal_views_and_log_2_for_opposite_ones_with_finite_gradients():
    sure = torch.tensor([[200.0, -200.0, 0.0]])
    assert jensen_shannon(torch.stack([sure, sure]).log_softmax(-1)).item() == 0
    logits = torch.stack([sure, sure.roll(1, dims=1)]).requires_grad_()
    divergence = jensen_shannon(logits.log_softmax(-1))
    assert divergence.item() == pytest.approx(math.log(2))
    divergence.sum().backward()
    assert logits.grad.isfinite().all()


def test_disagreement_of_each_task_against_float64():
    generator = np.random.default_rng(0)
    raw = {"expr": generator.normal(size=(2, 5, 8)), "au": generator.normal(size=(2, 5, 12))}
    raw["va"] = generator.normal(size=(2, 5, 2))
    tensors = [{task: torch.tensor(value[view]).float() for task, value in raw.items()} for view in range(2)]
    p = softmax(raw["expr"])
    expected = np.mean(entropy(p.mean(0)) - entropy(p).mean(0))
    active = 1 / (1 + np.exp(-raw["au"]))
    both = np.stack([active, 1 - active], axis=-1)
    expected += np.mean(entropy(both.mean(0)) - entropy(both).mean(0))
    first, second = np.tanh(raw["va"])
    expected += np.mean(((first - second) / 2) ** 2)
    assert disagreement(tensors).item() == pytest.approx(expected, rel=1e-5)
    assert disagreement([tensors[0], tensors[0]]).item() == pytest.approx(0, abs=1e-7)


def test_losses_are_the_sum_of_the_views_cross_entropies_and_lambda_times_the_divergence():
    torch.manual_seed(0)
    system = MaskedCotex(track="expr", encoder=ENCODER, mask_ratio=0.5, agreement=7.0).build()
    batch = frames(6)
    losses = system(batch, chance())
    logits_V = system.logits(batch["image"], system.visible(6, torch.device("cpu"), chance()))
    p = softmax(np.stack([view["expr"].detach().double().numpy() for view in logits_V]))
    assert losses.keys() == {"expr", "agreement"}
    labels = batch["expression"].numpy()
    assert losses["expr"].item() == pytest.approx(-np.log(p[:, np.arange(6), labels]).mean(1).sum(), rel=1e-5)
    divergence = np.mean(entropy(p.mean(0)) - entropy(p).mean(0))
    assert losses["agreement"].item() == pytest.approx(7 * divergence, rel=1e-3)


def test_each_view_and_image_draws_its_own_patches():
    system = MaskedCotex(encoder=ENCODER, views=3, mask_ratio=0.75).build()
    masks = system.visible(50, torch.device("cpu"), chance())
    assert [mask.shape for mask in masks] == [(50, 4)] * 3
    seen = [[frozenset(row.tolist()) for row in mask] for mask in masks]
    assert all(len(row) == 4 and row <= set(range(16)) for view in seen for row in view)
    shared = [len(a & b) for a, b in zip(seen[0], seen[1], strict=True)]
    assert 0.4 < np.mean(shared) < 1.6  # of 4 patches, 1 by chance
    assert len(set(seen[0])) > 40


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_hidden_patches_cannot_change_a_view_but_do_change_its_prediction(pool):
    torch.manual_seed(0)
    system = MaskedCotex(track="expr", encoder=ENCODER, pool=pool, mask_ratio=0.75).build().eval()
    batch = frames(1)
    masks = system.visible(1, torch.device("cpu"), chance())
    before = system.logits(batch["image"], masks)
    patch = next(k for k in range(16) if k not in masks[0] and k in masks[1])
    row, column = divmod(patch, 4)
    changed = dict(batch, image=batch["image"].clone())
    changed["image"][:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] += 128
    after = system.logits(changed["image"], masks)
    assert torch.equal(before[0]["expr"], after[0]["expr"])
    assert not torch.equal(before[1]["expr"], after[1]["expr"])
    assert not torch.equal(system.predict(batch)["expr"], system.predict(changed)["expr"])


def test_a_prediction_is_the_mean_of_the_views_with_nothing_hidden():
    torch.manual_seed(0)
    system = MaskedCotex(track="mtl", encoder=ENCODER, views=3, mask_ratio=0.9).build().eval()
    batch = frames(4)
    predicted = system.predict(batch)
    views = [task_predictions(view) for view in system.logits(batch["image"], [None] * 3)]
    for task in get_track("mtl").tasks:
        assert predicted[task.name].shape == (4, len(task.columns))
        torch.testing.assert_close(predicted[task.name], sum(view[task.name] for view in views) / 3)
        assert not torch.equal(views[0][task.name], views[1][task.name])
    assert torch.equal(predicted["expr"], system.predict(batch)["expr"])


@pytest.mark.parametrize(("mask_ratio", "pool", "steps"), [(0.0, "token", 60), (0.5, "mean", 60)])
def test_it_learns_32_frames_by_heart(mask_ratio, pool, steps):
    torch.manual_seed(0)
    encoder = VitConfig(size="micro", image_size=32, patch_size=8, stem="conv")
    config = MaskedCotex(track="expr", encoder=encoder, mask_ratio=mask_ratio, pool=pool)
    system, batch = config.build().train(), frames()
    optimiser, generator = torch.optim.AdamW(system.parameters(), lr=1e-3), chance()
    for _ in range(steps):
        optimiser.zero_grad()
        torch.stack(list(system(batch, generator).values())).sum().backward()
        optimiser.step()
    assert (system.eval().predict(batch)["expr"].argmax(1) == batch["expression"]).all()


@pytest.mark.parametrize("track", sorted(TRACKS))
def test_every_track_has_its_losses_columns_and_gradients(track):
    tasks = get_track(track).tasks
    system = MaskedCotex(track=track, encoder=ENCODER).build()
    batch = frames(3, track=track)
    losses = system(batch, chance())
    assert losses.keys() == {task.name for task in tasks} | {"agreement"}
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad is not None for parameter in system.parameters())
    assert {name: value.shape for name, value in system.predict(batch).items()} == {
        task.name: (3, len(task.columns)) for task in tasks
    }


def test_missing_labels_leave_the_losses_of_the_others_alone():
    torch.manual_seed(0)
    system = MaskedCotex(track="mtl", encoder=ENCODER, mask_ratio=0.0).build()
    batch = frames(6)
    alone = system({name: value[1:] for name, value in batch.items()}, chance())
    for name in MASKS:
        batch[name][0] = False
    together = system(batch, chance())
    batch["expression"][0], batch["va"][0], batch["au"][0] = 7, 0.9, 1
    for losses in (together, system(batch, chance())):
        for task in ("va", "expr", "au"):
            assert losses[task].item() == pytest.approx(alone[task].item(), rel=1e-5)


@pytest.mark.parametrize("count", [1, 4])
def test_without_any_label_only_the_agreement_moves_the_weights(count):
    system = MaskedCotex(track="mtl", encoder=ENCODER).build()
    batch = frames(count)
    for name in MASKS:
        batch[name][:] = False
    losses = system(batch, chance())
    assert [losses[task].item() for task in ("va", "expr", "au")] == [0, 0, 0]
    torch.stack(list(losses.values())).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in system.parameters())
    assert any((parameter.grad != 0).any() for parameter in system.parameters())


@pytest.mark.parametrize("off", [{"views": 1}, {"agreement": 0.0}])
def test_one_view_or_lambda_0_has_no_agreement(off):
    torch.manual_seed(0)
    system = MaskedCotex(track="expr", encoder=ENCODER, **off).build()
    losses = system(frames(2), chance())
    assert losses.keys() == {"expr"}
    assert 1.9 * system.config.views < losses["expr"].item() < 2.3 * system.config.views


def test_all_views_start_from_one_trunk_and_have_layers():
    system = MaskedCotex(encoder=ENCODER, views=3).build()
    assert system.trunks() == {"encoder": list(system.encoders)}
    layers = {name: system.layer_of(name) for name, _ in system.named_parameters()}
    assert layers["encoders.2.pos_embed"] == 0
    assert layers["encoders.1.blocks.1.mlp.fc1.weight"] == 2
    assert layers["heads.2.expr.weight"] == layers["encoders.0.norm.weight"] == system.layers == 3


@pytest.mark.parametrize(
    ("base", "mask_ratio", "images"),
    [
        (64, 0, 64),
        (64, 0.5, 128),
        (64, 0.75, 256),
        (256, 0.75, 1024),
        (256, 0.85, 1536),
        (256, 0.9, 2560),
        (256, 0.95, 4096),
        (100, 0.95, 2000),
    ],
)
def test_batch_sizes_of_table_6(base, mask_ratio, images):
    assert masked_batch_size(base, mask_ratio=mask_ratio) == images


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("views", 0, "views is 0; expected 1 or more"),
        ("mask_ratio", 1.0, r"mask_ratio is 1.0; expected a share in \[0, 1\)"),
        ("agreement", -1.0, "agreement is -1.0; expected 0"),
    ],
)
def test_impossible_settings_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        MaskedCotex(**{field: value})


def test_a_ratio_that_hides_everything_is_refused():
    system = MaskedCotex(encoder=ENCODER, mask_ratio=0.99).build()
    with pytest.raises(ValueError, match="leaves 0 of 16 patches visible"):
        system(frames(1), chance())
