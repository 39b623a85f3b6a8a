"""What every supervised system ends in: a linear head a task, the task's loss, and its prediction.

Sources: weighted cross entropies and CCC loss, MAE-Face section 3.2; missing labels masked, EMMA section 3.2.
Legend: B rows, F features, C columns of a task.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from abaw.systems.losses import au_loss, ccc_loss, expression_loss
from abaw.systems.system import Batch, System
from abaw.tracks import AU, Task


class Heads(nn.ModuleDict):
    """Features (B, F) to the outputs (B, C) of each task by name, before tanh, softmax and sigmoid."""

    def __init__(self, width: int, tasks: Sequence[Task]) -> None:
        super().__init__({task.name: linear_head(width, len(task.columns)) for task in tasks})

    def forward(self, features_BF: Tensor) -> dict[str, Tensor]:
        """One linear layer a task."""
        return {name: head(features_BF) for name, head in self.items()}


def linear_head(width: int, columns: int) -> nn.Linear:
    """A linear layer whose first outputs are near 0."""
    head = nn.Linear(width, columns)
    nn.init.trunc_normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return head


class TaskSystem(System):
    """What systems that recognise the tasks of a track share: heads on a feature of each image."""

    heads: Heads

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs of the heads (B, C) by task name, before tanh, softmax and sigmoid."""
        logits: dict[str, Tensor] = self.heads(self.features({"image": images}))
        return logits

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of the tasks, each over its labelled rows."""
        return task_losses(self.logits(batch["image"]), batch)

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Valence and arousal in (-1, 1), class probabilities, and the probability of each action unit."""
        return task_predictions(self.logits(batch["image"]))


def task_losses(
    logits: dict[str, Tensor],
    batch: Batch,
    *,
    expression_weight: Tensor | None = None,
    au_weight: Tensor | None = None,
    au_active_weight: Tensor | None = None,
) -> dict[str, Tensor]:
    """The loss of each task in `logits`, over the rows that are labelled for it; 0 where none is.

    `expression_weight` (C,) scales each class, `au_weight` (12,) each unit, `au_active_weight` (12,) active units.
    """
    losses: dict[str, Tensor] = {}
    if "va" in logits:
        losses["va"] = ccc_loss(logits["va"].float().tanh(), batch["va"], mask_B=batch["va_mask"])
    if "expr" in logits:
        losses["expr"] = expression_loss(
            logits["expr"], batch["expression"], mask_B=batch["expression_mask"], weight_C=expression_weight
        )
    if "au" in logits:
        losses["au"] = au_loss(
            logits["au"],
            batch["au"],
            mask_BA=batch["au_mask"],
            weight_A=au_weight,
            active_weight_A=au_active_weight,
        )
    return losses


def task_predictions(logits: dict[str, Tensor]) -> dict[str, Tensor]:
    """Valence and arousal in (-1, 1), class probabilities, and the probability of each action unit, in float32."""
    squash = {"va": torch.tanh, "expr": lambda logits_BC: logits_BC.softmax(dim=1), "au": torch.sigmoid}
    return {name: squash[name](value.float()) for name, value in logits.items()}


class LossWeights(nn.Module):
    """What the losses weigh classes and action units with: buffers, which no checkpoint holds."""

    def __init__(
        self, tasks: Sequence[Task], *, expression: Sequence[float], au: Sequence[float], au_active: Sequence[float]
    ) -> None:
        super().__init__()
        classes = next((task.columns for task in tasks if task.kind == "classes"), ())
        units = next((task.columns for task in tasks if task.kind == "binary"), AU.columns)
        self.register_buffer("expression_weight", _weights(expression, classes), persistent=False)
        self.register_buffer("au_weight", _weights(au, units), persistent=False)
        self.register_buffer("au_active_weight", _weights(au_active, units), persistent=False)

    def named(self) -> dict[str, Tensor]:
        """The weights as `task_losses` takes them."""
        return dict(self.named_buffers())


def _weights(weights: Sequence[float], columns: Sequence[str]) -> Tensor:
    """Weights of the columns as a tensor, ones where none are given; ValueError when they are of another number."""
    if weights and len(weights) != len(columns):
        raise ValueError(f"{len(weights)} weights given for the {len(columns)} columns {', '.join(columns)}")
    return torch.tensor(tuple(weights) or (1.0,) * len(columns))
