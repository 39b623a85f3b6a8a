"""What an interrupted training goes on from: whole checkpoints, the one before a broken one, and a full disk."""

import resource
import shutil

import pytest
import torch
from upath import UPath

from abaw.data.storage import as_path, file_sizes
from abaw.models.vit import VitConfig
from abaw.problems import BadInput
from abaw.systems.multitask import MultiTask
from abaw.training.away import Away, away_for
from abaw.training.checkpoints import Position
from abaw.training.optimisation import Optimisation
from abaw.training.states import States
from abaw.training.steps import Stepper
from abaw.training.workers import Worker

ENCODER = VitConfig(size="micro", image_size=32)


def make_stepper(seed=0):
    torch.manual_seed(seed)
    settings = Optimisation(batch_size=4, ema_decay=0.9)
    return Stepper(MultiTask(encoder=ENCODER).build(), settings, seed=0, worker=Worker())


def moved(stepper):
    """The stepper after a step of its optimiser, its guard having seen something."""
    for parameter in stepper.system.parameters():
        parameter.grad = torch.ones_like(parameter)
    stepper.optimiser.step()
    stepper.average.update(stepper.system, 50)
    stepper.guard.allows(1.0)
    stepper.guard.allows(float("nan"))
    return stepper


def assert_equal(one, other):
    for ours, theirs in ((one.system, other.system), (one.average.system, other.average.system)):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    saved, found = one.optimiser.state_dict()["state"], other.optimiser.state_dict()["state"]
    assert saved.keys() == found.keys()
    assert all(torch.equal(saved[k]["exp_avg"], found[k]["exp_avg"]) for k in saved)
    assert one.guard.state() == other.guard.state()


def test_a_state_comes_back_whole(tmp_path):
    stepper, states = moved(make_stepper()), States(tmp_path)
    states.save(stepper, Position(epoch=3, step=7))
    states.wait()
    fresh = make_stepper(seed=1)
    assert States(tmp_path).load(fresh) == Position(epoch=3, step=7)
    assert_equal(stepper, fresh)


def test_what_is_saved_is_what_was_there_when_it_was_asked_for(tmp_path):
    stepper, states = make_stepper(), States(tmp_path)
    expected = {name: value.clone() for name, value in stepper.system.state_dict().items()}
    states.save(stepper, Position(epoch=0, step=0))
    moved(stepper)
    states.wait()
    fresh = make_stepper(seed=1)
    states.load(fresh)
    assert all(torch.equal(value, fresh.system.state_dict()[name]) for name, value in expected.items())


@pytest.fixture
def two(tmp_path):
    """Two checkpoints, of epochs 1 and 2, and the stepper as it was at the second."""
    stepper, states = make_stepper(), States(tmp_path)
    states.save(stepper, Position(epoch=1, step=0))
    states.save(moved(stepper), Position(epoch=2, step=0))
    states.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "last.old"]
    return states, stepper


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "state.pt"])
@pytest.mark.parametrize("damage", ["truncated", "missing", "empty"])
def test_a_broken_checkpoint_falls_back_to_the_one_before(two, name, damage, caplog):
    states, _ = two
    path = states.last / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"")
    fresh = make_stepper(seed=1)
    assert states.load(fresh) == Position(epoch=1, step=0)
    assert "cannot be read" in caplog.text
    expected = make_stepper()
    assert all(torch.equal(v, fresh.system.state_dict()[k]) for k, v in expected.system.state_dict().items())


def test_a_kill_between_the_two_renames_loses_nothing(two):
    states, stepper = two
    shutil.rmtree(states.before)
    states.last.rename(states.before)
    fresh = make_stepper(seed=1)
    assert states.load(fresh) == Position(epoch=2, step=0)
    assert_equal(stepper, fresh)


def test_a_disk_that_cannot_be_written_costs_a_checkpoint_and_no_run(two, caplog):
    states, stepper = two
    states.last.with_name("last.partial").write_bytes(b"")  # a file where the folder should be
    states.save(stepper, Position(epoch=3, step=0))
    states.wait()
    assert "was not written" in caplog.text
    assert states.load(make_stepper(seed=1)) == Position(epoch=2, step=0)


@pytest.mark.parametrize("broken", ["model.safetensors", "state.pt"])
def test_a_disk_that_is_full_in_the_middle_of_a_file_costs_a_checkpoint_and_no_run(two, broken, caplog):
    states, stepper = two
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((states.last / broken).stat().st_size // 2 + 2**16, before[1]))
    try:
        states.save(stepper, Position(epoch=3, step=0))
        states.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "was not written" in caplog.text
    assert sorted(path.name for path in states.last.parent.iterdir()) == ["last", "last.old"]
    assert states.load(make_stepper(seed=1)) == Position(epoch=2, step=0)


def test_no_checkpoint_is_no_position(tmp_path):
    assert States(tmp_path).load(make_stepper()) is None


def test_a_checkpoint_comes_back_to_an_empty_disk(s3_bucket, tmp_path):
    stepper, away = moved(make_stepper()), away_for(f"{s3_bucket}/states", tmp_path / "run" / "finetune-1")
    states = States(tmp_path / "here", away=away)
    for step in range(3):
        states.save(stepper, Position(epoch=1, step=step))
    states.wait()
    fresh = make_stepper(seed=1)
    again = away_for(f"{s3_bucket}/states", tmp_path / "run" / "finetune-1")
    assert States(tmp_path / "elsewhere", away=again).load(fresh) == Position(epoch=1, step=2)
    assert_equal(stepper, fresh)
    files = file_sizes(as_path(f"{s3_bucket}/states/run/finetune-1"))
    assert len(files) == 1 + 2 * 3, files  # last.json, and two checkpoints of three files
    (broken,) = [name for name in files if name.endswith("state.pt") and name.split("/")[0] in _last(again)]
    (again.folder / broken).write_bytes(b"half")
    assert States(tmp_path / "elsewhere", away=again).load(make_stepper(seed=1)) == Position(epoch=1, step=1)


def _last(away):
    return (away.folder / "last.json").read_text().split('"')[1]


def test_a_place_that_cannot_be_reached_costs_a_copy_and_is_never_taken_for_an_empty_one(tmp_path):
    nobody = {"endpoint_url": "http://127.0.0.1:1", "config_kwargs": {"retries": {"max_attempts": 1}}}
    told, away = [], Away(UPath("s3://abaw/x", **nobody))
    states = States(tmp_path, told.append, away=away)
    states.save(make_stepper(), Position(epoch=0, step=1))
    states.wait()
    (line,) = told
    assert "was not copied (s3://abaw/x: cannot be reached" in line
    assert States(tmp_path).load(make_stepper()) == Position(epoch=0, step=1)
    with pytest.raises(BadInput, match="cannot be reached"):
        States(tmp_path / "elsewhere", away=away).load(make_stepper())
