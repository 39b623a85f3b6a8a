"""Many jobs as Ray tasks, a bounded number at a time, with a progress bar on stderr."""

from collections.abc import Callable, Sequence
from typing import Any

import ray
from rich.console import Console
from rich.progress import Progress

AHEAD = 2
"""Tasks that run or wait for each CPU."""


def run_tasks(function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], *, title: str) -> list[Any]:
    """`function(*job)` of each job, one CPU each; the results in the order of the jobs; errors are raised."""
    task = ray.remote(function).options(num_cpus=1, name=title)
    most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    results: list[Any] = [None] * len(jobs)
    waiting = list(range(len(jobs)))[::-1]
    running: dict[Any, int] = {}
    with Progress(console=Console(stderr=True)) as bar:
        shown = bar.add_task(title, total=len(jobs))
        while waiting or running:
            while waiting and len(running) < most:
                place = waiting.pop()
                running[task.remote(*jobs[place])] = place
            (done,), _ = ray.wait(list(running), num_returns=1)
            results[running.pop(done)] = ray.get(done)
            bar.advance(shown)
    return results
