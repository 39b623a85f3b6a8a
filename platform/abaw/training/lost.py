"""What a person is told of workers that are lost and of checkpoints that fail: workers' logs end in Ray's files."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.train import UserCallback

from abaw.training import failures
from abaw.training.job import TrainingJob

LOG = logging.getLogger(__name__)


class TellLost(UserCallback):  # type: ignore[misc]
    """Writes what ended a worker group to the `metrics.jsonl` of the job that was running, where the driver looks."""

    def __init__(self, jobs: Sequence[TrainingJob]) -> None:
        self.jobs = list(jobs)

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Called once a lost group, in the process that controls it."""
        running = next((job for job in self.jobs if job.folder.is_dir() and not failures.is_over(job)), None)
        if running is not None:  # jobs run in order
            lost = {str(rank): failures.in_short(error) for rank, error in sorted(worker_exceptions.items())}
            _append(running.folder, {"job": running.name, "lost": lost})


def note(job: TrainingJob, text: str) -> None:
    """Let the driver say it."""
    LOG.warning(text)
    _append(job.folder, {"job": job.name, "warning": text})


def _append(folder: Path, values: Mapping[str, object]) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(values) + "\n")


def interruption(values: Mapping[str, Any]) -> str | None:
    """The line for a person where a line of `metrics.jsonl` is about workers that left, were lost or went on."""
    job, epoch = values.get("job"), f"epoch {values.get('epoch')}/{values.get('epochs')}"
    if "warning" in values:
        return f"{job}: {values['warning']}"
    if "lost" in values:
        why = "; ".join(f"worker {rank}: {text}" for rank, text in values["lost"].items())
        return f"{job}: stopped ({why})"
    if "left_at_step" in values:
        return f"{job}: {epoch}  a machine is about to go: saved after step {values['left_at_step']}, leaving"
    if "resumed_at_step" in values:
        return f"{job}: {epoch}  going on after step {values['resumed_at_step']}"
    return None
