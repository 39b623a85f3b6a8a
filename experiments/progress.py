"""What a person sees while a recipe runs: a line for each thing that ends, on stderr, with the time since the start."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from abaw import runs
from abaw.training.job import TrainingJob


class Progress:
    """Prints lines with the seconds since it was made."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.started = time.time()

    def say(self, text: str) -> None:
        """One line."""
        self.console.print(f"[dim]{time.time() - self.started:6.1f} s[/dim]  {text}", soft_wrap=True)


@contextmanager
def watch(jobs: Sequence[TrainingJob], progress: Progress) -> Iterator[None]:
    """Say what the trainings log, as they log it: workers write `metrics.jsonl`, wherever they run."""
    stop = threading.Event()
    thread = threading.Thread(target=_follow, args=(jobs, progress, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _follow(jobs: Sequence[TrainingJob], progress: Progress, stop: threading.Event) -> None:
    read = {job.folder: _size(job.folder / "metrics.jsonl") for job in jobs}
    unfinished = list(jobs)
    stopping = False
    while not stopping:
        stopping = stop.wait(0.3)
        for job in list(unfinished):
            path = job.folder / "metrics.jsonl"
            if _size(path) > read[job.folder]:
                with path.open() as file:
                    file.seek(read[job.folder])
                    lines = file.read()
                read[job.folder] += len(lines.encode())
                for line in lines.splitlines():
                    progress.say(epoch_line(json.loads(line)))
            if runs.is_complete(job.folder):
                progress.say(_finished_line(job))
                unfinished.remove(job)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def epoch_line(values: dict[str, Any]) -> str:
    """One line of `metrics.jsonl` for a person."""
    if "started_from" in values:
        return "\n".join(f"{values['job']}: {line}" for line in values["started_from"])
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
