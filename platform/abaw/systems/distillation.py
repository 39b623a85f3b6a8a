"""Second pass of MAE-Face's fine-tuning (section 3.2.2): a student learns from a teacher of its own size.

The teacher is the model of the first pass. Its predictions, the soft labels, are additional targets beside the labels:
cross entropy to its expression probabilities and binary cross entropy to its action unit probabilities, weighted as for
labels (eq. 2-3 with soft targets), and 1 - CCC to its valence and arousal (eq. 4). They cover every frame, labelled
or not. The paper gives neither a temperature nor a weight: both are 1 here.

Shape legend: B rows, C classes.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abaw.systems.heads import task_losses
from abaw.systems.losses import au_loss, ccc_loss
from abaw.systems.multitask import MultiTask, MultiTaskSystem
from abaw.systems.system import Batch, System


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A student, and where its teacher's predictions come from."""

    student: MultiTask = MultiTask()
    """Network and losses; the teacher is of the same kind."""
    teacher: Literal["cached", "live"] = "cached"
    """cached: the batch holds the teacher's predictions as `soft_va` (B, 2), `soft_expr` (B, C) and `soft_au` (B, 12),
    made once on unchanged images. live: a frozen copy of the network predicts on the same augmented view; it must be
    given the weights of the first pass, as the trunk `teacher`."""
    label_weight: float = 1.0
    """Weight of the losses from labels beside those from the teacher; 0 learns from the teacher alone."""

    def build(self) -> "DistillationSystem":
        """The system with fresh weights, those of a live teacher too: give it trained ones."""
        return DistillationSystem(self)


class DistillationSystem(System):
    """Student, and a live teacher that never changes."""

    def __init__(self, config: Distillation) -> None:
        super().__init__()
        self.config = config
        self.student = config.student.build()
        self.teacher: MultiTaskSystem | None = None
        if config.teacher == "live":
            self.teacher = config.student.build().requires_grad_(False).eval()
        self.layers = self.student.layers

    def train(self, mode: bool = True) -> "DistillationSystem":
        """Training mode for the student; the teacher predicts without dropped paths, its statistics untouched."""
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def trunks(self) -> dict[str, list[nn.Module]]:
        """The student's encoder, and the whole live teacher, heads and all: its weights are a first pass's run."""
        return self.student.trunks() | ({"teacher": [self.teacher]} if self.teacher is not None else {})

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """For each task its loss from labels, times `label_weight`, and as `soft_<task>` its loss from the teacher."""
        weights = self.student.loss_weights.named()
        logits = self.student.logits(batch["image"])
        hard = task_losses(logits, batch, **weights)
        soft = soft_losses(logits, self._targets(batch, list(logits)), **weights)
        return {name: self.config.label_weight * loss for name, loss in hard.items()} | soft

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """The student's predictions."""
        return self.student.predict(batch)

    def features(self, batch: Batch) -> Tensor:
        """The student's features."""
        return self.student.features(batch)

    def layer_of(self, parameter: str) -> int:
        """The student's layers; the teacher has no learning rate."""
        return self.student.layer_of(parameter.removeprefix("student."))

    @torch.no_grad()
    def _targets(self, batch: Batch, tasks: list[str]) -> dict[str, Tensor]:
        if self.teacher is not None:
            return self.teacher.predict(batch)
        missing = [f"soft_{name}" for name in tasks if f"soft_{name}" not in batch]
        if missing:
            raise ValueError(f"the batch lacks the teacher's {', '.join(missing)}: add them, or set teacher=live")
        return {name: batch[f"soft_{name}"] for name in tasks}


def soft_losses(
    logits: dict[str, Tensor],
    targets: dict[str, Tensor],
    *,
    expression_weight: Tensor,
    au_weight: Tensor,
    au_active_weight: Tensor | None = None,
) -> dict[str, Tensor]:
    """The loss of each task in `logits` against a teacher's predictions (B, C), named `soft_<task>`.

    `targets` are what `predict` gives: values in (-1, 1) for va, probabilities for expr and au.
    """
    losses: dict[str, Tensor] = {}
    if "va" in logits:
        every_B = torch.ones_like(logits["va"][:, 0], dtype=torch.bool)
        losses["soft_va"] = ccc_loss(logits["va"].float().tanh(), targets["va"], mask_B=every_B)
    if "expr" in logits:
        losses["soft_expr"] = soft_expression_loss(logits["expr"], targets["expr"], weight_C=expression_weight)
    if "au" in logits:
        every_BA = torch.ones_like(logits["au"], dtype=torch.bool)
        losses["soft_au"] = au_loss(
            logits["au"],
            targets["au"].float(),
            mask_BA=every_BA,
            weight_A=au_weight,
            active_weight_A=au_active_weight,
        )
    return losses


def soft_expression_loss(logits_BC: Tensor, target_BC: Tensor, *, weight_C: Tensor) -> Tensor:
    """Cross entropy to the teacher's probabilities, each class times its weight (eq. 3 with soft z, mean over rows)."""
    return F.cross_entropy(logits_BC.float(), target_BC.float(), weight=weight_C, reduction="none").mean()
