"""Where weights come from, by name, as tensors by their names there: files, timm's and torchvision's caches.

Nothing is ever downloaded: what is not in the user's cache is refused with the command that fetches it. Nothing is ever
executed: pickles are read with `weights_only=True`.
"""

import difflib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
import torch
import torchvision
from torch import Tensor

from abaw.problems import refuse
from abaw.training.checkpoints import load_weights

WRAPPERS = ("model_state_dict", "state_dict", "model")
"""Keys under which files keep the weights beside other things: DAN, many others, MAE and MAE-Face."""
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm's repositories call the weights."""


def read_source(source: str) -> dict[str, Tensor]:
    """The tensors that `source` names; BadInput where there are none.

    Args:
        source: `timm:NAME` such as `timm:vit_base_patch16_224.mae`; `torchvision:NAME` such as `torchvision:resnet18`;
            else the path of a `.safetensors` file or of a pickle of torch (`.pth`, `.pt`, `.bin`).
    """
    library, colon, name = source.partition(":")
    if colon and library == "timm":
        return _from_timm(name)
    if colon and library == "torchvision":
        return _from_torchvision(name)
    return _read_file(Path(source).expanduser())


def _read_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return load_weights(path)
    if not path.is_file():
        expected = "a .safetensors or .pth file, timm:NAME or torchvision:NAME"
        raise refuse(path, f"no such weights; expected {expected}")
    return _tensors(_unpickle(path), path)


def _unpickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+) was not an allowed", str(error))
        if foreign is None:
            raise refuse(path, "not a file that torch.save wrote; choose another") from error
        raise refuse(
            path,
            f"holds an object of {foreign[1]} beside the weights, and reading such objects can run any code; where you "
            "trust its author, load it once with torch.load(PATH, weights_only=False), save only the tensors by "
            'torch.save({"model": state_dict}, NEW), and give NEW',
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise refuse(path, f"cannot be read ({why}); fetch it again or choose another") from error


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, plain or under one of `WRAPPERS`."""
    if not isinstance(content, Mapping):
        raise refuse(path, f"holds a {type(content).__name__}; expected tensors by name (a state dict)")
    inner = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), content)
    tensors = {str(name): value for name, value in inner.items() if isinstance(value, Tensor)}
    if not tensors:
        known = ", ".join(map(str, list(content)[:8])) or "nothing"
        raise refuse(
            path, f"holds no tensors by name, but {known}; expected a state dict or one in {', '.join(WRAPPERS)}"
        )
    return tensors


def _from_timm(name: str) -> dict[str, Tensor]:
    """The weights of a timm model from the user's cache, in timm's own layout, whatever layout the file has."""
    config = _timm_config(name)
    path = _cached_timm(config)
    if path is None:
        raise refuse(f"timm:{name}", f"is not in the cache, and nothing is downloaded here; run once: {_fetch(config)}")
    overlay = {"state_dict": _read_file(path)}
    try:
        model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except RuntimeError as error:
        why = str(error).replace("\n", " ")[:200]
        raise refuse(path, f"does not hold the weights of {name} ({why}); delete it, then: {_fetch(config)}") from error
    weights: dict[str, Tensor] = model.state_dict()
    return weights


def _timm_config(name: str) -> Any:
    """What timm knows of a pretrained model: its repository, and where it was published first."""
    known = timm.list_pretrained()
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # the model is known, this variant of its weights is not
        config = None
    if config is None or not (config.hf_hub_id or config.url):
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
        raise refuse(f"timm:{name}", f"timm has no weights of that name; perhaps {', '.join(near) or 'none'}")
    return config


def _cached_timm(config: Any) -> Path | None:
    """The file of these weights in the cache of Hugging Face or, as older versions of timm kept it, of torch."""
    files = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
    for file in files if config.hf_hub_id else ():
        cache = huggingface_hub.constants.HF_HUB_CACHE
        found = huggingface_hub.try_to_load_from_cache(config.hf_hub_id, file, cache_dir=cache)
        if isinstance(found, str):  # else None, or a mark that the repository has no such file
            return Path(found)
    kept = _torch_cache(config.url) if config.url else None
    return kept if kept is not None and kept.is_file() else None


def _fetch(config: Any) -> str:
    """The command that puts the weights into the cache."""
    if config.hf_hub_id:
        return f"hf download {config.hf_hub_id} {config.hf_hub_filename or HUB_FILES[0]}"
    return f"curl --location --create-dirs --output {_torch_cache(config.url)} {config.url}"


def _from_torchvision(name: str) -> dict[str, Tensor]:
    try:
        url = torchvision.models.get_model_weights(name).DEFAULT.url
    except ValueError as error:
        near = difflib.get_close_matches(name, torchvision.models.list_models(), n=3, cutoff=0.3)
        message = f"torchvision has no weights of that name; perhaps {', '.join(near) or 'none'}"
        raise refuse(f"torchvision:{name}", message) from error
    path = _torch_cache(url)
    if not path.is_file():
        fetch = f"curl --location --create-dirs --output {path} {url}"
        raise refuse(f"torchvision:{name}", f"is not in the cache, and nothing is downloaded here; run once: {fetch}")
    return _read_file(path)


def _torch_cache(url: str) -> Path:
    """Where torch.hub keeps what it fetched from this address."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
