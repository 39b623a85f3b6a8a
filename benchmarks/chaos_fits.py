"""Fits in one cluster, one after another: whether processes, memory and shared memory stay what they were.

`measure_fits` starts `drive` in a process of its own and reads what it prints after every fit.
"""

import argparse
import contextlib
import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from chaos_machines import QUICK, Run

HERE = Path(__file__).parent
FITS, SETTLED = 20, 5
"""How many, and after how many nothing grows: the first ones load libraries."""
CONTROLLER = """
A process of a fit that is still there is Ray's controller of the last one: it ends with its driver, or when that
collects garbage.
""".strip()
OF_A_FIT = ("RayTrainWorker", "TrainController", "SynchronizationActor", "PlacementGroupCleaner")
"""Titles of processes that end with a fit."""


def measure_fits(reference: Run, fits: int = FITS) -> list[dict[str, float]]:
    """The figures after each fit, on the shards of a finished run."""
    shards = next(reference.folder.glob("shards-labelled-*")) / "data"
    command = [
        sys.executable,
        "-c",
        "import chaos_fits; chaos_fits.drive()",
        reference.machines.address,
        str(shards),
        str(reference.runs / "fits"),
    ]
    done = subprocess.run(
        [*command, "--fits", str(fits)], cwd=HERE, env={**os.environ, **QUICK}, stdout=subprocess.PIPE, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def fits_table(rows: list[dict[str, float]]) -> list[str]:
    """Lines of Markdown on the first, the fifth and the last fit."""
    head = ["after fit", "processes of fits", "other processes", "driver", "nodes", "shared memory"]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for k in sorted({1, min(SETTLED, len(rows)), len(rows)}):
        row = rows[k - 1]
        cells = [k, row["fitting"], row["others"], *(f"{row[name]:.0f} MiB" for name in ("driver", "nodes", "shared"))]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, "", CONTROLLER]


def fitting(nodes: list[psutil.Process]) -> set[psutil.Process]:
    """The processes of fits below the raylets."""
    return {child for child, title in titles(nodes).items() if any(name in title for name in OF_A_FIT)}


def titles(nodes: list[psutil.Process]) -> dict[psutil.Process, str]:
    """What each process below the raylets calls itself."""
    found = {}
    for child in (child for node in nodes for child in node.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            found[child] = " ".join(child.cmdline())
    return found


def figures(nodes: list[psutil.Process], before: set[psutil.Process]) -> dict[str, float]:
    """Now: processes below the raylets, memory of the driver and of the nodes, what the object stores hold, in MiB.

    `before` are processes of fits whose driver was killed before: Ray's `PlacementGroupCleaner` stays until the cluster
    ends.
    """
    import ray

    here, fits = titles(nodes), fitting(nodes)
    others = [title for child, title in here.items() if title.startswith("ray::") and child not in fits]
    total, free = ray.cluster_resources(), ray.available_resources()
    return {
        "fitting": len(fits - before),
        "others": len([title for title in others if "IDLE" not in title]),
        "driver": psutil.Process().memory_full_info().uss / 2**20,
        "nodes": sum(one.memory_full_info().uss for one in nodes) / 2**20,
        "shared": (total["object_store_memory"] - free["object_store_memory"]) / 2**20,
    }


def settled(nodes: list[psutil.Process], before: set[psutil.Process]) -> dict[str, float]:
    """The figures once the processes of a fit are gone, or after 20 s."""
    deadline = time.time() + 20
    while (now := figures(nodes, before))["fitting"] and time.time() < deadline:
        time.sleep(0.5)
    gc.collect()
    return now


def drive() -> None:
    """What `measure_fits` starts: fits on the cluster at an address, and a line of figures after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("shards", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fits", type=int, default=FITS)
    arguments = parser.parse_args()

    from abaw.models.vit import VitConfig
    from abaw.systems.multitask import MultiTask
    from abaw.training.fit import fit_together
    from abaw.training.job import Frames, TrainingJob
    from abaw.training.optimisation import Optimisation
    from abaw.training.resources import Resources
    from experiments.ray_session import ray_session

    with ray_session(arguments.address):
        nodes = [one for one in psutil.process_iter(["cmdline"]) if is_node(one, arguments.address)]
        before = fitting(nodes)
        for k in range(arguments.fits):
            job = TrainingJob(
                name=f"fit-{k}",
                folder=arguments.folder / f"fit-{k}",
                system=MultiTask(encoder=VitConfig(size="micro", image_size=32, stem="conv")),
                optimisation=Optimisation(epochs=1, warmup_epochs=0.5, batch_size=16),
                seed=k,
                train=Frames(shards=arguments.shards, splits=("train",)),
                track="mtl",
            )
            resources = Resources(workers=1, cpus_per_worker=1)
            failed = fit_together([job], resources=resources, scratch=arguments.folder / "ray")
            assert not failed, failed
            print(json.dumps(settled(nodes, before)), flush=True)


def is_node(process: psutil.Process, address: str) -> bool:
    """Whether a process is a raylet, or the head's store, of this cluster."""
    words = process.info["cmdline"] or [""]
    port = address.rpartition(":")[2]
    return any(name in words[0] for name in ("raylet/raylet", "gcs/gcs_server")) and any(port in one for one in words)
