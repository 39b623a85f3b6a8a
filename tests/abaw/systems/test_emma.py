"""EMMA: the two trunks never hear of valence and arousal, DAN never changes, and every variant learns."""

import numpy as np
import pytest
import torch
from system_batches import frames, learn, total, unlabelled

from abaw.models.vit import VitConfig, to_pixels
from abaw.systems.dan import DanClassifier
from abaw.systems.emma import Emma
from abaw.tracks import TRACKS, get_track

ENCODER = VitConfig(size="micro", image_size=16, patch_size=4)
SMALL = {"encoder": ENCODER, "pool": "mean"}


@pytest.mark.parametrize("va_from", ["vit+dan", "vit"])
def test_valence_and_arousal_give_no_gradient_to_the_trunks(va_from):
    torch.manual_seed(0)
    system = Emma(va_from=va_from, **SMALL).build()
    if system.dan is not None:
        system.dan.requires_grad_(True)  # the stop itself must hold, not only the frozen parameters
    system(frames(8, size=16), torch.Generator())["va"].backward()
    assert all(p.grad is None or (p.grad == 0).all() for n, p in system.named_parameters() if not n.startswith("va."))
    assert all(p.grad.abs().sum() > 0 for p in system.va.parameters())


def test_the_plain_vit_hears_of_valence_and_arousal():
    system = Emma(va_from="encoder", **SMALL).build()
    system(frames(8, size=16), torch.Generator())["va"].backward()
    assert system.encoder.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


def test_dan_is_bitwise_the_same_after_training():
    torch.manual_seed(0)
    system = Emma(expression_from="vit+dan", **SMALL).build().train()
    before = {name: value.clone() for name, value in system.dan.state_dict().items()}
    assert any(name.endswith("running_mean") for name in before)
    learn(system, frames(8, size=16), steps=3, lr=2e-3)
    assert all(torch.equal(value, before[name]) for name, value in system.dan.state_dict().items())
    assert system.train().training
    assert not any(module.training for module in system.dan.modules())


def ccc_of(x, y):
    """Lin's concordance (eq. 9) with variances over n."""
    return 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def test_the_losses_of_valence_and_arousal_are_summed():
    """Eq. 4, but for its constant."""
    torch.manual_seed(0)
    system, batch = Emma(**SMALL).build().eval(), frames(8, size=16)
    loss = system(batch, torch.Generator())["va"].item()
    parts = zip(system.predict(batch)["va"].detach().double().T, batch["va"].double().T, strict=True)
    ccc = [ccc_of(predicted.numpy(), true.numpy()) for predicted, true in parts]
    assert loss == pytest.approx(2 - sum(ccc), rel=1e-5)


@pytest.mark.parametrize("va_from", ["vit+dan", "encoder"])
def test_learns_32_frames_by_heart(va_from):
    torch.manual_seed(0)
    system, batch = Emma(va_from=va_from, **SMALL).build(), frames(size=16)
    learn(system, batch, steps=70, lr=2e-3)
    losses = {name: value.item() for name, value in system.eval()(batch, torch.Generator()).items()}
    assert losses["expr"] < 0.1
    assert losses["au"] < 0.1
    assert losses["va"] < 0.3
    assert (system.predict(batch)["expr"].argmax(1) == batch["expression"]).all()


def test_scores_are_joined_as_the_paper_says():
    """28 scores, 256 rectified units, two values: written out from section 3.2."""
    torch.manual_seed(0)
    system, batch = Emma(**SMALL).build().eval(), frames(4, size=16)
    pixels = to_pixels(batch["image"], image_size=16)
    predicted = system.predict(batch)
    features = system.encoder(pixels)[:, 1:].mean(1).double()
    weights = {name: value.double() for name, value in system.state_dict().items()}
    hidden = (features @ weights["hidden.0.weight"].T + weights["hidden.0.bias"]).clamp(min=0)
    scores = [hidden @ weights[f"heads.{name}.weight"].T + weights[f"heads.{name}.bias"] for name in ("expr", "au")]
    joined = torch.cat([*scores, system.dan(pixels).double()], dim=1)
    assert joined.shape == (4, 28)
    between = (joined @ weights["va.0.weight"].T + weights["va.0.bias"]).clamp(min=0)
    expected = torch.tanh(between @ weights["va.2.weight"].T + weights["va.2.bias"])
    assert torch.allclose(predicted["va"].double(), expected, atol=1e-6)
    assert torch.allclose(predicted["expr"].double(), scores[0].softmax(1), atol=1e-6)
    assert torch.allclose(predicted["au"].double(), torch.sigmoid(scores[1]), atol=1e-6)


