import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from abaw.data.augment import augment, uniform


def images(count: int, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


def test_a_row_is_augmented_alike_whatever_batch_it_is_in() -> None:
    image, index = images(12), np.arange(100, 112)
    whole = augment(image, index, seed=3, epoch=5, flip=True, crop_scale=0.6)
    for part in (slice(0, 12, 2), slice(5, 6), slice(3, 9)):
        alone = augment(image[part], index[part], seed=3, epoch=5, flip=True, crop_scale=0.6)
        assert torch.equal(alone, whole[part])


@pytest.mark.parametrize(("seed", "epoch"), [(3, 6), (4, 5)])
def test_other_epochs_and_seeds_augment_otherwise(seed: int, epoch: int) -> None:
    image, index = images(8), np.arange(8)
    first = augment(image, index, seed=3, epoch=5, flip=True, crop_scale=0.6)
    assert not torch.equal(first, augment(image, index, seed=seed, epoch=epoch, flip=True, crop_scale=0.6))


def test_flipping_alone_mirrors_about_half_and_changes_nothing_else() -> None:
    image = images(400, size=4)
    flipped = augment(image, np.arange(400), seed=0, epoch=0, flip=True, crop_scale=1.0)
    kept = (flipped == image).flatten(1).all(dim=1)
    mirrored = (flipped == image.flip(-1)).flatten(1).all(dim=1)
    assert (kept | mirrored).all()
    assert 150 < int(mirrored.sum()) < 250


def test_neither_flip_nor_crop_is_the_identity() -> None:
    image = images(5)
    assert torch.equal(augment(image, np.arange(5), seed=0, epoch=0, flip=False, crop_scale=1.0), image)


def test_a_crop_is_a_part_of_the_image_enlarged() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).repeat(64, 1).expand(1, 3, 64, 64)
    cropped = augment(ramp.repeat(50, 1, 1, 1), np.arange(50), seed=1, epoch=0, flip=False, crop_scale=0.5)
    assert cropped.shape == (50, 3, 64, 64)
    spans = cropped[:, 0, 0, -1].int() - cropped[:, 0, 0, 0].int()
    assert 30 <= int(spans.min()) <= 36
    assert int(spans.max()) >= 60
    assert (cropped[:, 0].diff(dim=-1).int() >= 0).all()


@pytest.mark.parametrize("crop_scale", [0.0, -1.0, 1.5])
def test_an_impossible_crop_is_refused(crop_scale: float) -> None:
    with pytest.raises(ValueError, match=r"expected a share of the side in \(0, 1\]"):
        augment(images(1), np.arange(1), seed=0, epoch=0, flip=False, crop_scale=crop_scale)


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
    changed = augment(image, np.arange(6), seed=0, epoch=0, flip=False, crop_scale=1.0, colour=0.3)
    chance_B8 = uniform(np.arange(6), draws=8, seed=0, epoch=0)
    for row in range(6):
        contrast, *levels = (2 * chance_B8[row, 4:] - 1) * 0.3
        for channel in range(3):
            for before, after in zip(image[row, channel].flatten(), changed[row, channel].flatten(), strict=True):
                expected = (before.item() - 128) * (1 + contrast) + 128 + 128 * levels[channel]
                assert abs(after.item() - min(255, max(0, expected))) <= 0.5


def test_an_impossible_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="colour is 2; expected a share from 0"):
        augment(images(1), np.arange(1), seed=0, epoch=0, flip=False, crop_scale=1.0, colour=2)
