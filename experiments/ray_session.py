"""Connect to Ray: a private local one on a laptop, or the cluster that `--address`, RAY_ADDRESS or a job names."""

import json
import logging
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeGuard

import abaw
from abaw.problems import BadInput, refuse

JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Where Ray tells the driver of a job what it was submitted with."""

ANSWER_S = 10.0
"""Seconds in which a head must answer."""


def is_job_address(address: str | None) -> TypeGuard[str]:
    """Whether `--address` means "run as a job": that of a dashboard does, every other one "drive from here"."""
    return address is not None and re.match(r"https?://", address) is not None


def brings_its_code() -> bool:
    """Whether this process drives a job that was submitted with our library."""
    return "py_modules" in json.loads(os.environ.get(JOB_CONFIG, "{}")).get("runtime_env", {})


def check_answers(address: str) -> None:
    """BadInput where nothing answers at HOST:PORT: Ray would wait for minutes."""
    found = re.fullmatch(r"(?:ray://)?(.+):([0-9]+)", address)
    if address == "auto":
        return
    if is_job_address(address):
        what = "only `abaw run` becomes a job; give HEAD:6379 to drive that cluster from here"
        raise refuse(f"--address {address}", what)
    expected = "HEAD:6379 to drive a cluster from here, or http://HEAD:8265 to run as a job of it"
    if found is None:
        raise refuse(f"--address {address}", f"is no address; expected {expected}")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise refuse(f"--address {address}", f"nothing answers ({error}); expected {expected}") from None


def did_not_start(error: Exception) -> BadInput:
    """What a person can do about a local Ray that did not start: its own message, and the usual reasons."""
    why = " ".join(str(error).split())
    folder, load = tempfile.gettempdir(), os.getloadavg()[0]
    return refuse(
        "Ray",
        f"did not start on this machine: {why[:200] or type(error).__name__}; expected TMPDIR (now {folder}) to be "
        f"short, writable and not full, and time to start (now a load of {load:.0f} on {os.cpu_count()} cores); with "
        f"RAY_raylet_start_wait_time_s=300 it waits longer; its logs: {folder}/ray/session_latest/logs",
    )


@contextmanager
def ray_session(address: str | None = None) -> Iterator[str]:
    """Ray for the time of a command; gives the address of the dashboard, empty where it is not ours.

    Locally a new Ray that ends with the command, or the one that this process is connected to already. On a cluster,
    workers get the library that this process uses.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        # A token left in the home folder by another Ray would switch authentication on half of the processes.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray.data  # after the environment is set: Ray reads it at import

    from abaw.training.fit import quick_ray_train

    if address == "local":
        quick_ray_train()  # among others, no watch for machines that are about to go
    else:
        os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")  # the Train page of the dashboard
    # Ray Data tells every execution at length; what a person needs is on our own progress bars.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # Without this, Ray Data replaces what a task raised by an error of its own, and the reason is lost.
    ray.data.DataContext.get_current().raise_original_map_exception = True
    if address != "local":
        check_answers(address)
    if ray.is_initialized():
        yield ""
        return
    library = str(Path(next(iter(abaw.__path__))))
    try:
        context = ray.init(
            address=address,
            include_dashboard=True if address == "local" else None,
            runtime_env=None if address == "local" or brings_its_code() else {"py_modules": [library]},
            log_to_driver=False,
            logging_level="warning",
        )
    except Exception as error:  # Ray tells a start that failed by errors of every kind, down to Exception itself
        if address != "local":
            raise
        raise did_not_start(error) from error
    try:
        yield context.dashboard_url or ""
    finally:
        ray.shutdown()
