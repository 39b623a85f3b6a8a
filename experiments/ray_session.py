"""Connect to Ray: a private local one on a laptop, or the cluster that `--address`, RAY_ADDRESS or a job names."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import abaw


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

    quick_ray_train()
    # Ray Data tells every execution at length; what a person needs is on our own progress bars.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    # Without this, Ray Data replaces what a task raised by an error of its own, and the reason is lost.
    ray.data.DataContext.get_current().raise_original_map_exception = True
    if ray.is_initialized():
        yield ""
        return
    library = str(Path(next(iter(abaw.__path__))))
    context = ray.init(
        address=address,
        include_dashboard=True if address == "local" else None,
        runtime_env=None if address == "local" else {"py_modules": [library]},
        log_to_driver=False,
        logging_level="warning",
    )
    try:
        yield context.dashboard_url or ""
    finally:
        ray.shutdown()
