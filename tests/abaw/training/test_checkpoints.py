"""Checkpoints come back whole, and broken or foreign weights are refused with the reason."""

import logging

import pytest

from abaw.data.manifest import Preprocessing
from abaw.models.vit import VitConfig
from abaw.problems import BadInput
from abaw.systems.multitask import MultiTask
from abaw.training.checkpoints import (
    check_preprocessing,
    load_weights,
    read_preprocessing,
    save_weights,
)

ENCODER = VitConfig(size="micro", image_size=64)


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
