"""Weights of a detector: a file that the user has, with its sha256 checked; nothing is downloaded."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from abaw.data.storage import sha256_of
from abaw.problems import refuse


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A checked file of weights."""

    backend: Literal["retinaface", "mediapipe"]
    path: Path
    """Absolute."""
    sha256: str
    name: str
    """Name that its publisher gave it, or that of the file."""

    def __str__(self) -> str:
        return f"{self.backend} {self.name} sha256 {self.sha256[:16]}"


def check_weights(
    backend: Literal["retinaface", "mediapipe"],
    path: Path,
    *,
    known: Mapping[str, str],
    accepted: str | None,
    source: str,
) -> Weights:
    """The file as `Weights`; BadInput when it is not there or is another than published.

    Args:
        backend: detector that reads the file.
        path: the file.
        known: name by sha256 of what is published.
        accepted: sha256 that the user trusts instead.
        source: where to get the file.
    """
    if not path.is_file():
        raise refuse(path, f"no such file of weights for {backend}; get it from {source} and give --weights PATH")
    sha256 = sha256_of(path)
    if accepted is not None and sha256 != accepted.lower():
        raise refuse(path, f"sha256 is {sha256}; expected {accepted}, as --weights-sha256 says")
    if accepted is None and sha256 not in known:
        names = ", ".join(f"{value} ({name})" for value, name in known.items())
        message = f"sha256 is {sha256}; expected {names} from {source}, or --weights-sha256 if you trust this file"
        raise refuse(path, message)
    return Weights(backend=backend, path=path.absolute(), sha256=sha256, name=known.get(sha256, path.name))


def need_extra(module: str, extra: str) -> ModuleType:
    """The module, imported; BadInput says how to install the extra that holds it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise refuse(module, f"is not there ({error}); install it: pip install 'abaw-platform[{extra}]'") from error
