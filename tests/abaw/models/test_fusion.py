"""Fusion by attention against plain NumPy, and what each key generator is made of."""

import numpy as np
import pytest
import torch
from torch import nn

from abaw.models.fusion import AttentionFusion, KeyGenerator

DENSE = {"mean": 1, "concat": 1, "updown-mean": 2, "updown-concat": 3}


def views(count=2, patches=9, width=12):
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(count, patches, width, generator=generator, dtype=torch.float64) for _ in range(2))


def arrays(layer):
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def dense(layer, x):
    weight, bias = arrays(layer)
    return x @ weight.T + bias


@pytest.mark.parametrize(("fusion", "layers"), DENSE.items())
def test_a_key_generator_has_the_papers_number_of_dense_layers(fusion, layers):
    generator = KeyGenerator(12, fusion)
    linear = [layer for layer in generator.modules() if isinstance(layer, nn.Linear)]
    assert len(linear) == layers
    assert linear[0].in_features == (24 if "concat" in fusion else 12)
    if "updown" in fusion:
        assert (linear[-2].out_features, linear[-1].out_features) == (24, 12)
    main, other = views()
    assert generator.double()(main, other).shape == main.shape


@pytest.mark.parametrize("fusion", DENSE)
def test_means_do_not_tell_the_views_apart_and_concatenations_do(fusion):
    torch.manual_seed(0)
    generator = KeyGenerator(12, fusion).double()
    main, other = views()
    same = torch.allclose(generator(main, other), generator(other, main))
    assert same == fusion.endswith("mean")


@pytest.mark.parametrize("fusion", DENSE)
def test_fusion_is_the_equations_written_out(fusion):
    torch.manual_seed(0)
    module = AttentionFusion(12, heads=3, fusion=fusion).double()
    main, other = views()
    fused = module(main, other).detach().numpy()
    keys = module.keys(main, other).detach().numpy()
    x = main.numpy()
    queries, values = dense(module.queries, x), dense(module.values, keys)
    kernel, bias = arrays(module.local)
    for image in range(2):
        padded = np.pad(keys[image].reshape(3, 3, 12), ((1, 1), (1, 1), (0, 0)))
        for patch in range(9):
            attended = np.empty(12)
            for head in range(3):
                part = slice(4 * head, 4 * head + 4)
                scores = keys[image][:, part] @ queries[image, patch, part] / np.sqrt(4)
                weights = np.exp(scores) / np.exp(scores).sum()
                attended[part] = weights @ values[image][:, part]
            row, column = divmod(patch, 3)
            around = padded[row : row + 3, column : column + 3]
            local = 1 / (1 + np.exp(-(np.einsum("ijd,dij->d", around, kernel[:, 0]) + bias)))
            refined = dense(module.project, attended + local * values[image, patch])
            assert fused[image, patch] == pytest.approx(x[image, patch] + refined, abs=1e-10)


@pytest.mark.parametrize("fusion", DENSE)
def test_both_views_reach_the_output_and_every_parameter_learns(fusion):
    module = AttentionFusion(12, heads=3, fusion=fusion).double()
    main, other = (view.requires_grad_() for view in views())
    module(main, other).square().sum().backward()
    assert main.grad.abs().sum() > 0
    assert other.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in module.parameters())