def test_the_sum_matches_expressions_by_name():
    torch.manual_seed(0)
    system, batch = Emma(expression_from="vit+dan", **SMALL).build().eval(), frames(4, size=16)
    both = system.logits(batch["image"])["expr"]
    dan = system.dan(to_pixels(batch["image"], image_size=16))
    theirs, ours = get_track("affectnet8").tasks[0].columns, get_track("mtl").task("expr").columns
    for place, name in enumerate(ours):
        system.dan_to_track[:, place] = 0
        alone = system.logits(batch["image"])["expr"][:, place]
        added = dan[:, theirs.index(name)] if name in theirs else 0.0
        assert torch.allclose(both[:, place], alone + added, atol=1e-4)
    assert "Other" in ours
    assert "Other" not in theirs


@pytest.mark.parametrize("track", sorted(set(TRACKS) - {"va"}))
def test_every_track_runs(track):
    system, batch = Emma(track=track, **SMALL).build(), frames(4, size=16, track=track)
    assert set(system.eval().predict(batch)) == {task.name for task in get_track(track).tasks}
    total(system.train(), batch).backward()
    assert all(p.grad is not None for p in system.parameters() if p.requires_grad)


def test_a_track_without_scores_reads_valence_and_arousal_from_the_encoder():
    with pytest.raises(ValueError, match=r"track va gives no scores .* va_from=encoder"):
        Emma(track="va", **SMALL).build()
    assert Emma(track="va", va_from="encoder", **SMALL).build().predict(frames(2, size=16))["va"].shape == (2, 2)


def test_expressions_that_dan_does_not_know_are_not_summed():
    with pytest.raises(ValueError, match="none is a class of this track; set expression_from=vit"):
        Emma(track="cexpr", expression_from="vit+dan", **SMALL).build()


def test_without_labels_every_loss_and_gradient_is_zero():
    batch = unlabelled(frames(3, size=16))
    system = Emma(**SMALL).build()
    loss = total(system, batch)
    loss.backward()
    assert loss.item() == 0
    assert all((p.grad == 0).all() for p in system.parameters() if p.requires_grad)


def test_missing_labels_leave_the_losses_of_the_labelled_alone():
    torch.manual_seed(0)
    system, batch = Emma(**SMALL).build().eval(), frames(6, size=16)
    for label, mask in (("va", "va_mask"), ("expression", "expression_mask"), ("au", "au_mask")):
        batch[mask][4:], batch[label][4:] = False, 0
    ours = system(batch, torch.Generator())
    theirs = system({name: value[:4] for name, value in batch.items()}, torch.Generator())
    for name, loss in ours.items():
        assert loss.item() == pytest.approx(theirs[name].item(), rel=1e-5)


def test_trunks_and_layers():
    system = Emma(**SMALL).build()
    assert system.trunks() == {"encoder": [system.encoder], "dan": [system.dan]}
    assert set(Emma(va_from="vit", **SMALL).build().trunks()) == {"encoder"}
    assert system.layer_of("encoder.pos_embed") == 0
    assert system.layer_of("va.0.weight") == system.layer_of("hidden.0.weight") == system.layers == 3


@pytest.mark.slow
def test_a_dan_for_the_frozen_branch_learns_frames_by_heart():
    torch.manual_seed(0)
    batch = frames(16, size=16, track="affectnet8")
    system = DanClassifier(track="affectnet8", image_size=32).build()
    learn(system, batch, steps=30, lr=2e-3)
    predicted = system.eval().predict(batch)["expr"].argmax(1)
    assert (predicted == batch["expression"]).float().mean() > 0.8
    assert list(system.trunks()) == ["dan"]
