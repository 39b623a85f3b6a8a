"""What lies beyond a window changes nothing, true times do, and absolute times do not."""

import pytest
import torch

from abaw.models.temporal import TemporalConvolutions, TemporalTransformer, frames_since_first, log_gaps, sinusoids

FEATURES, WIDTH = 6, 16
NETWORKS = {
    "transformer": lambda: TemporalTransformer(FEATURES, width=WIDTH, depth=2, heads=4, dropout=0.1),
    "tcn": lambda: TemporalConvolutions(FEATURES, width=WIDTH, depth=3, dropout=0.1),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return NETWORKS[request.param]().eval()


def window(frames=12):
    generator = torch.Generator().manual_seed(1)
    feature = torch.randn(2, frames, FEATURES, generator=generator)
    frame = torch.randint(1, 5, (2, frames), generator=generator).cumsum(dim=1) + 100
    return feature, frame, torch.ones(2, frames, dtype=torch.bool)


def test_what_stands_in_padding_changes_nothing_bit_for_bit(network):
    feature, frame, mask = window()
    mask[0, 9:], mask[1, :4] = False, False
    expected = network(feature, frame, mask)
    feature[~mask] = 1e4
    frame[~mask] = 7
    result = network(feature, frame, mask)
    assert torch.equal(result[mask], expected[mask])
    assert (result[~mask] == 0).all()


def test_a_longer_padding_changes_nothing(network):
    feature, frame, mask = window()
    before, after = 3, 5
    longer = (
        torch.nn.functional.pad(feature, (0, 0, before, after), value=3.0),
        torch.nn.functional.pad(frame, (before, after), value=50),
        torch.nn.functional.pad(mask, (before, after)),
    )
    assert torch.allclose(network(*longer)[:, before:-after], network(feature, frame, mask), atol=1e-5)


def test_padding_gets_no_gradient_and_gives_none_that_is_no_number(network):
    feature, frame, mask = window()
    mask[0, 1:] = False
    feature.requires_grad_(True)
    network.train()(feature, frame, mask).square().sum().backward()
    assert (feature.grad[~mask] == 0).all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_how_far_frames_are_apart_matters_and_where_the_video_stands_does_not(network):
    feature, frame, mask = window()
    expected = network(feature, frame, mask)
    assert torch.equal(network(feature, frame + 10_000, mask), expected)
    later = frame.clone()
    later[:, 6:] += 40
    assert (network(feature, later, mask) - expected).abs().amax(dim=-1).max() > 1e-2


def test_frames_see_both_neighbours_and_a_tcn_no_further_than_its_dilations_reach():
    torch.manual_seed(0)
    network = TemporalConvolutions(FEATURES, width=WIDTH, depth=3, dropout=0.0).eval()
    feature, frame, mask = window(40)
    changed = feature.clone()
    changed[:, 20] += 1
    moved = (network(changed, frame, mask) - network(feature, frame, mask)).abs().sum(dim=-1) > 0
    assert moved[:, 20 - 7 : 20 + 8].all(), "2 ** 4 - 1 = 15 places, 7 on each side"
    assert not moved[:, : 20 - 7].any()
    assert not moved[:, 20 + 8 :].any()


def test_times_gaps_and_sinusoids_from_their_definitions():
    frame = torch.tensor([[9, 9, 10, 14, 14]])
    mask = torch.tensor([[False, True, True, True, False]])
    time = frames_since_first(frame, mask)
    assert time.tolist() == [[0, 0, 1, 5, 0]]
    gaps = log_gaps(time, mask)
    expected = torch.tensor([[[0, 0], [0, 0], [0, 4], [4, 0], [0, 0]]]).clamp(min=1).log()
    assert torch.allclose(gaps, expected)
    encoded = sinusoids(torch.tensor([[3.0]]), width=4)
    wanted = torch.tensor([3.0, 3.0 / 100, 3.0, 3.0 / 100], dtype=torch.float64)
    wanted = torch.cat([wanted[:2].sin(), wanted[2:].cos()])
    assert torch.allclose(encoded[0, 0].double(), wanted, atol=1e-6)
