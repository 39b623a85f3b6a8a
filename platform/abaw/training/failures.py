"""Trainings that failed: recorded in their folders, so that the others go on and the run names them at its end."""

import json
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from abaw.problems import BadInput, Problem
from abaw.runs import is_complete, write_json
from abaw.training.job import TrainingJob

FAILED = "failed.json"
TOGETHER_S = 10.0
"""Seconds in which all workers of a group must have failed for their failures to be one."""


def record(job: TrainingJob, error: BaseException, *, rank: int = 0) -> None:
    """Write why the job failed, what is wrong in the input where it says so, and the traceback."""
    if isinstance(error, BadInput):
        reasons = [str(problem) for problem in error.problems]
    else:
        reasons = [str(error) if isinstance(error, ValueError) else in_short(error)]
    told = "".join(traceback.format_exception(error))
    write_json(_path(job, rank), {"job": job.name, "reasons": reasons, "traceback": told})


def forget(job: TrainingJob) -> None:
    """A new run tries again."""
    for path in job.folder.glob(f"*{FAILED}"):
        path.unlink()


def is_over(job: TrainingJob) -> bool:
    """Whether there is nothing left to do: it is complete, or it failed."""
    return is_complete(job.folder) or bool(list(job.folder.glob(f"*{FAILED}")))


def all_failed(job: TrainingJob, world: int) -> bool:
    """Whether the job fails on all workers, as a mistake of the user does; waits for them a while.

    Where one alone fails, such as at an image that only it reads, the others wait for its gradients for ever.
    """
    deadline = time.monotonic() + TOGETHER_S
    while not (together := all(_path(job, rank).is_file() for rank in range(world))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return together


def failures(jobs: Sequence[TrainingJob]) -> list[Problem]:
    """What went wrong with each job that failed, by its name; what several workers say alike, once."""
    return [
        Problem(path=str(job.folder), message=f"{job.name} failed: {reason.removeprefix(f'{job.name}: ')}")
        for job in jobs
        for reason in dict.fromkeys(
            reason
            for path in sorted(job.folder.glob(f"*{FAILED}"))
            for reason in json.loads(path.read_text())["reasons"]
        )
    ]


def in_short(error: BaseException) -> str:
    """The first line, without the traceback, of what a worker raised or of how its process ended."""
    cause = getattr(error, "health_check_failure", getattr(error, "_base_exc", error))
    return f"{type(cause).__name__}: {cause}".splitlines()[0]


def _path(job: TrainingJob, rank: int) -> Path:
    return job.folder / f"rank-{rank}.{FAILED}"
