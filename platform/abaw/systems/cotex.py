"""Masked CoTEX (EMMA paper, section 3.3): encoders that each see other random patches learn to agree.

Legend: V views, B images, K visible patches, D width, C columns of a task, O outcomes of a distribution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abaw.models.mae import random_masks
from abaw.models.vit import VitConfig, encode_visible, layer_of, to_pixels
from abaw.systems.heads import Heads, task_losses, task_predictions
from abaw.systems.system import Batch, System
from abaw.tracks import get_track


@dataclass(frozen=True, kw_only=True)
class MaskedCotex:
    """Co-training of several encoders on one image.

    The paper is about expressions; for the other tasks see `disagreement`.
    """

    track: str = "lsd"
    """Name in `abaw.tracks`: which tasks are learnt."""
    encoder: VitConfig = VitConfig(drop_path=0.1)
    """Of each view. With the stem `conv` a visible patch also shows some pixels of its neighbours; they are not hidden,
    since batch norm would then meet other pictures in training than in inference."""
    pool: Literal["mean", "token"] = "token"
    """token: the class token, as in the public code; the paper names no pooling. mean: average over the patches."""
    views: int = 2
    """Number of encoders; 1 is the plain ViT of Table 6."""
    mask_ratio: float = 0.75
    """Share of patches that a view does not see in training, in [0, 1)."""
    agreement: float = 100 / 3
    """Lambda of eq. 5. The paper gives no value, but says that 0 won on the test set. The public code has 100, with the
    divergence averaged over the classes too and the cross entropies averaged over the views; with eq. 5 and 6 as
    written that is 100 * views / classes, 100 / 3 for two views and six classes."""

    def __post_init__(self) -> None:
        if self.views < 1:
            raise ValueError(f"views is {self.views}; expected 1 or more")
        if not 0 <= self.mask_ratio < 1:
            raise ValueError(f"mask_ratio is {self.mask_ratio}; expected a share in [0, 1), 0 hides nothing")
        if self.agreement < 0:
            raise ValueError(f"agreement is {self.agreement}; expected 0, which asks for none, or more")

    def build(self) -> "MaskedCotexSystem":
        """The system with fresh weights."""
        return MaskedCotexSystem(self)


class MaskedCotexSystem(System):
    """Networks, losses and predictions of masked co-training. Views share nothing but the image."""

    def __init__(self, config: MaskedCotex) -> None:
        super().__init__()
        self.config = config
        tasks = get_track(config.track).tasks
        encoders = [config.encoder.build() for _ in range(config.views)]
        self.encoders = nn.ModuleList(encoders)
        self.heads = nn.ModuleList(Heads(encoder.embed_dim, tasks) for encoder in encoders)
        self.layers = len(encoders[0].blocks) + 1

    def logits(self, images: Tensor, keep_VBK: Sequence[Tensor | None]) -> list[dict[str, Tensor]]:
        """Outputs (B, C) by task name of each view that sees the patches in `keep_VBK`; None stands for all patches."""
        features_VBF = self._pooled(images, keep_VBK)
        return [heads(features_BF) for heads, features_BF in zip(self.heads, features_VBF, strict=True)]

    def features(self, batch: Batch) -> Tensor:
        """The features of all views side by side (B, F), with nothing hidden."""
        return torch.cat(self._pooled(batch["image"], [None] * self.config.views), dim=1)

    def _pooled(self, images: Tensor, keep_VBK: Sequence[Tensor | None]) -> list[Tensor]:
        """The feature (B, F) of each view."""
        pixels = to_pixels(images, image_size=self.config.encoder.image_size)
        both = zip(self.encoders, keep_VBK, strict=True)
        tokens_V = [encode_visible(encoder, pixels, keep_BK) for encoder, keep_BK in both]
        return [tokens[:, 0] if self.config.pool == "token" else tokens[:, 1:].mean(dim=1) for tokens in tokens_V]

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Eq. 5: each task's loss summed over the views, over its labelled rows, and lambda times the disagreement.

        Views agree on every row, labelled or not.
        """
        images = batch["image"]
        logits_V = self.logits(images, self.visible(images.shape[0], images.device, generator))
        losses_V = [task_losses(logits, batch) for logits in logits_V]
        losses = {task: torch.stack([view[task] for view in losses_V]).sum() for task in losses_V[0]}
        if self.config.agreement and self.config.views > 1:
            losses["agreement"] = self.config.agreement * disagreement(logits_V)
        return losses

    def visible(self, batch: int, device: torch.device, generator: torch.Generator) -> list[Tensor | None]:
        """The patches (B, K) that each view sees, drawn for each view and image on its own; None for all of them."""
        if self.config.mask_ratio == 0:
            return [None] * self.config.views
        patches = (self.config.encoder.image_size // self.config.encoder.patch_size) ** 2
        masks = [random_masks(batch, patches, self.config.mask_ratio, generator) for _ in range(self.config.views)]
        return [keep_BK.to(device) for keep_BK, _ in masks]

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Mean of the views' predictions, with nothing hidden. (The public code adds logits up instead.)"""
        predictions_V = [task_predictions(view) for view in self.logits(batch["image"], [None] * self.config.views)]
        return {task: torch.stack([view[task] for view in predictions_V]).mean(0) for task in predictions_V[0]}

    def trunks(self) -> dict[str, list[nn.Module]]:
        """The encoders of all views, which start from the same weights."""
        return {"encoder": list(self.encoders)}

    def layer_of(self, parameter: str) -> int:
        """The encoders' layers side by side, then the heads."""
        network, _, rest = parameter.split(".", 2)
        return layer_of(rest, self.layers - 1) if network == "encoders" else self.layers


def disagreement(logits_V: Sequence[dict[str, Tensor]]) -> Tensor:
    """How much the outputs of several views differ: a scalar, 0 where all are equal, summed over the tasks.

    Expressions: Jensen-Shannon divergence (eq. 6), mean over rows. Action units: the same for each unit, active or not,
    mean over rows and units. Valence and arousal are no distributions, so there is no divergence; they take what eq. 6
    becomes with the square in place of the entropy, the variance over the views, mean over rows and both values.
    """
    terms: list[Tensor] = []
    for task in logits_V[0]:
        logits_VBC = torch.stack([view[task].float() for view in logits_V])
        if task == "va":
            terms.append(logits_VBC.tanh().var(dim=0, correction=0).mean())
        elif task == "au":
            terms.append(jensen_shannon(F.logsigmoid(torch.stack([logits_VBC, -logits_VBC], dim=-1))).mean())
        else:
            terms.append(jensen_shannon(logits_VBC.log_softmax(dim=-1)).mean())
    return torch.stack(terms).sum()


def jensen_shannon(log_probabilities: Tensor) -> Tensor:
    """Mean KL divergence, in nats, of V distributions from their average (eq. 6): (V, ..., O) to (...), 0 to log V.

    Takes logarithms, so that a probability that rounds to 0 costs no gradient.
    """
    log_average = log_probabilities.logsumexp(dim=0, keepdim=True) - math.log(len(log_probabilities))
    return (log_probabilities.exp() * (log_probabilities - log_average)).sum(dim=-1).mean(dim=0)


def masked_batch_size(base: int, *, mask_ratio: float, most: int = 4096) -> int:
    """Images of a batch that hidden patches make room for: base / (1 - mask_ratio), at most `most`.

    The factor is rounded down, as in Table 6: a base of 256 gives 1024, 1536, 2560, 4096 at .75, .85, .9, .95.
    """
    return min(base * math.floor(1 / (1 - mask_ratio) + 1e-9), most)
