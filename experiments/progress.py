"""What a person sees while a recipe runs: a line for each thing that ends, on stderr, with the time since the start."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from abaw import runs
from abaw.training.job import TrainingJob
from abaw.training.reporting import METRICS, PROGRESS
from abaw.training.sinks import Sink

EVERY_S = 60.0
"""Seconds between two lines on where a training stands, where there is no terminal."""


class Progress:
    """Prints lines with the seconds since it was made."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.started = time.time()

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(f"[dim]{time.time() - self.started:6.1f} s[/dim]  {escape(text)}", soft_wrap=True)


@contextmanager
def watch(jobs: Sequence[TrainingJob], progress: Progress, sinks: Sequence[Sink] = ()) -> Iterator[None]:
    """Say what the trainings tell, as they tell it, and hand it to the sinks: workers write files, wherever they run.

    On a terminal each running training has a bar; elsewhere it has a line a minute, beside one an epoch.
    """
    stop = threading.Event()
    follower = Follower(jobs, progress, sinks)
    thread = threading.Thread(target=follower.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Follower:
    """Reads `metrics.jsonl` and `progress.json` of trainings while they run."""

    def __init__(self, jobs: Sequence[TrainingJob], progress: Progress, sinks: Sequence[Sink]) -> None:
        self.progress, self.sinks = progress, list(sinks)
        self.read = {job.folder: _size(job.folder / METRICS) for job in jobs}
        self.seen = {job.folder: _changed(job.folder / PROGRESS) for job in jobs}
        self.said = dict.fromkeys(self.read, time.monotonic())
        self.unfinished = list(jobs)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[told]}"))
        self.bars = Bars(*columns, console=progress.console, transient=True)
        self.tasks: dict[Path, TaskID] = {}

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set, and then once more."""
        with self.bars if self.progress.console.is_terminal else nullcontext():
            stopping = False
            while not stopping:
                stopping = stop.wait(0.3)
                for job in list(self.unfinished):
                    self._lines(job)
                    self._standing(job)
                    if runs.is_complete(job.folder) or stopping:
                        self._end(job)

    def _lines(self, job: TrainingJob) -> None:
        """What the job has told since it was looked at, whole lines only."""
        path = job.folder / METRICS
        if _size(path) <= self.read[job.folder]:
            return
        with path.open("rb") as file:
            file.seek(self.read[job.folder])
            told = file.read()
        told = told[: told.rfind(b"\n") + 1]
        self.read[job.folder] += len(told)
        for values in map(json.loads, told.splitlines()):
            self.progress.say(epoch_line(values))
            self._hand_on(job, values)

    def _hand_on(self, job: TrainingJob, values: dict[str, Any]) -> None:
        """To the sinks; one that fails costs its log, not the run."""
        for sink in list(self.sinks):
            try:
                sink.write(job, values)
            except Exception as error:
                self.progress.say(f"{type(sink).__name__} gets no more of this run: {error}")
                self.sinks.remove(sink)

    def _standing(self, job: TrainingJob) -> None:
        path = job.folder / PROGRESS
        if _changed(path) == self.seen[job.folder]:
            return
        self.seen[job.folder] = _changed(path)
        values = json.loads(path.read_text())
        done, total = (values["epoch"] - 1) * values["steps"] + values["step"], values["epochs"] * values["steps"]
        if self.progress.console.is_terminal:
            if job.folder not in self.tasks:
                self.tasks[job.folder] = self.bars.add_task(job.name, total=total, told="")
            self.bars.update(self.tasks[job.folder], completed=done, total=total, told=standing_line(values))
        elif time.monotonic() - self.said[job.folder] > EVERY_S:
            self.said[job.folder] = time.monotonic()
            self.progress.say(f"{job.name}: {standing_line(values)}")

    def _end(self, job: TrainingJob) -> None:
        self.unfinished.remove(job)
        if job.folder in self.tasks:
            self.bars.remove_task(self.tasks.pop(job.folder))
        if runs.is_complete(job.folder):
            self.progress.say(_finished_line(job))
        for sink in self.sinks:
            sink.close(job)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def standing_line(values: dict[str, Any]) -> str:
    """Where a training stands: `progress.json` for a person."""
    losses = "  ".join(f"{name} {value:.3f}" for name, value in values["losses"].items())
    return (
        f"epoch {values['epoch']}/{values['epochs']}  step {values['step']}/{values['steps']}  {losses}  "
        f"{values['images_per_s']:,.0f} images/s  {values['data_wait']:.0%} waiting for data  "
        f"{timedelta(seconds=round(values['eta_s']))} left"
    )


def starting_line(values: dict[str, Any]) -> str:
    """What computes a training, and how: told before its first step."""
    threads = f", {values['threads']} thread(s) each" if values["device"] == "cpu" else ""
    compiled = ", compiled" if values["compile"] else ""
    steps = f" = {values['workers']} worker(s) x {values['micro_batch']} x {values['accumulate']} accumulated"
    return (
        f"{values['device']}{threads}, {values['precision']}{compiled}  batch {values['batch_size']}{steps}  "
        f"learning rate {values['lr']:g}"
    )


def epoch_line(values: dict[str, Any]) -> str:
    """One line of `metrics.jsonl` for a person."""
    from abaw.training.lost import interruption  # Ray Train

    if (text := interruption(values)) is not None:
        return text
    if "started_from" in values:
        return "\n".join(f"{values['job']}: {line}" for line in values["started_from"])
    if "starting" in values:
        return f"{values['job']}: {starting_line(values['starting'])}"
    head = f"{values['job']}: epoch {values['epoch']}/{values['epochs']}"
    if "went_back_to_epoch" in values:
        return f"{head}  diverged: going on from epoch {values['went_back_to_epoch']}, rate x {values['rate']:g}"
    if "loss" not in values:
        scores = "  ".join(f"{name} {value:.3f}" for name, value in values.items() if name.startswith(("S_", "P_")))
        return f"{head}  {scores}"
    parts = "  ".join(
        f"{name.removeprefix('loss/')} {value:.3f}" for name, value in values.items() if name.startswith("loss/")
    )
    skipped = f"  {values['skipped_steps']} steps skipped" if values.get("skipped_steps") else ""
    speed = f"{values['images_per_s']:,.0f} images/s  {values['data_wait']:.0%} waiting for data"
    return f"{head}  {parts}  {speed}{skipped}"


def _finished_line(job: TrainingJob) -> str:
    result = runs.read_result(job.folder)
    scores = "  ".join(
        f"{name} {value:.3f}" for name, value in result.get("metrics", {}).items() if name[:2] in ("S_", "P_")
    )
    return f"{job.name}: done in {result['wall_s']:.1f} s" + (f", held-out fold {scores}" if scores else "")
