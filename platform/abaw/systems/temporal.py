"""Temporal head: the tasks of a track from windows of frozen features of frames, for every track with videos.

The features are those of a network that was trained on single frames, written once by `abaw.training.features`. Its
heads are left behind; the same losses are taken over the real frames of all windows of a batch. Frames without labels
are context. No paper's own: what is common to the recent winners; the sizes are ours.

Shape legend: B windows, T frames of a window, F features of a frame, D width, C columns of a task, N = B T frames.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from abaw.models.temporal import TemporalConvolutions, TemporalTransformer
from abaw.systems.heads import Heads, LossWeights, task_losses, task_predictions
from abaw.systems.system import Batch, System
from abaw.tracks import get_track


@dataclass(frozen=True, kw_only=True)
class Temporal:
    """A network over windows of features, a linear head a task."""

    track: str = "mtl"
    """Name in `abaw.tracks`: which tasks are learnt."""
    kind: Literal["transformer", "tcn"] = "transformer"
    features: int = 0
    """Values of a frame's feature; a recipe takes the number from its feature cache."""
    width: int = 256
    depth: int = 4
    """Blocks. A TCN of depth k sees 2 ** (k + 1) - 1 frames: 31 for 4, 255 for 7."""
    heads: int = 4
    """Attention heads of the Transformer."""
    dropout: float = 0.1
    expression_weight: tuple[float, ...] = ()
    """As those of `MultiTask`, and the next two."""
    au_weight: tuple[float, ...] = ()
    au_active_weight: tuple[float, ...] = ()

    def build(self) -> "TemporalSystem":
        """The system with fresh weights."""
        return TemporalSystem(self)


class TemporalSystem(System):
    """Network, losses and predictions of a temporal head."""

    windows = True
    layers = 0

    def __init__(self, config: Temporal) -> None:
        super().__init__()
        if config.features < 1:
            raise ValueError(f"features is {config.features}; expected the number of values of a frame's feature")
        if config.width % 2 or config.width % config.heads:
            raise ValueError(f"width is {config.width}; expected an even multiple of the {config.heads} heads")
        self.config = config
        shape = {"width": config.width, "depth": config.depth, "dropout": config.dropout}
        self.network: nn.Module = (
            TemporalTransformer(config.features, heads=config.heads, **shape)  # type: ignore[arg-type]
            if config.kind == "transformer"
            else TemporalConvolutions(config.features, **shape)  # type: ignore[arg-type]
        )
        tasks = get_track(config.track).tasks
        self.heads = Heads(config.width, tasks)
        self.loss_weights = LossWeights(
            tasks,
            expression=config.expression_weight,
            au=config.au_weight,
            au_active=config.au_active_weight,
        )

    def logits(self, batch: Batch) -> dict[str, Tensor]:
        """Outputs of the heads (N, C) by task name, window after window; those of places without a frame mean nothing.

        `feature` (B, T, F), `frame` (B, T) the frames' numbers in their video, `mask` (B, T) False where none is.
        """
        feature_BTF = batch["feature"]
        if feature_BTF.shape[-1] != self.config.features:
            raise ValueError(
                f"features have {feature_BTF.shape[-1]} values, this system takes {self.config.features}; "
                "give the cache that it was trained on"
            )
        hidden_BTD = self.network(feature_BTF, batch["frame"], batch["mask"])
        logits: dict[str, Tensor] = self.heads(hidden_BTD.flatten(0, 1))
        return logits

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of the tasks, each over its labelled frames."""
        return task_losses(self.logits(batch), frames_of(batch), **self.loss_weights.named())

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions (B, T, C) by task name, where `mask` is True."""
        windows = batch["mask"].shape
        return {name: value.view(*windows, -1) for name, value in task_predictions(self.logits(batch)).items()}

    def layer_of(self, parameter: str) -> int:
        """One learning rate for all layers: all of them are new."""
        return 0


def frames_of(batch: Batch) -> Batch:
    """Labels of windows (B, T, ...) as labels of frames (N, ...): a place without a frame has none."""
    mask_N = batch["mask"].flatten()
    flat = {name: batch[name].flatten(0, 1) for name in ("va", "expression", "au")}
    flat |= {name: batch[name].flatten(0, 1) & mask_N for name in ("va_mask", "expression_mask")}
    return flat | {"au_mask": batch["au_mask"].flatten(0, 1) & mask_N[:, None]}
