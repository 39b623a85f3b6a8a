"""Local warps and global views: what moves, what stays, and that chance comes from the generator alone."""

import pytest
import torch

from abaw.models.global_views import GlobalViews, View, draw_view, jitter, see
from abaw.models.warping import FACE_AXES, Warping, Warps, displacement, draw_warps


def grid(side):
    line = (2 * torch.arange(side, dtype=torch.float64) + 1) / side - 1
    return torch.stack([line.expand(side, side), line[:, None].expand(side, side)], dim=-1)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def whole(batch):
    """The view that changes nothing."""
    return View(centre_B2=torch.zeros(batch, 2), half_B2=torch.ones(batch, 2), colour_B3=torch.ones(batch, 3))


def images(batch=4, side=48):
    coarse = torch.rand(batch, 3, 8, 8, generator=seeded(0))
    return (torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") * 255).byte()


def outside(side):
    return (grid(side) / torch.tensor(FACE_AXES)).square().sum(-1) >= 1


def test_nothing_moves_outside_the_face():
    warps = draw_warps(Warping(points=5), 64, seeded(0))
    moved = displacement(grid(32).expand(64, -1, -1, -1), warps)
    assert moved[:, outside(32)].abs().max() == 0
    assert moved[:, 16, 16].abs().sum() > 0
    plain, warped = see(images(), whole(4), size=32), see(images(), whole(4), size=32, warps=draw(4))
    assert torch.equal(plain[:, :, outside(32)], warped[:, :, outside(32)])
    assert not torch.equal(plain, warped)


def draw(batch):
    return draw_warps(Warping(), batch, seeded(1))


def test_warps_are_bounded_and_every_one_shows():
    config = Warping(points=3, shift=0.12)
    length = displacement(grid(32).expand(256, -1, -1, -1), draw_warps(config, 256, seeded(2))).norm(dim=-1)
    assert length.max() <= 3 * 0.12
    assert length.flatten(1).max(dim=1).values.min() > 0.01


def test_warps_are_smooth_and_fold_nothing():
    places = grid(48).expand(128, -1, -1, -1)
    mapped = places + displacement(places, draw_warps(Warping(), 128, seeded(3)))
    along_x, along_y = mapped[:, :-1, 1:] - mapped[:, :-1, :-1], mapped[:, 1:, :-1] - mapped[:, :-1, :-1]
    area = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
    assert (area > 0).double().mean() > 0.999
    second = mapped[:, :, 2:] - 2 * mapped[:, :, 1:-1] + mapped[:, :, :-2]
    assert second.abs().max() < 0.25 * (2 / 48)


def test_a_warp_is_gaussian_drags_within_the_face():
    centre, move, radius = (0.2, -0.1), (0.05, 0.1), 0.25
    warps = Warps(
        centre_BK2=torch.tensor([[centre]]), move_BK2=torch.tensor([[move]]), radius_BK=torch.tensor([[radius]])
    )
    places = grid(8).expand(1, -1, -1, -1)
    found = displacement(places, warps)[0]
    for row in range(8):
        for column in range(8):
            x, y = places[0, row, column].tolist()
            near = torch.exp(torch.tensor(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * radius**2)))
            window = max(0.0, 1 - (x / FACE_AXES[0]) ** 2 - (y / FACE_AXES[1]) ** 2) ** 2
            assert found[row, column].tolist() == pytest.approx([near.item() * window * way for way in move], abs=1e-7)


def test_chance_comes_from_the_generator_alone():
    def both(seed):
        generator = seeded(seed)
        view = draw_view(GlobalViews(), 4, generator)
        return see(images(), view, size=32, warps=draw_warps(Warping(), 4, generator))

    first = both(5)
    torch.manual_seed(99)
    assert torch.equal(first, both(5))
    assert not torch.equal(first, both(6))


def test_the_whole_view_is_the_image():
    assert torch.allclose(see(images(), whole(4), size=48), images().float(), atol=1e-2)


def test_a_view_is_its_crop_mirrored_or_not():
    half = torch.tensor([[0.5, 0.5], [-0.5, 0.5]])
    view = View(centre_B2=torch.tensor([[-0.5, 0.5]] * 2), half_B2=half, colour_B3=torch.ones(2, 3))
    picture = images(1).expand(2, -1, -1, -1)
    found, corner = see(picture, view, size=24), picture[0, :, 24:, :24].float()
    assert torch.allclose(found[0], corner, atol=1e-2)
    assert torch.allclose(found[1], corner.flip(-1), atol=1e-2)


def test_crops_lie_inside_the_image_and_keep_their_share_of_it():
    view = draw_view(GlobalViews(crop_scale=0.3), 2000, seeded(0))
    half = view.half_B2.abs()
    assert (view.centre_B2.abs() + half).max() <= 1 + 1e-6
    assert half.prod(dim=1).min() >= 0.3 * 0.86
    assert half.prod(dim=1).max() > 0.98
    assert 0.45 < (view.half_B2[:, 0] < 0).double().mean() < 0.55
    assert 0.15 < (view.colour_B3[:, 2] == 0).double().mean() < 0.25


def test_colour_jitter_is_brightness_contrast_saturation():
    picture = torch.rand(1, 3, 4, 5, generator=seeded(0), dtype=torch.float64) * 255
    found = jitter(picture.float(), torch.tensor([[1.3, 0.7, 0.4]]))[0]
    bright = [[min(255.0, 1.3 * value) for value in channel.flatten().tolist()] for channel in picture[0]]
    luma = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in zip(*bright, strict=True)]
    level = sum(luma) / len(luma)
    flat = [[level + 0.7 * (value - level) for value in channel] for channel in bright]
    grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in zip(*flat, strict=True)]
    expected = [[s + 0.4 * (value - s) for value, s in zip(channel, grey, strict=True)] for channel in flat]
    assert found.flatten(1).tolist() == [pytest.approx(channel, abs=1e-3) for channel in expected]
