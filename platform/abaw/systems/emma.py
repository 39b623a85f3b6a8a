"""EMMA (section 3.2): a ViT scores expressions and action units, a frozen DAN scores expressions, scores give VA.

The ViT's feature goes through 768-512-20: 8 expressions and 12 action units. Their 20 scores and DAN's 8, with the
gradient stopped, go through 28-256-2: valence and arousal move neither network, only their own two layers. Losses are
summed (eq. 1): BCE, cross entropy, and 1 - CCC of valence plus that of arousal (eq. 2-4), missing labels masked.

Where the public code departs from the paper, the paper is followed: there the gradient is not stopped before the ViT,
the frozen DAN runs in training mode, so that its batch norm drifts, the action units' loss has weights, and valence
and arousal have an optimiser of their own. The paper names no pooling; the public code takes the class token.

Shape legend: B images, F features, S scores, C classes.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from abaw.models.dan import Dan
from abaw.models.vit import VitConfig, encode_visible, layer_of, to_pixels
from abaw.systems.heads import Heads, TaskSystem, linear_head
from abaw.systems.system import Batch
from abaw.tracks import get_track

HIDDEN = 512
"""Width of the layer between the ViT's feature and its scores."""
VA_HIDDEN = 256
"""Width of the layer between the scores and valence and arousal."""


@dataclass(frozen=True, kw_only=True)
class Emma:
    """A ViT that learns, a DAN that does not, and what each task is read from."""

    track: str = "mtl"
    """Name in `abaw.tracks`: which tasks are learnt."""
    encoder: VitConfig = VitConfig(drop_path=0.1)
    pool: Literal["mean", "token"] = "token"
    """token: the class token. mean: average over the patches."""
    va_from: Literal["vit+dan", "vit", "encoder"] = "vit+dan"
    """What gives valence and arousal. vit+dan: the scores of both networks, gradient stopped (EMMA). vit: the ViT's
    scores alone, gradient stopped. encoder: the ViT's own layers 768-512-22, gradient not stopped (the row ViT)."""
    expression_from: Literal["vit", "vit+dan"] = "vit"
    """vit+dan: the expression is the sum of both networks' scores, in training and in prediction (Table 5, row 6)."""
    dan_track: str = "affectnet8"
    """Track whose expressions DAN's scores are, in order; affectnet8 for the published weights."""

    def build(self) -> "EmmaSystem":
        """The system with fresh weights, those of DAN too: give it trained ones."""
        return EmmaSystem(self)


class EmmaSystem(TaskSystem):
    """Networks, losses and predictions of EMMA."""

    dan_to_track: Tensor

    def __init__(self, config: Emma) -> None:
        super().__init__()
        self.config = config
        tasks = get_track(config.track).tasks
        names = {task.name for task in tasks}
        va_from_scores = "va" in names and config.va_from != "encoder"
        scored = [task for task in tasks if not (va_from_scores and task.name == "va")]
        if not scored:
            raise ValueError(f"track {config.track} gives no scores to read valence and arousal from: va_from=encoder")
        self.encoder = config.encoder.build()
        self.hidden = nn.Sequential(nn.Linear(self.encoder.embed_dim, HIDDEN), nn.ReLU())
        self.heads = Heads(HIDDEN, scored)
        self.layers = len(self.encoder.blocks) + 1

        dan_classes = get_track(config.dan_track).task("expr").columns
        dan_for_va = va_from_scores and config.va_from == "vit+dan"
        needs_dan = dan_for_va or config.expression_from == "vit+dan"
        self.dan = Dan(classes=len(dan_classes)).requires_grad_(False).eval() if needs_dan else None
        self.va: nn.Sequential | None = None
        if va_from_scores:
            width = sum(len(task.columns) for task in scored) + len(dan_classes) * dan_for_va
            self.va = nn.Sequential(nn.Linear(width, VA_HIDDEN), nn.ReLU(), linear_head(VA_HIDDEN, 2))
        if config.expression_from == "vit+dan":
            matches = _matches(dan_classes, get_track(config.track).task("expr").columns)
            self.register_buffer("dan_to_track", matches, persistent=False)

    def train(self, mode: bool = True) -> "EmmaSystem":
        """Training mode for all but DAN, whose batch norm must not drift."""
        super().train(mode)
        if self.dan is not None:
            self.dan.eval()
        return self

    def trunks(self) -> dict[str, list[nn.Module]]:
        """The ViT, and DAN where it is used."""
        return {"encoder": [self.encoder]} | ({"dan": [self.dan]} if self.dan is not None else {})

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of the tasks, each over its labelled rows; those of valence and arousal are summed (eq. 4)."""
        losses = super().forward(batch, generator)
        return losses | ({"va": 2 * losses["va"]} if "va" in losses else {})

    def features(self, batch: Batch) -> Tensor:
        """The ViT's pooled feature of each image (B, F)."""
        return self._pooled(to_pixels(batch["image"], image_size=self.config.encoder.image_size))

    def _pooled(self, pixels_BCHW: Tensor) -> Tensor:
        tokens = encode_visible(self.encoder, pixels_BCHW)
        return tokens[:, 0] if self.config.pool == "token" else tokens[:, 1:].mean(dim=1)

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs (B, C) by task name, before tanh, softmax and sigmoid."""
        pixels = to_pixels(images, image_size=self.config.encoder.image_size)
        logits: dict[str, Tensor] = self.heads(self.hidden(self._pooled(pixels)))
        dan_BS = self._dan_scores(pixels)
        if self.va is not None:
            scores = [value.detach() for value in logits.values()]
            if self.config.va_from == "vit+dan":
                scores.append(dan_BS)
            logits["va"] = self.va(torch.cat(scores, dim=1))
        if self.config.expression_from == "vit+dan":
            logits["expr"] = logits["expr"] + dan_BS @ self.dan_to_track
        return logits

    @torch.no_grad()
    def _dan_scores(self, pixels_BCHW: Tensor) -> Tensor:
        """DAN's scores (B, S), with S = 0 where the variant has no DAN."""
        if self.dan is None:
            return pixels_BCHW.new_zeros(pixels_BCHW.shape[0], 0)
        scores_BS: Tensor = self.dan(pixels_BCHW)
        return scores_BS

    def layer_of(self, parameter: str) -> int:
        """The encoder's layers, then the heads."""
        if parameter.startswith("encoder."):
            return layer_of(parameter.removeprefix("encoder."), self.layers - 1)
        return self.layers


def _matches(dan_classes: tuple[str, ...], classes: tuple[str, ...]) -> Tensor:
    """Matrix (S, C) that takes DAN's scores to the classes of the same name.

    The paper does not say how the two orders were matched. A class that DAN does not know (Other) keeps the ViT's
    score alone, and a score of DAN without its class (Contempt) is left out.
    """
    same = torch.tensor([[ours == theirs for ours in classes] for theirs in dan_classes])
    if not same.any():
        raise ValueError(f"DAN scores {', '.join(dan_classes)}: none is a class of this track; set expression_from=vit")
    return same.float()
