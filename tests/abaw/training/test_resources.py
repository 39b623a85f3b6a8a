"""What is asked of a cluster is settled or refused before anything waits; what an autoscaler may start counts."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw.problems import BadInput
from abaw.training.resources import Resources, groups_at_once, room, settled

CLUSTER_FILE = Path(__file__).parents[3] / "cluster.yaml"


def test_what_the_cluster_has_is_taken_as_it_is(local_ray):
    asked = Resources(workers=2)
    assert settled(asked) == asked
    assert asked.workers_asked == 2


def test_no_number_of_workers_means_one_a_cpu(local_ray):
    chosen = settled(Resources(workers=0))
    assert (chosen.workers, chosen.gpus_per_worker) == (2, 0)
    assert settled(Resources(workers=0, threads=2)).workers == 1


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            Resources(workers=8, gpus_per_worker=1, cpus_per_worker=6),
            r"asked are 8 workers of 6 CPUs and 1 GPUs each; there are 2 CPUs and 0 GPUs on 1 machine\(s\), room for 0",
        ),
        (Resources(workers=5), "asked are 5 workers of 0.5 CPUs each; .* room for 4 such workers"),
        (Resources(workers=9, least_workers=5), r"asked are 9 workers \(at least 5\) of 0.5 CPUs each"),
    ],
)
def test_more_than_the_cluster_has_is_refused_at_once(local_ray, asked, told):
    with pytest.raises(BadInput, match=told):
        settled(asked)


def test_what_is_elastic_or_to_come_is_not_refused(local_ray):
    assert settled(Resources(workers=9, least_workers=1)).workers_asked == (1, 9)
    assert settled(Resources(workers=9, wait=True)).workers == 9


def test_machines_that_the_launcher_file_offers_count(local_ray, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(CLUSTER_FILE, tmp_path / "ray_bootstrap_config.yaml")
    asked = Resources(workers=32, gpus_per_worker=1, cpus_per_worker=12)
    assert settled(asked) == asked
    chosen = settled(Resources(workers=0))
    assert (chosen.workers, chosen.gpus_per_worker) == (32, 1)
    with pytest.raises(BadInput, match="386 CPUs and 32 GPUs on 9 machine"):
        settled(Resources(workers=33, gpus_per_worker=1))
    assert groups_at_once(Resources(workers=1, gpus_per_worker=1)) == 32


def test_groups_run_side_by_side_where_each_worker_has_its_cpus(local_ray):
    assert groups_at_once(Resources(workers=1)) == 2
    assert groups_at_once(Resources(workers=2)) == 1
    assert groups_at_once(Resources(workers=1, threads=2)) == 1


@given(cpus=st.lists(st.integers(0, 64), max_size=5), asked=st.integers(1, 9))
def test_a_worker_is_on_one_machine(cpus, asked):
    machines = [{"CPU": float(count), "memory": 1.0} for count in cpus]
    assert room(machines, {"CPU": asked, "GPU": 0}) == sum(count // asked for count in cpus)


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="least_workers is 3, more than the 2 workers"):
        Resources(workers=2, least_workers=3)
    with pytest.raises(ValueError, match="are 0 or more"):
        Resources(workers=-1)
