"""Batches that a system learns by heart, and the learning."""

import torch

from abaw.tracks import get_track

MASKS = ("va_mask", "expression_mask", "au_mask")


def frames(count=32, *, size=32, track="mtl"):
    """Coarse random pictures (count, 3, size, size) with every label that the track has; the same at each call."""
    generator = torch.Generator().manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(count, 3, 8, 8, generator=generator), size=(size, size))
    widths = {task.name: len(task.columns) for task in get_track(track).tasks}
    return {
        "image": (images * 255).byte(),
        "va": torch.rand(count, 2, generator=generator) * 2 - 1,
        "va_mask": torch.ones(count, dtype=torch.bool),
        "expression": torch.randint(0, widths.get("expr", 1), (count,), generator=generator),
        "expression_mask": torch.ones(count, dtype=torch.bool),
        "au": torch.randint(0, 2, (count, widths.get("au", 1)), generator=generator).float(),
        "au_mask": torch.ones(count, widths.get("au", 1), dtype=torch.bool),
    }


def unlabelled(batch):
    return batch | {name: torch.zeros_like(batch[name]) for name in MASKS}


def total(system, batch):
    return torch.stack(list(system(batch, torch.Generator()).values())).sum()


def learn(system, batch, *, steps, lr):
    """Train what is not frozen with AdamW; the system comes back ready to predict."""
    optimiser = torch.optim.AdamW([p for p in system.train().parameters() if p.requires_grad], lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        total(system, batch).backward()
        optimiser.step()
    return system.eval()
