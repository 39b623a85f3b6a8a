"""DAN against its equations in float64, and against the layout of the published weights."""

import pytest
import torch
import torch.nn.functional as F
from torchvision.models import resnet18

from abaw.models.dan import Dan

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def published_layout():
    """Names and shapes of the tensors in `affecnet8_*.pth`, written from the ResNet's own names and a table."""
    places = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    layout = {}
    for name, value in resnet18(weights=None).state_dict().items():
        stage, rest = name.split(".", 1)
        if stage != "fc":
            layout[f"features.{places[stage]}.{rest}"] = tuple(value.shape)
    kernels = {"conv1x1": (256, 512, 1, 1), "conv_3x3": (512, 256, 3, 3), "conv_1x3": (512, 256, 1, 3)}
    kernels["conv_3x1"] = (512, 256, 3, 1)
    for head in range(4):
        for name, shape in kernels.items():
            layout |= {f"cat_head{head}.sa.{name}.0.weight": shape, f"cat_head{head}.sa.{name}.0.bias": shape[:1]}
            layout |= norm(f"cat_head{head}.sa.{name}.1", shape[0])
        attention = f"cat_head{head}.ca.attention"
        layout |= {f"{attention}.0.weight": (32, 512), f"{attention}.0.bias": (32,)}
        layout |= norm(f"{attention}.1", 32)
        layout |= {f"{attention}.3.weight": (512, 32), f"{attention}.3.bias": (512,)}
    return layout | {"fc.weight": (8, 512), "fc.bias": (8,)} | norm("bn", 8)


def norm(name, width):
    return {f"{name}.{part}": () if part == "num_batches_tracked" else (width,) for part in NORM}


def lively(network):
    """Statistics and biases that are not 0 and 1, so that a forgotten one shows; weights that keep values moderate."""
    generator = torch.Generator().manual_seed(1)
    for name, value in network.state_dict().items():
        if name.endswith(("running_var", "running_mean")):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.double().eval()


def test_the_published_weights_fit(tmp_path):
    weights = {name: torch.zeros(shape) for name, shape in published_layout().items()}
    torch.save({"model_state_dict": weights, "iter": 5}, tmp_path / "affecnet8.pth")
    stored = torch.load(tmp_path / "affecnet8.pth", weights_only=True)["model_state_dict"]
    network = Dan()
    network.load_state_dict(stored)
    assert all((value == 0).all() for value in network.state_dict().values())


@pytest.mark.parametrize("heads", [1, 4])
def test_scores_follow_the_equations(heads):
    torch.manual_seed(0)
    network = lively(Dan(heads=heads))
    pixels = torch.randn(3, 3, 96, 64, dtype=torch.float64)
    weights = network.state_dict()
    trunk = resnet18(weights=None).double().eval()
    places = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}
    split = {
        name.split(".", 2)[1:][0] + "." + name.split(".", 2)[2]: v for name, v in weights.items() if "feat" in name
    }
    renamed = {f"{places[int(name.split('.', 1)[0])]}.{name.split('.', 1)[1]}": v for name, v in split.items()}
    trunk.load_state_dict(renamed | {"fc.weight": trunk.fc.weight, "fc.bias": trunk.fc.bias})
    maps = []
    trunk.layer4.register_forward_hook(lambda module, given, result: maps.append(result))
    trunk(pixels)

    def normed(x, name):
        shape = (1, -1) + (1,) * (x.ndim - 2)
        mean, variance, scale, shift = (
            weights[f"{name}.{part}"].reshape(shape) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * scale + shift

    def convolved(x, name, padding=0):
        return normed(F.conv2d(x, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], padding=padding), f"{name}.1")

    features = []
    for head in range(heads):
        sa, ca = f"cat_head{head}.sa", f"cat_head{head}.ca.attention"
        narrow = convolved(maps[0], f"{sa}.conv1x1")
        seen = convolved(narrow, f"{sa}.conv_3x3", 1) + convolved(narrow, f"{sa}.conv_1x3", (0, 1))
        seen = (seen + convolved(narrow, f"{sa}.conv_3x1", (1, 0))).clamp(min=0)
        mean = (maps[0] * seen.sum(1, keepdim=True)).mean((2, 3))
        squeezed = normed(mean @ weights[f"{ca}.0.weight"].T + weights[f"{ca}.0.bias"], f"{ca}.1").clamp(min=0)
        features.append(mean / (1 + torch.exp(-(squeezed @ weights[f"{ca}.3.weight"].T + weights[f"{ca}.3.bias"]))))
    total = sum(features) - (heads > 1) * heads * torch.logsumexp(torch.stack(features), dim=0)
    expected = normed(total @ weights["fc.weight"].T + weights["fc.bias"], "bn")
    assert torch.allclose(network(pixels), expected, rtol=1e-9, atol=1e-9)
    assert expected.shape == (3, 8)
