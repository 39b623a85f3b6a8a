"""AdamW or SGD with layer-wise rates, linear warm-up and cosine decay, and a moving average of the weights.

Sources: layer decay as in BEiT and MAE fine-tuning; warm-up and cosine as in MAE-Face section 4.1 and EMMA section 4;
SGD for a number of iterations as in ContraWarping + SRP section 3.3.3.
"""

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from abaw.data.augment import Augmentation
from abaw.data.sampling import Sampling
from abaw.systems.system import System

Precision = Literal["auto", "fp32", "bf16", "fp16"]
UNDECAYED = ("cls_token", "mask_token", "pos_embed")
"""Parameters of several dimensions that are no matrices: as in BEiT and MAE they have no weight decay."""
LEAST = {
    **dict.fromkeys(("epochs", "batch_size"), 1),
    **dict.fromkeys(("iterations", "warmup_epochs", "micro_batch", "lr", "weight_decay", "clip_norm"), 0),
    **dict.fromkeys(("evaluate_every", "save_every", "keep"), 0),
}
"""Least values of the numbers that have one."""


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a system is trained. Nothing here is rescaled behind the user's back."""

    optimiser: Literal["adamw", "sgd"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW; as MAE trains."""
    momentum: float = 0.9
    """Of SGD."""
    epochs: int = 50
    iterations: int = 0
    """Optimiser steps of the whole training, instead of `epochs`; 0 counts in epochs."""
    warmup_epochs: float = 5.0
    """Epochs over which the learning rate rises from 0."""
    batch_size: int = 512
    """Frames, or windows of frames, in one optimiser step, over all workers and accumulated micro-batches."""
    micro_batch: int = 0
    """Most of them that a worker computes at a time, as its memory allows; 0 computes its share of a step at once. A
    step is accumulated from as many micro-batches as that takes, so the batch is kept with fewer workers too."""
    lr: float = 2e-4
    """Peak learning rate of the last layer."""
    weight_decay: float = 0.05
    """Of matrices; biases, norms, tokens and position embeddings have none."""
    layer_decay: float = 1.0
    """Each layer's rate is this times the rate of the layer above it."""
    clip_norm: float = 0.0
    """Largest gradient norm; 0 does not clip."""
    ema_decay: float = 0.0
    """Decay per step of the moving average that is evaluated and saved; 0 uses the weights themselves."""
    sampling: Sampling = Sampling()
    """Which frames an epoch takes."""
    augmentation: Augmentation = Augmentation()
    """How images are changed, at random in training and as `views` says in evaluation."""
    precision: Precision = "auto"
    """auto: bf16 on GPUs that compute in it, else fp32. On processors with AMX, bf16 takes less than half as long from
    ViT-Tiny on (docs/models-speed-cpu.md). fp16 scales the loss, so that small gradients do not round to 0; the scale
    is found while training."""
    compile: bool = False
    """Run the blocks of Vision Transformers under torch.compile: the first step takes a minute or more, others less."""
    deterministic: bool = False
    """Choose algorithms that give the same bits each time on a GPU too, where some are slower: resuming is then exact
    there as it is on CPU."""
    evaluate_every: int = 0
    """Epochs between two evaluations on the held-out fold; 0 evaluates at the end only."""
    save_every: int = 0
    """Optimiser steps between two checkpoints inside an epoch; 0 saves after each epoch only."""
    keep: int = 0
    """Checkpoints that are kept beside the last one, those of the evaluated epochs with the best score; each of them
    predicts too, for ensembles over epochs. The score is of the held-out fold: what is chosen by it is in-sample."""

    def __post_init__(self) -> None:
        for name, least in LEAST.items():
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {least} or more")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; expected a share in (0, 1], 1 for one rate")
        for name in ("momentum", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a share in [0, 1), 0 for none")


def parameter_groups(system: System, settings: Optimisation) -> list[dict[str, object]]:
    """Parameters grouped by learning rate and weight decay; each group has its `scale` of the learning rate."""
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in system.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and not name.endswith(UNDECAYED)
            groups.setdefault((system.layer_of(name), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "scale": settings.layer_decay ** (system.layers - layer),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (layer, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def make_optimiser(system: System, settings: Optimisation) -> torch.optim.Optimizer:
    """The optimiser over `parameter_groups`."""
    groups = parameter_groups(system, settings)
    if settings.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=True)


def total_steps(settings: Optimisation, *, steps_per_epoch: int) -> int:
    """Optimiser steps of the whole training."""
    return settings.iterations or settings.epochs * steps_per_epoch


def learning_rate(step: int, *, settings: Optimisation, steps_per_epoch: int) -> float:
    """Learning rate of the last layer at optimiser step `step` (from 0): linear warm-up, then cosine to 0."""
    total = total_steps(settings, steps_per_epoch=steps_per_epoch)
    warmup = settings.warmup_epochs * steps_per_epoch
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1.0, total - warmup)
    return settings.lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give each group its scale of `rate`."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]


def accumulation(settings: Optimisation, *, world: int) -> int:
    """Into how many micro-batches a step of `world` workers is split: the fewest that divide the batch equally.

    Each worker then has at most `micro_batch` of each, and at least one. ValueError when no number does that.
    """
    most = settings.micro_batch or settings.batch_size
    for parts in range(1, settings.batch_size // world + 1):
        if settings.batch_size % parts == 0 and math.ceil(settings.batch_size / parts / world) <= most:
            return parts
    raise ValueError(
        f"batch_size {settings.batch_size} cannot be split for {world} workers with at most {most} at a time; "
        "give a batch_size with more divisors, another micro_batch, or fewer resources.workers"
    )


def precision_on(device: torch.device, wanted: Precision) -> Precision:
    """What `auto` means on a device; else as wanted."""
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"


class MovingAverage:
    """Exponential moving average of a system's weights, kept beside them."""

    def __init__(self, system: System, decay: float) -> None:
        self.decay = decay
        self.system = copy.deepcopy(system).requires_grad_(False).eval() if decay else system

    @torch.no_grad()
    def update(self, system: System, step: int) -> None:
        """Move towards the weights after optimiser step `step`; early on faster, so that the start is forgotten."""
        if not self.decay:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, parameter in zip(self.system.parameters(), system.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)
        for kept, buffer in zip(self.system.buffers(), system.buffers(), strict=True):
            kept.copy_(buffer)
