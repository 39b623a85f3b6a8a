"""A predictor as TorchScript, for images or for windows of features; kept only after it gave the network's own numbers.

Recording fixes what does not depend on the input's values: sizes that a system asks for, and its choices. So a recorded
predictor is guarded by a check of types and sizes, and compared on batches of other sizes than the recorded one.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from abaw.data.augment import Augmentation, views_of
from abaw.problems import refuse
from abaw.systems.system import System
from abaw.tracks import Track

TOLERANCE = 1e-5
"""Largest difference between the recorded form and the network, on values in [-1, 1] and probabilities."""
BATCHES = (3, 1, 2, 5)
"""Sizes of the batches: the form is recorded with the first, the two are compared on the others."""
CHECKED = sum(BATCHES[1:])
"""Images or windows on which the two are compared."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """A predictor takes `image`, uint8 (B, 3, S, S)."""

    size: int
    """Their side S."""

    def examples(self, generator: torch.Generator) -> list[tuple[Tensor, ...]]:
        """Random inputs, a batch of each size: images of coarse and fine structure."""
        return [(self._random(batch, generator),) for batch in BATCHES]

    def checked(self, recorded: nn.Module) -> nn.Module:
        """The recorded predictor, guarded."""
        return CheckedImages(recorded, self.size)

    def _random(self, batch: int, generator: torch.Generator) -> Tensor:
        coarse = torch.rand(batch, 3, 5, 5, generator=generator)
        smooth = nn.functional.interpolate(coarse, size=(self.size, self.size), mode="bilinear")
        noise = torch.rand(batch, 3, self.size, self.size, generator=generator)
        return (255 * (0.8 * smooth + 0.2 * noise)).to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """A predictor takes `feature` float32 (B, T, F), `frame` int64 (B, T) and `mask` bool (B, T), see `temporal.py`.

    T is the window of the training or less: a shorter window and one that is padded give the same numbers.
    """

    features: int
    """Values F of a frame's feature."""
    window: int
    """Frames of a window in training."""

    def examples(self, generator: torch.Generator) -> list[tuple[Tensor, ...]]:
        """Random inputs, a batch of each size and other lengths: with gaps in `frame` and places without a frame."""
        lengths = (self.window, self.window, max(1, self.window // 2), 1)
        return [self._random(batch, frames, generator) for batch, frames in zip(BATCHES, lengths, strict=True)]

    def checked(self, recorded: nn.Module) -> nn.Module:
        """The recorded predictor, guarded."""
        return CheckedWindows(recorded, self.features, self.window)

    def _random(self, batch: int, frames: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        size = (batch, frames)
        mask = torch.rand(size, generator=generator) > 0.3
        mask[torch.arange(batch), torch.randint(frames, (batch,), generator=generator)] = True
        frame = torch.randint(1, 5, size, generator=generator).cumsum(dim=1)
        return torch.randn(*size, self.features, generator=generator), frame, mask


Form = Images | Windows


class ImagePredictor(nn.Module):
    """Images, uint8 (B, 3, S, S), to what a run predicts of them: the mean over its views, by task name."""

    def __init__(self, system: System, augmentation: Augmentation, track: Track) -> None:
        super().__init__()
        self.system, self.augmentation, self.track = system, augmentation, track

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predictions (B, C)."""
        views = [self.system.predict({"image": view}) for view in views_of(image, self.augmentation)]
        return {task.name: torch.stack([view[task.name] for view in views]).mean(dim=0) for task in self.track.tasks}


class WindowPredictor(nn.Module):
    """Windows of features to what a run predicts of their frames, by task name."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, feature: Tensor, frame: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Predictions (B, T, C)."""
        return self.system.predict({"feature": feature, "frame": frame, "mask": mask})


class CheckedImages(nn.Module):
    """A recorded predictor that refuses images of another type or size: it would give wrong numbers."""

    def __init__(self, recorded: nn.Module, size: int) -> None:
        super().__init__()
        self.recorded, self.size = recorded, size

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predictions (B, C)."""
        if image.dtype != torch.uint8 or image.dim() != 4 or list(image.shape[1:]) != [3, self.size, self.size]:
            raise ValueError(f"images must be uint8 (B, 3, {self.size}, {self.size})")
        predictions: dict[str, Tensor] = self.recorded(image)
        return predictions


class CheckedWindows(nn.Module):
    """A recorded predictor that refuses windows of other types or sizes than it learnt from, or of unordered frames."""

    def __init__(self, recorded: nn.Module, features: int, window: int) -> None:
        super().__init__()
        self.recorded, self.features, self.window = recorded, features, window

    def forward(self, feature: Tensor, frame: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Predictions (B, T, C)."""
        right = feature.dtype == torch.float32 and frame.dtype == torch.int64 and mask.dtype == torch.bool
        right = right and feature.dim() == 3 and feature.shape[-1] == self.features
        if not right or frame.shape != feature.shape[:2] or mask.shape != feature.shape[:2]:
            raise ValueError(
                f"expected feature float32 (B, T, {self.features}), frame int64 (B, T) and mask bool (B, T)"
            )
        if frame.shape[1] < 1 or frame.shape[1] > self.window:
            raise ValueError(f"windows have {frame.shape[1]} places; expected 1 to {self.window}, as in training")
        if bool(((frame[:, 1:] <= frame[:, :-1]) & mask[:, 1:] & mask[:, :-1]).any()):
            raise ValueError("frame must rise from place to place: the frames' numbers in their video, in order")
        predictions: dict[str, Tensor] = self.recorded(feature, frame, mask)
        return predictions


@torch.no_grad()
def write_script(predictor: nn.Module, path: Path, form: Form) -> float:
    """Write a predictor as TorchScript; returns its largest difference from the predictor.

    BadInput when the system cannot be recorded, or when what was recorded gives other numbers.
    """
    first, *others = form.examples(torch.Generator().manual_seed(0))
    with warnings.catch_warnings(), ordinary_attention():
        warnings.simplefilter("ignore")  # that it is deprecated, and that sizes become fixed: they are checked
        try:
            recorded = torch.jit.trace(predictor, first, strict=False, check_trace=False)  # type: ignore[no-untyped-call]
        except (TypeError, RuntimeError, ValueError) as error:
            raise refuse(path, f"the system cannot be recorded as TorchScript: {error}") from error
        script = torch.jit.script(form.checked(recorded).eval())
        partial = path.with_name(path.name + ".partial")
        script.save(str(partial))  # type: ignore[no-untyped-call]
        written = torch.jit.load(str(partial))  # type: ignore[no-untyped-call]
    difference = float(torch.stack([largest_difference(written(*one), predictor(*one)) for one in others]).max())
    if not difference <= TOLERANCE:
        partial.unlink()
        problem = f"TorchScript differs from the network by {difference:.1e}, allowed are {TOLERANCE:.0e}"
        raise refuse(path, f"{problem}; the system does something that cannot be recorded, such as a choice by value")
    partial.replace(path)
    return difference


@contextmanager
def ordinary_attention() -> Iterator[None]:
    """Layers of a Transformer in torch's public operations.

    In evaluation torch takes one private operation for a whole layer, which other versions may lack and which has no
    gradient. The run predicted with it: the comparison is against those numbers.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> Tensor:
    """Over all tasks and images or places; not a number where a prediction is none."""
    return torch.stack([(one[name] - other[name]).abs().max() for name in other]).max()
