"""A mistake found deep inside a Ray task or a training is told as one found here: its lines on stderr, exit code 1."""

import pickle
from dataclasses import replace

import pytest
import ray
import ray.data

from abaw.models.vit import VitConfig
from abaw.problems import BadInput, Problem
from abaw.systems.multitask import MultiTask
from abaw.training.job import Frames, TrainingJob
from abaw.training.optimisation import Optimisation
from abaw.training.resources import Resources
from experiments.cli import mistake_behind, refused
from experiments.progress import Progress
from experiments.ray_session import ray_session
from experiments.stages import Stage, run_stages


def refuse_two(row):
    problems = [
        Problem(path="a.jpg", message="is not a JPEG"),
        Problem(path="b.txt", line=3, message="is not a number"),
    ]
    raise BadInput(problems)


TWO_LINES = "abaw: a.jpg: is not a JPEG\nabaw: b.txt:3: is not a number\n"


def told(error, capsys):
    """What the user reads on stderr."""
    mistake = mistake_behind(error)
    assert mistake is not None, error
    assert refused(mistake) == 1
    return capsys.readouterr().err


def test_a_refusal_survives_the_way_between_processes():
    with pytest.raises(BadInput) as raised:
        refuse_two({})
    copied = pickle.loads(pickle.dumps(raised.value))
    assert copied.problems == raised.value.problems
    assert str(copied) == str(raised.value) == "a.jpg: is not a JPEG\nb.txt:3: is not a number"


def test_a_refusal_in_a_ray_task_is_told_line_by_line(local_ray, capsys):
    with pytest.raises(ray.exceptions.RayTaskError) as raised:
        ray.get(ray.remote(refuse_two).remote({}))
    assert told(raised.value, capsys) == TWO_LINES


def test_a_refusal_in_a_ray_data_task_is_told_line_by_line(local_ray, capsys):
    with ray_session(), pytest.raises(ray.exceptions.RayTaskError) as raised:
        list(ray.data.from_items([{"row": 1}]).map(refuse_two).iter_rows())
    assert told(raised.value, capsys) == TWO_LINES


@pytest.mark.slow
def test_a_refusal_in_a_training_worker_is_told_and_leaves_nothing_complete(local_ray, tmp_path, capsys):
    shards = tmp_path / "shards"
    job = TrainingJob(
        name="finetune",
        folder=tmp_path,
        system=MultiTask(encoder=VitConfig(size="micro", image_size=32)),
        optimisation=Optimisation(epochs=1),
        seed=0,
        train=Frames(shards=shards),
        track="mtl",
    )
    stage = Stage(name="finetune", config={}, job=lambda folder: replace(job, folder=folder))
    with pytest.raises(BadInput) as raised:
        run_stages([stage], root=tmp_path, resources=Resources(workers=1, max_failures=0), progress=Progress())
    printed = told(raised.value, capsys)
    folder = stage.folder(tmp_path)
    assert f"\nabaw: {folder}: finetune failed: {shards / 'manifest.json'}: no manifest: no such folder" in printed
    assert "Traceback" not in printed
    assert not (stage.folder(tmp_path) / "result.json").exists()


def test_an_error_that_is_no_mistake_of_the_user_keeps_its_traceback(local_ray):
    def broken():
        raise RuntimeError("out of memory")

    with pytest.raises(ray.exceptions.RayTaskError) as raised:
        ray.get(ray.remote(broken).remote())
    assert mistake_behind(raised.value) is None
