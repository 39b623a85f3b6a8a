"""Notice that this machine is about to go: the workers save what they have and leave together, with nothing lost.

Notice comes in two ways. A batch system, or a machine that stops, sends SIGTERM to every process. `ray start --block`
(as Kubernetes runs it), when it gets SIGTERM, and autoscalers drain the node, which Ray Train passes to all workers of
the group (`ray.train.PreemptionInfo`). Usually 30 s are left, which is more than a step and a checkpoint.
"""

import signal
import threading
from types import FrameType

import ray
import torch
import torch.distributed as dist
from ray.train.v2._internal.execution.context import get_train_context

from abaw.training.workers import Worker

_SIGNALLED = threading.Event()


class LeavingError(RuntimeError):
    """A worker group that saved and left its machines; another one goes on from there."""


def listen() -> None:
    """Take SIGTERM as notice in this worker of Ray Train; a second SIGTERM ends it.

    A training runs in a thread, and only the main thread of a process can take signals: the worker's actor does it.
    """
    ray.get(ray.get_runtime_context().current_actor.execute.remote(_take_sigterm))


def _take_sigterm() -> None:
    signal.signal(signal.SIGTERM, _noticed)


def _noticed(number: int, frame: FrameType | None) -> None:
    _SIGNALLED.set()
    signal.signal(number, signal.SIG_DFL)


def told_to_leave(worker: Worker) -> bool:
    """Whether any worker has notice; all ask after the same step, and hear the same."""
    told = _told()
    if worker.world == 1:
        return told
    flag = torch.tensor([told], dtype=torch.int32, device=worker.device)
    dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return bool(flag.item())


def _told() -> bool:
    if _SIGNALLED.is_set():
        return True
    try:
        # The public `get_preemption_info` asks all workers through an actor, which every step would wait for.
        return get_train_context().preemption_context.preemption_info is not None
    except RuntimeError:  # no worker of Ray Train
        return False
