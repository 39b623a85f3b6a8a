"""One process of a training: its rank, its device, what it tells the others, and the memory that it gives back."""

import ctypes
import gc
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from abaw.data.batches import Loading


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Rank `rank` of `world` processes. A world of one needs no process group."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    loading: Loading = Loading()
    checkpoints: str = ""
    """Folder or URL that checkpoints are copied to as well; see `abaw.training.resources`."""

    def gather(self, value: Any) -> list[Any]:
        """The values of all workers, in the order of ranks, on every worker. For small things, by pickle."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def put(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch on this worker's device."""
        return {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}

    def barrier(self) -> None:
        """Wait until all workers are here."""
        if self.world > 1:
            dist.barrier()

    def share_buffers(self, module: nn.Module) -> None:
        """Give every worker the buffers of rank 0, such as batch norm's statistics: DDP does so before a step only."""
        if self.world > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    def parallel(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over workers, or itself where there is one."""
        if self.world == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)


def give_memory_back() -> None:
    """Return memory that is free to the machine.

    The C library keeps what was freed between things that are still used: after several large networks, one after
    another, gigabytes. Where it is not glibc, nothing happens.
    """
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
