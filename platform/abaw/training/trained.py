"""A finished training read back from its folder: the network with its weights, and the settings it was trained with.

`config.yaml` holds the resolved settings as plain values, the weights' metadata the name of the system's config; the
two give the config back, without a pickle.
"""

import dataclasses
import importlib
import pkgutil
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml
from safetensors import safe_open

from abaw import runs, systems
from abaw.data.augment import Augmentation
from abaw.data.manifest import Preprocessing
from abaw.problems import refuse
from abaw.systems.system import System, SystemConfig
from abaw.training.checkpoints import load_weights, read_preprocessing


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What one training left."""

    name: str
    """Name of the system's config, such as MultiTask."""
    config: SystemConfig
    system: System
    """With the final weights, in evaluation mode."""
    preprocessing: Preprocessing | None
    """How the images were made; None where the weights do not say."""
    augmentation: Augmentation
    """How the images were changed; its `views` belong to a prediction."""
    settings: Mapping[str, Any]
    """All of `config.yaml`, as plain values."""
    result: Mapping[str, Any]
    """All of `result.json`."""


def read_trained(folder: Path) -> Trained:
    """Read a stage's folder; BadInput when it is no finished training, or one of a version with other settings."""
    weights, config = folder / "checkpoints" / "final.safetensors", folder / "config.yaml"
    if not runs.is_complete(folder) or not weights.is_file() or not config.is_file():
        inside = ", ".join(path.parent.parent.name for path in sorted(folder.glob("*/checkpoints/final.safetensors")))
        hint = f"choose one of the trainings in it: {inside}" if inside else "`abaw run` makes such folders"
        raise refuse(folder, f"is no finished training (result.json, config.yaml, {weights.name}); {hint}")
    result, settings = runs.read_result(folder), yaml.safe_load(config.read_text())
    with safe_open(weights, framework="pt") as file:
        name = (file.metadata() or {}).get("system", "")
    known = system_configs()
    if name not in known:
        raise refuse(weights, f"is of the system {name or 'without a name'!r}; known are {', '.join(sorted(known))}")
    try:
        system_config: SystemConfig = rebuild(known[name], settings["system"])
        augmentation = rebuild(Augmentation, settings["optimisation"]["augmentation"])
        system = system_config.build()
        system.load_state_dict(load_weights(weights))
    except (KeyError, TypeError, RuntimeError) as error:
        made, why = result.get("commit"), str(error).replace("\n", " ")
        raise refuse(config, f"is of another version ({why}); use commit {made or 'unknown'}, which made it") from error
    return Trained(
        name=name,
        config=system_config,
        system=system.eval(),
        preprocessing=read_preprocessing(weights),
        augmentation=augmentation,
        settings=settings,
        result=result,
    )


def system_configs() -> dict[str, type]:
    """The config of every system by its name: the dataclasses of `abaw.systems` that build something."""
    modules = [
        importlib.import_module(f"{systems.__name__}.{found.name}") for found in pkgutil.iter_modules(systems.__path__)
    ]
    return {
        name: kind
        for module in modules
        for name, kind in vars(module).items()
        if dataclasses.is_dataclass(kind) and isinstance(kind, type) and hasattr(kind, "build")
        if kind.__module__ == module.__name__
    }


def rebuild(kind: Any, value: Any) -> Any:
    """The inverse of `runs.plain`: a value of this type from plain ones. Fields that are not there keep their default.

    TypeError when a field is not one of the dataclass.
    """
    if value is None:
        return None
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{name: rebuild(hints.get(name), item) for name, item in value.items()})
    if origin in (Union, types.UnionType):
        return rebuild(next(arm for arm in arguments if _may_be(arm, value)), value)
    if origin is tuple:
        kinds = arguments[:1] * len(value) if arguments[1:] == (...,) else arguments
        return tuple(rebuild(one, item) for one, item in zip(kinds, value, strict=True))
    if isinstance(value, dict) and len(arguments) == 2:
        return {name: rebuild(arguments[1], item) for name, item in value.items()}
    return Path(value) if kind is Path else value


def _may_be(kind: Any, value: Any) -> bool:
    """Whether a plain value may have been of this member of a union."""
    if dataclasses.is_dataclass(kind):
        return isinstance(value, dict) and value.keys() <= {field.name for field in dataclasses.fields(kind)}
    return kind is not types.NoneType and isinstance(value, dict) == (get_origin(kind) in (dict, Mapping))
