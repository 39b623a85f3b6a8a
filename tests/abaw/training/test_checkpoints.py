"""Checkpoints come back whole, and broken or foreign weights are refused with the reason."""

import logging

import pytest
import torch

from abaw.data.manifest import Preprocessing
from abaw.models.vit import VitConfig
from abaw.problems import BadInput
from abaw.systems.multitask import MultiTask
from abaw.training.checkpoints import (
    Position,
    check_preprocessing,
    load_state,
    load_weights,
    read_preprocessing,
    save_state,
    save_weights,
)
from abaw.training.optimisation import Optimisation, make_optimiser

ENCODER = VitConfig(size="micro", image_size=64)


def test_training_state_comes_back(tmp_path):
    system, average = MultiTask(encoder=ENCODER).build(), MultiTask(encoder=ENCODER).build()
    optimiser = make_optimiser(system, Optimisation())
    next(system.parameters()).grad = torch.ones_like(next(system.parameters()))
    optimiser.step()
    position = Position(epoch=3, step=7)
    for _ in range(2):  # the second one replaces the first
        save_state(tmp_path / "last", module=system, average=average, optimiser=optimiser, position=position)
    fresh, fresh_average = MultiTask(encoder=ENCODER).build(), MultiTask(encoder=ENCODER).build()
    fresh_optimiser = make_optimiser(fresh, Optimisation())
    loaded = load_state(tmp_path / "last", module=fresh, average=fresh_average, optimiser=fresh_optimiser)
    assert loaded == position
    for name, value in system.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name])
        assert torch.equal(average.state_dict()[name], fresh_average.state_dict()[name])
    saved, found = optimiser.state_dict()["state"], fresh_optimiser.state_dict()["state"]
    assert saved.keys() == found.keys()
    assert all(torch.equal(saved[k]["exp_avg"], found[k]["exp_avg"]) for k in saved)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path):
    system = MultiTask(encoder=ENCODER).build()
    optimiser = make_optimiser(system, Optimisation())
    save_state(
        tmp_path / "last", module=system, average=system, optimiser=optimiser, position=Position(epoch=1, step=0)
    )
    (tmp_path / "last").rename(tmp_path / "last.old")
    found = load_state(tmp_path / "last", module=system, average=system, optimiser=optimiser)
    assert found == Position(epoch=1, step=0)


def test_no_checkpoint_is_no_position(tmp_path):
    system = MultiTask(encoder=ENCODER).build()
    optimiser = make_optimiser(system, Optimisation())
    assert load_state(tmp_path / "last", module=system, average=system, optimiser=optimiser) is None


def test_missing_and_broken_weights_are_refused(tmp_path):
    with pytest.raises(BadInput, match="no such weights"):
        load_weights(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not weights")
    with pytest.raises(BadInput, match="not a readable safetensors file"):
        load_weights(tmp_path / "broken.safetensors")


def test_weights_say_how_their_images_were_made_and_other_data_is_warned_of(tmp_path, caplog):
    path, aligned = tmp_path / "w.safetensors", Preprocessing(alignment="similarity transform on the eyes", size=112)
    save_weights(MultiTask(encoder=ENCODER).build(), path, {"job": "pretrain"}, preprocessing=aligned)
    assert read_preprocessing(path) == aligned
    with caplog.at_level(logging.WARNING):
        check_preprocessing(path, aligned)
    assert caplog.text == ""
    check_preprocessing(path, Preprocessing(size=256))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "alignment: weights 'similarity transform on the eyes', data 'as delivered'" in record.getMessage()
    assert "size: weights 112, data 256" in record.getMessage()
    assert "colours: " not in record.getMessage()


def test_weights_that_do_not_say_it_are_warned_of(tmp_path, caplog):
    path = tmp_path / "w.safetensors"
    save_weights(MultiTask(encoder=ENCODER).build(), path, {"job": "foreign"})
    assert read_preprocessing(path) is None
    check_preprocessing(path, Preprocessing(size=112))
    assert "w.safetensors does not say how the images it was trained on were made" in caplog.text
    with pytest.raises(BadInput, match="no such weights"):
        check_preprocessing(tmp_path / "none.safetensors", Preprocessing())
