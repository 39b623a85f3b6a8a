"""Keys follow the config, results are written last and whole."""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from abaw import runs


@dataclass(frozen=True, kw_only=True)
class Inner:
    lr: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Config:
    inner: Inner = Inner()
    path: Path | None = None
    names: tuple[str, ...] = ("a", "b")


def test_a_key_follows_every_field_and_every_input():
    base = runs.key_of(Config(), ["x"])
    assert base == runs.key_of(Config(), ["x"])
    assert len(base) == 12
    others = [
        runs.key_of(replace(Config(), inner=Inner(lr=0.2)), ["x"]),
        runs.key_of(replace(Config(), path=Path("p")), ["x"]),
        runs.key_of(replace(Config(), names=("a",)), ["x"]),
        runs.key_of(Config(), ["y"]),
        runs.key_of(Config()),
    ]
    assert len({base, *others}) == 6


def test_a_config_holds_plain_values_only():
    with pytest.raises(TypeError, match="a config cannot hold object"):
        runs.key_of({"x": object()})


def test_a_stage_is_complete_when_its_result_is_there(tmp_path):
    folder = tmp_path / "stage"
    runs.start(folder, Config())
    assert not runs.is_complete(folder)
    assert yaml.safe_load((folder / "config.yaml").read_text())["inner"] == {"lr": 0.1}
    runs.finish(folder, config=Config(), started=time.time() - 2, inputs=["before"], metrics={"S_VA": 0.5})
    assert runs.is_complete(folder)
    result = runs.read_result(folder)
    assert result["metrics"] == {"S_VA": 0.5}
    assert result["inputs"] == ["before"]
    assert result["wall_s"] >= 2
    assert result["config_hash"] == runs.key_of(Config())
    assert set(result) >= {"schema_version", "status", "commit", "dirty", "versions", "command", "finished_at"}
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "result.json"]


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    runs.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        runs.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
