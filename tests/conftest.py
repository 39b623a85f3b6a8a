"""What all tests share: one small local Ray, started when the first test asks for it."""

import os

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ.pop("RAY_ADDRESS", None)

import pytest


@pytest.fixture(scope="session")
def local_ray():
    """A local Ray of two CPUs for the whole test run: starting one takes longer than most tests."""
    import ray

    from abaw.training.fit import quick_ray_train

    quick_ray_train()
    if not ray.is_initialized():
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()
