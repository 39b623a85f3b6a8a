from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from abaw.data.augment import Augmentation, augment, uniform, views_of

STILL = Augmentation(flip=False, crop_scale=1.0)
MIRROR_AND_CROP = Augmentation(crop_scale=0.6)


def images(count: int, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def test_a_row_is_augmented_alike_whatever_batch_it_is_in() -> None:
    image, index = images(12), np.arange(100, 112)
    whole = augment(image, index, seed=3, epoch=5, settings=MIRROR_AND_CROP)
    for part in (slice(0, 12, 2), slice(5, 6), slice(3, 9)):
        alone = augment(image[part], index[part], seed=3, epoch=5, settings=MIRROR_AND_CROP)
        assert torch.equal(alone, whole[part])


@pytest.mark.parametrize(("seed", "epoch"), [(3, 6), (4, 5)])
def test_other_epochs_and_seeds_augment_otherwise(seed: int, epoch: int) -> None:
    image, index = images(8), np.arange(8)
    first = augment(image, index, seed=3, epoch=5, settings=MIRROR_AND_CROP)
    assert not torch.equal(first, augment(image, index, seed=seed, epoch=epoch, settings=MIRROR_AND_CROP))


def test_flipping_alone_mirrors_about_half_and_changes_nothing_else() -> None:
    image = images(400, size=4)
    flipped = augment(image, np.arange(400), seed=0, epoch=0, settings=Augmentation(crop_scale=1.0))
    kept = (flipped == image).flatten(1).all(dim=1)
    mirrored = (flipped == image.flip(-1)).flatten(1).all(dim=1)
    assert (kept | mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_neither_flip_nor_crop_is_the_identity() -> None:
    image = images(5)
    assert torch.equal(augment(image, np.arange(5), seed=0, epoch=0, settings=STILL), image)


def test_a_crop_is_a_part_of_the_image_enlarged() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).repeat(64, 1).expand(1, 3, 64, 64)
    cropped = augment(ramp.repeat(50, 1, 1, 1), np.arange(50), seed=1, epoch=0, settings=replace(STILL, crop_scale=0.5))
    assert cropped.shape == (50, 3, 64, 64)
    spans = cropped[:, 0, 0, -1].int() - cropped[:, 0, 0, 0].int()
    assert 30 <= int(spans.min()) <= 36
    assert int(spans.max()) >= 60
    assert (cropped[:, 0].diff(dim=-1).int() >= 0).all()


@given(st.integers(0, 2**31), st.integers(0, 10_000), st.integers(0, 2**40))
def test_chance_is_in_range_and_depends_on_seed_epoch_and_row(seed: int, epoch: int, row: int) -> None:
    chance = uniform(np.array([row, row + 1]), draws=4, seed=seed, epoch=epoch)
    assert chance.shape == (2, 4)
    assert (chance >= 0).all()
    assert (chance < 1).all()
    assert len(np.unique(chance)) == 8
    assert not np.array_equal(chance, uniform(np.array([row, row + 1]), draws=4, seed=seed, epoch=epoch + 1))


def test_chance_is_uniform_and_uncorrelated() -> None:
    chance = uniform(np.arange(20_000), draws=4, seed=1, epoch=2)
    np.testing.assert_allclose(chance.mean(axis=0), 0.5, atol=0.01)
    np.testing.assert_allclose(chance.var(axis=0), 1 / 12, atol=0.002)
    np.testing.assert_allclose(np.corrcoef(chance.T), np.eye(4), atol=0.03)
    np.testing.assert_allclose(np.corrcoef(chance[:-1, 0], chance[1:, 0])[0, 1], 0, atol=0.03)


def test_colours_change_by_a_table_for_each_channel_and_stay_in_range() -> None:
    image = images(6)
    changed = augment(image, np.arange(6), seed=0, epoch=0, settings=replace(STILL, colour=0.3))
    chance_B8 = uniform(np.arange(6), draws=8, seed=0, epoch=0)
    for row in range(6):
        contrast, *levels = (2 * chance_B8[row, 4:] - 1) * 0.3
        for channel in range(3):
            for before, after in zip(image[row, channel].flatten(), changed[row, channel].flatten(), strict=True):
                expected = (before.item() - 128) * (1 + contrast) + 128 + 128 * levels[channel]
                assert abs(after.item() - min(255, max(0, expected))) <= 0.5


@pytest.mark.parametrize(
    "settings",
    [
        {"rand_augment": 9.0},
        {"saturation": 0.5, "hue": 0.2},
        {"erase": 1.0},
        {"resize": 20, "crop": 16},
        {"regions": ("eyes", "mouth")},
        {"rand_augment": 9.0, "colour": 0.3, "saturation": 0.2, "hue": 0.1, "erase": 0.5, "resize": 29, "crop": 28},
    ],
)
def test_every_change_follows_from_seed_epoch_and_row_alone(settings: dict[str, Any]) -> None:
    image, index, some = images(24, size=32), np.arange(50, 74), np.array([20, 3, 11])
    whole = augment(image, index, seed=3, epoch=5, settings=replace(STILL, **settings))
    torch.manual_seed(1)
    alone = augment(image[some], index[some], seed=3, epoch=5, settings=replace(STILL, **settings))
    assert torch.equal(alone, whole[some])
    assert whole.dtype == torch.uint8
    assert whole.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(whole, image)
    if settings.keys() != {"regions"}:
        assert not torch.equal(whole, augment(image, index, seed=3, epoch=6, settings=replace(STILL, **settings)))


def test_a_crop_after_resizing_is_a_square_of_the_resized_image_at_any_place() -> None:
    ramp = torch.arange(29).repeat(29, 1) * 4 + torch.arange(29)[:, None] * 4
    image = ramp.to(torch.uint8).expand(200, 3, 29, 29)
    cropped = augment(image, np.arange(200), seed=0, epoch=0, settings=replace(STILL, resize=29, crop=28))
    corners = [image[0, :, top : top + 28, left : left + 28] for top in (0, 1) for left in (0, 1)]
    counts = [int((cropped == corner).flatten(1).all(dim=1).sum()) for corner in corners]
    assert counts[0] + counts[1] + counts[3] == 200  # the two corners beside the diagonal look alike here
    assert min(counts) > 25


def test_random_erasing_fills_one_rectangle_of_2_to_33_percent() -> None:
    image = torch.zeros(300, 3, 64, 64, dtype=torch.uint8)
    erased = augment(image, np.arange(300), seed=0, epoch=0, settings=replace(STILL, erase=0.5))
    filled = (erased == torch.tensor([124, 116, 104])[:, None, None]).all(dim=1)
    assert torch.equal(filled, erased.any(dim=1))
    areas = filled.flatten(1).float().mean(dim=1)
    assert 110 < int((areas > 0).sum()) < 190
    assert 0.015 < areas[areas > 0].min() < 0.05
    assert 0.2 < areas.max() < 0.35
    for mask in filled[areas > 0]:
        rows, columns = mask.any(dim=1).sum(), mask.any(dim=0).sum()
        assert mask.sum() == rows * columns


def test_saturation_at_most_takes_the_colours_away_and_hue_keeps_grey() -> None:
    grey = images(8)[:, :1].expand(8, 3, 16, 16).contiguous()
    changed = augment(grey, np.arange(8), seed=0, epoch=0, settings=replace(STILL, saturation=1.0, hue=0.5))
    assert (changed.int() - grey.int()).abs().max() <= 1


def test_evaluation_sees_the_whole_image_unless_views_are_asked_for() -> None:
    image = images(3, size=12)
    random = Augmentation(crop_scale=0.5, colour=0.5, rand_augment=9.0, erase=1.0, saturation=1.0)
    assert [torch.equal(view, image) for view in views_of(image, random)] == [True]
    straight, mirrored = views_of(image, Augmentation(views="flip"))
    assert torch.equal(straight, image)
    assert torch.equal(mirrored, image.flip(-1))


def test_views_are_the_five_crops_and_their_mirror_images() -> None:
    image = images(3, size=12)
    five = views_of(image, Augmentation(crop=8, views="five"))
    places = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    for view, (top, left) in zip(five, places, strict=True):
        assert torch.equal(view, image[..., top : top + 8, left : left + 8])
    ten = views_of(image, Augmentation(crop=8, views="ten"))
    assert all(torch.equal(one, other) for one, other in zip(ten, five + [view.flip(-1) for view in five], strict=True))
    (one,) = views_of(image, Augmentation(crop=8))
    assert torch.equal(one, five[4])
    assert [view.shape for view in views_of(image, Augmentation(resize=232, crop=224))] == [(3, 3, 224, 224)]


def test_windows_have_views_too() -> None:
    image = images(6, size=12).unflatten(0, (2, 3))
    settings = Augmentation(resize=16, crop=8, views="ten", regions=("nose",))
    flat = views_of(image.flatten(0, 1), settings)
    assert all(
        torch.equal(view.flatten(0, 1), alone) for view, alone in zip(views_of(image, settings), flat, strict=True)
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_scale": 0.0}, r"crop_scale is 0.0; expected a share of the side in \(0, 1\]"),
        ({"crop_scale": 1.5}, r"crop_scale is 1.5; expected a share"),
        ({"colour": 2}, "colour is 2; expected 0, which changes nothing, to 1"),
        ({"hue": 0.6}, "hue is 0.6; expected 0, which changes nothing, to 0.5"),
        ({"rand_augment": 30}, "rand_augment is 30; expected 0, which changes nothing, to 10"),
        ({"views": "five"}, "views is five, which needs the side of the crops; give crop"),
        ({"resize": 224, "crop": 232}, "crop is 232; expected at most resize, 224"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="crop is 20, but images are 16 x 16; give resize, at least 20"):
        augment(images(2), np.arange(2), seed=0, epoch=0, settings=Augmentation(crop=20))
    with pytest.raises(ValueError, match="crop is 20, but images are 16 x 16; give resize, at least 20"):
        views_of(images(2), Augmentation(crop=20))
