"""SimCLR, SimSiam, BYOL and ContraWarping: losses written from the equations, stopped gradients, and learning."""

import math

import pytest
import torch

from abaw.models.backbones import BackboneConfig
from abaw.models.global_views import GlobalViews
from abaw.models.warping import Warping, draw_warps
from abaw.systems.byol import Byol, distance, target_momentum
from abaw.systems.contrawarping import ContraWarping, push_loss
from abaw.systems.siamese import mlp
from abaw.systems.simclr import SimClr, nt_xent
from abaw.systems.simsiam import SimSiam, simsiam_loss
from abaw.systems.supervised import Supervised

MICRO = BackboneConfig(name="resnet-micro", image_size=32)
VIT = BackboneConfig(name="vit-micro", image_size=32, vit_stem="conv")
VIEWS = GlobalViews(colour=0.2)
METHODS = {
    "simclr": lambda backbone: SimClr(backbone=backbone, views=VIEWS, hidden=64, output=32),
    "simsiam": lambda backbone: SimSiam(backbone=backbone, views=VIEWS, output=64, bottleneck=16),
    "byol": lambda backbone: Byol(backbone=backbone, views=VIEWS, hidden=64, output=32, momentum=0.9),
    "contrawarping": lambda backbone: ContraWarping(backbone=backbone, views=VIEWS, hidden=64, output=32, momentum=0.9),
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def rows(seed, count=5, width=7):
    return torch.randn(count, width, generator=seeded(seed))


def frames(count=32):
    coarse = torch.rand(count, 3, 8, 8, generator=seeded(0))
    return {"image": (torch.nn.functional.interpolate(coarse, size=(48, 48), mode="bilinear") * 255).byte()}


def cosine(first, second):
    dot = math.fsum(a * b for a, b in zip(first, second, strict=True))
    return dot / math.sqrt(math.fsum(a * a for a in first) * math.fsum(b * b for b in second))


def train(system, steps, lr=3e-3):
    optimiser = torch.optim.AdamW([value for value in system.train().parameters() if value.requires_grad], lr=lr)
    history = []
    for step in range(steps):
        losses = system(frames(), seeded(step))
        loss = torch.stack(list(losses.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        system.after_step((step + 1) / steps)
        history.append(loss.item())
    return history


def test_nt_xent_is_equation_1():
    first, second, temperature = rows(0).double().tolist(), rows(1).double().tolist(), 0.3
    views, terms = first + second, []
    for i, view in enumerate(views):
        j = (i + 5) % 10
        others = [math.exp(cosine(view, views[k]) / temperature) for k in range(10) if k != i]
        terms.append(-math.log(math.exp(cosine(view, views[j]) / temperature) / math.fsum(others)))
    expected = math.fsum(terms) / len(terms)
    assert nt_xent(rows(0), rows(1), temperature=temperature).item() == pytest.approx(expected, rel=1e-5)


def test_simsiam_loss_is_equation_4():
    predicted1, predicted2, first, second = (rows(seed).double().tolist() for seed in range(4))
    towards = [cosine(p, z) / 2 for p, z in zip(predicted1 + predicted2, second + first, strict=True)]
    found = simsiam_loss(rows(0), rows(1), rows(2), rows(3))
    assert found.item() == pytest.approx(-math.fsum(towards) / 5, rel=1e-5)


def test_distance_is_that_of_rows_of_length_1():
    for found, a, b in zip(distance(rows(0), rows(1)).tolist(), rows(0).tolist(), rows(1).tolist(), strict=True):
        first, second = ([v / math.sqrt(math.fsum(w * w for w in row)) for v in row] for row in (a, b))
        assert found == pytest.approx(math.fsum((x - y) ** 2 for x, y in zip(first, second, strict=True)), rel=1e-5)


def test_push_is_what_each_distance_lacks_to_the_margin():
    lacking = [max(0.0, 1.9 - (2 - 2 * cosine(a, b))) for a, b in zip(rows(0).tolist(), rows(1).tolist(), strict=True)]
    assert 0 in lacking
    assert push_loss(rows(0), rows(1), margin=1.9).item() == pytest.approx(math.fsum(lacking) / 5, rel=1e-5)


@pytest.mark.parametrize("size", [1, 2])
def test_gradients_are_finite_at_the_edges(size):
    for rest in (torch.zeros(size, 4), torch.ones(size, 4)):
        free = [rest.clone().requires_grad_() for _ in range(4)]
        losses = [
            nt_xent(free[0], free[1], temperature=0.1),
            simsiam_loss(*free),
            distance(free[0], free[2]).mean(),
            push_loss(free[1], free[3], margin=0.5),
        ]
        torch.stack(losses).sum().backward()
        assert all(value.grad is None or value.grad.isfinite().all() for value in free)


def test_simsiam_stops_the_gradient_of_what_is_predicted():
    predicted1, predicted2, first, second = (rows(seed).requires_grad_() for seed in range(4))
    simsiam_loss(predicted1, predicted2, first, second).backward()
    assert first.grad is None
    assert second.grad is None
    assert predicted1.grad is not None
    assert predicted1.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["byol", "contrawarping"])
def test_the_target_sees_no_gradient_and_moves_by_its_momentum_alone(name):
    torch.manual_seed(0)
    system = METHODS[name](MICRO).build().train()
    before = {key: value.clone() for key, value in system.target.named_parameters()}
    torch.stack(list(system(frames(4), seeded(0)).values())).sum().backward()
    assert all(value.grad is None for value in system.target.parameters())
    online = dict(torch.nn.ModuleList([system.encoder, system.projector]).named_parameters())
    assert all(value.grad is not None for value in online.values())
    with torch.no_grad():
        for value in online.values():
            value.add_(1.0)
    system.after_step(0.25)
    keep = 1 - (1 - 0.9) * (math.cos(math.pi * 0.25) + 1) / 2
    for key, value in system.target.named_parameters():
        expected = keep * before[key].double() + (1 - keep) * online[key].detach().double()
        assert torch.allclose(value.double(), expected, atol=1e-6), key


def test_the_targets_momentum_rises_to_1():
    assert target_momentum(0.996, 1e-9) == pytest.approx(0.996)
    assert target_momentum(0.996, 0.5) == pytest.approx(0.998)
    assert target_momentum(0.996, 1.0) == 1


@pytest.mark.parametrize(
    ("name", "backbone"), [("simclr", MICRO), ("simsiam", VIT), ("byol", VIT), ("contrawarping", VIT)]
)
def test_the_loss_falls_and_features_do_not_collapse(name, backbone):
    torch.manual_seed(0)
    system = METHODS[name](backbone).build()
    history = train(system, 10)
    assert sum(history[-3:]) < sum(history[:3])
    features = torch.nn.functional.normalize(system.pooled(frames()["image"].float()), dim=1)
    # Rows of length 1 that all point the same way would have a spread of 0; random ones have 1.
    assert features.std(dim=0).norm() > 0.1


def test_every_parameter_gets_a_gradient_in_every_step():
    for method in METHODS.values():
        system = method(VIT).build().train()
        torch.stack(list(system(frames(4), seeded(0)).values())).sum().backward()
        missing = [name for name, value in system.named_parameters() if value.requires_grad and value.grad is None]
        assert missing == []


@pytest.mark.parametrize("name", list(METHODS))
def test_chance_comes_from_the_generator_alone(name):
    torch.manual_seed(0)
    system = METHODS[name](MICRO).build().eval()

    def losses(seed):
        return [value.item() for value in system(frames(), seeded(seed)).values()]

    first = losses(3)
    torch.manual_seed(1)
    assert losses(3) == first
    assert losses(4) != first


def test_contrawarping_learns_to_tell_moved_muscles_from_global_changes():
    torch.manual_seed(0)
    config = ContraWarping(
        backbone=VIT,
        views=GlobalViews(crop_scale=0.9, flip=False, colour=0.1, grey=0.0),
        warping=Warping(shift=0.3),
        hidden=64,
        output=32,
        momentum=0.9,
        margin=1.0,
        push=2.0,
    )
    system = config.build()
    images = frames()["image"]

    def gap():
        """How much farther a moved view is from the other view than the view itself is."""
        generator = seeded(1000)
        view, other = system.draw_view(images, generator), system.draw_view(images, generator)
        warps = draw_warps(config.warping, len(images), generator)
        with torch.no_grad():
            target = system.project_target(system.see(images, other))
            both = torch.cat([system.see(images, view), system.see(images, view, warps)])
            same, moved = system.predict_views(both).chunk(2)
        return (distance(moved, target) - distance(same, target)).mean().item()

    before = gap()
    train(system, 20)
    assert gap() > before + 0.05


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("backbone", [MICRO, VIT], ids=["resnet", "vit"])
def test_fine_tuning_takes_the_encoder_of_pre_training(name, backbone):
    weights = METHODS[name](backbone).build().state_dict()
    encoder = {key: value for key, value in weights.items() if key.startswith("encoder.")}
    system = Supervised(backbone=backbone, pool="gap").build()
    fitting = system.load_state_dict(encoder, strict=False)
    assert fitting.unexpected_keys == []
    assert all(not key.startswith("encoder.") for key in fitting.missing_keys)


def test_a_start_from_other_weights_goes_into_byols_target_too():
    system = METHODS["byol"](MICRO).build()
    online, target = system.trunks()["encoder"]
    assert online is system.encoder
    assert online.state_dict().keys() == target.state_dict().keys()
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in online.state_dict().items())


def test_batch_norm_is_where_the_methods_have_it():
    def norms(network):
        return [type(layer).__name__ for layer in network]

    simsiam, byol = SimSiam(backbone=MICRO).build(), Byol(backbone=MICRO).build()
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert norms(simsiam.projector) == [*hidden, *hidden, "Linear", "BatchNorm1d"]
    assert norms(simsiam.predictor) == [*hidden, "Linear"]
    assert norms(byol.projector) == norms(byol.predictor) == [*hidden, "Linear"]
    assert norms(SimClr(backbone=MICRO).build().projector) == ["Linear", "ReLU", "Linear"]
    assert mlp(3, 4, 5)[-1].bias is not None


@pytest.mark.parametrize("name", list(METHODS))
def test_it_predicts_no_track(name):
    with pytest.raises(ValueError, match="learns without labels and predicts no track"):
        METHODS[name](MICRO).build().predict(frames(1))
