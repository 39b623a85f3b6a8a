"""Where else the lines of `metrics.jsonl` go: TensorBoard and MLflow, written by the driver as trainings tell them.

One process writes for all workers, so that a path such as `sqlite:///runs/mlflow.db` means the driver's machine, and
workers need neither package.
"""

import logging
import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from abaw import runs
from abaw.problems import BadInput, Problem
from abaw.training.job import TrainingJob
from abaw.training.resources import Resources

NO_SCORES = ("epoch", "epochs", "step")
"""Numbers of a line that say where it stands."""


class Sink(Protocol):
    """Takes the numbers of trainings."""

    def write(self, job: TrainingJob, values: dict[str, Any]) -> None:
        """Take one line of `metrics.jsonl`; lines without a `step` hold no numbers."""

    def close(self, job: TrainingJob) -> None:
        """The job is over, complete or not."""


def open_sinks(resources: Resources) -> list[Sink]:
    """Those that were asked for. Raises BadInput where their package is not installed, before anything runs."""
    wanted = {"tensorboard": resources.tensorboard, "mlflow": bool(resources.mlflow)}
    missing = [name for name, asked in wanted.items() if asked and find_spec(name) is None]
    if missing:
        raise BadInput(
            [
                Problem(
                    path=f"resources.{name}", message=f"{name} is not installed: pip install 'abaw-platform[{name}]'"
                )
                for name in missing
            ]
        )
    sinks: list[Sink] = [TensorBoard()] if resources.tensorboard else []
    return [*sinks, Mlflow(resources.mlflow)] if resources.mlflow else sinks


def numbers(values: dict[str, Any]) -> dict[str, float]:
    """Losses, rates and scores of a line, by name."""
    return {
        name: float(value) for name, value in values.items() if isinstance(value, int | float) and name not in NO_SCORES
    }


class TensorBoard:
    """Event files in the folder `tensorboard` of each job: `tensorboard --logdir runs` shows them all."""

    def __init__(self) -> None:
        self._writers: dict[Path, Any] = {}

    def write(self, job: TrainingJob, values: dict[str, Any]) -> None:
        """As scalars, by optimiser step."""
        from torch.utils.tensorboard import SummaryWriter

        if "step" not in values:
            return
        if job.folder not in self._writers:
            self._writers[job.folder] = SummaryWriter(str(job.folder / "tensorboard"))
        for name, value in numbers(values).items():
            self._writers[job.folder].add_scalar(name, value, global_step=values["step"])

    def close(self, job: TrainingJob) -> None:
        """Everything is on the disk."""
        if job.folder in self._writers:
            self._writers.pop(job.folder).close()


class Mlflow:
    """An MLflow run for each job, in an experiment of the recipe's name; a job that goes on keeps its run."""

    def __init__(self, uri: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        self._runs: dict[Path, str] = {}

    def write(self, job: TrainingJob, values: dict[str, Any]) -> None:
        """As metrics, by optimiser step."""
        from mlflow.entities import Metric

        if "step" not in values:
            return
        if job.folder not in self._runs:
            self._runs[job.folder] = self._run_of(job)
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, values["step"]) for name, value in numbers(values).items()]
        self._client.log_batch(self._runs[job.folder], metrics=metrics)

    def close(self, job: TrainingJob) -> None:
        """Whether it is complete."""
        if job.folder in self._runs:
            status = "FINISHED" if runs.is_complete(job.folder) else "FAILED"
            self._client.set_terminated(self._runs.pop(job.folder), status=status)

    def _run_of(self, job: TrainingJob) -> str:
        name = job.folder.parent.name
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        found = self._client.search_runs([number], filter_string=f"tags.folder = '{job.folder.name}'", max_results=1)
        if found:
            self._client.update_run(found[0].info.run_id, status="RUNNING")
            return str(found[0].info.run_id)
        run_id = str(self._client.create_run(number, run_name=job.name, tags={"folder": job.folder.name}).info.run_id)
        settings = job.optimisation
        for key in ("lr", "batch_size", "epochs", "precision"):
            self._client.log_param(run_id, key, getattr(settings, key))
        self._client.log_param(run_id, "seed", job.seed)
        return run_id
