import numpy as np
import pytest
import torch

from abaw.data.randaugment import DRAWS, OPERATIONS, rand_augment


def image(size: int = 32) -> torch.Tensor:
    smooth = torch.arange(size).repeat(size, 1) * 4 + torch.arange(size)[:, None] * 2 + torch.arange(size) % 3 * 10
    return torch.stack([smooth, smooth.flip(0), smooth.flip(1)]).to(torch.uint8)


def draws(operation: int, *, whether: float = 0.0, level: float = 0.5, sign: float = 0.0) -> np.ndarray:
    """One operation that is done as said, and a second one that is not done."""
    return np.array([(operation + 0.5) / len(OPERATIONS), whether, level, sign, 0.0, 0.9, 0.5, 0.0])


@pytest.mark.parametrize("operation", range(len(OPERATIONS)))
def test_every_operation_changes_pixels_at_any_strength_and_keeps_their_form(operation: int) -> None:
    for magnitude in (3, 9, 10):
        changed = rand_augment(image(), draws(operation), magnitude=magnitude, spread=0.0)
        assert changed.shape == (3, 32, 32)
        assert changed.dtype == torch.uint8
        assert not torch.equal(changed, image())
        assert len(changed.unique()) > 1


@pytest.mark.parametrize("operation", [3, 7, 8, 9, 10, 11, 12, 13, 14])
def test_strength_and_sign_decide_what_these_operations_do(operation: int) -> None:
    outcomes = [
        rand_augment(image(), draws(operation, sign=sign), magnitude=magnitude, spread=0.0)
        for sign in (0.0, 0.9)
        for magnitude in (3, 9)
    ]
    assert len({tuple(outcome.flatten().tolist()) for outcome in outcomes}) == 4


def test_the_magnitude_spreads_around_its_mean() -> None:
    strong, mean, weak = (
        rand_augment(image(), draws(9, level=level, sign=0.9), magnitude=5, spread=0.5).float().mean()
        for level in (0.975, 0.5, 0.025)
    )
    full = image().float().mean()
    assert mean / full == pytest.approx(1 - 0.9 * 0.5, abs=0.02)
    assert strong / full == pytest.approx(1 - 0.9 * (0.5 + 0.098), abs=0.02)
    assert weak / full == pytest.approx(1 - 0.9 * (0.5 - 0.098), abs=0.02)


def test_each_of_two_operations_is_done_for_half_of_the_images() -> None:
    rng = np.random.default_rng(0)
    kept = [torch.equal(rand_augment(image(), rng.random(DRAWS), magnitude=9, spread=0.5), image()) for _ in range(400)]
    assert 70 < sum(kept) < 130  # a quarter
    twice = np.array([(9 + 0.5) / len(OPERATIONS), 0.0, 0.5, 0.9] * 2)
    darker = rand_augment(image(), twice, magnitude=5, spread=0.0).float().mean() / image().float().mean()
    assert darker == pytest.approx(0.55**2, abs=0.02)


@pytest.mark.parametrize("level", [0.0, 1 - 2**-53])
def test_the_ends_of_chance_are_no_trouble(level: float) -> None:
    assert rand_augment(image(), draws(0, level=level), magnitude=9, spread=0.5).shape == (3, 32, 32)
