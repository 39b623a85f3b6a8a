"""Soups: the mean of the weights of checkpoints of one architecture (Wortsman et al., 2022).

Read tensor by tensor with NumPy, so that one model and no training library is in memory. Integer tensors, which count
steps, are those of the first checkpoint. `leaderboard.soup_selection` chooses checkpoints.
"""

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abaw.problems import BadInput, Problem, refuse

WEIGHTS_SUFFIX = ".safetensors"
SOUP_KEY = "soup"
"""Key of the list of ingredients, as JSON, in the metadata of a soup's file: their paths, as they were given."""
CHOICE_KEY = "soup_choice"
"""Key of what the choice of the ingredients was worth, as JSON, in the same place; absent where nothing was chosen."""


def write_soup(files: Sequence[Path], out: Path, choice: Mapping[str, Any] | None = None) -> None:
    """Write the mean of the checkpoints' weights; metadata are those of the first and `soup`, the files' paths.

    `choice` is what `soup_choice` is to say. Where a checkpoint is a chosen soup itself, no score of it holds any more.
    BadInput names every tensor that a checkpoint lacks, has too many, or has in another shape or type.
    """
    from safetensors.numpy import save_file

    with ExitStack() as stack:
        opened = [stack.enter_context(_open(path)) for path in files]
        _check_alike(files, opened)
        first = opened[0]
        weights = {name: _mean([file.get_tensor(name) for file in opened]) for name in sorted(first.keys())}
        metadata = {**(first.metadata() or {}), SOUP_KEY: json.dumps([str(path) for path in files])}
        if any(CHOICE_KEY in (file.metadata() or {}) for file in opened):
            choice = {}
        if choice is not None:
            metadata[CHOICE_KEY] = json.dumps(choice)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    save_file(weights, partial, metadata=metadata)
    partial.replace(out)


def ingredients(path: Path) -> list[Path]:
    """The checkpoints that a soup is the mean of; none for what is no soup or not there.

    One that is not where it was is looked for beside the soup. BadInput where the file is damaged.
    """
    named = [Path(name) for name in json.loads(_metadata(path).get(SOUP_KEY, "[]"))]
    beside = [path.with_name(one.name) for one in named]
    return [near if near.is_file() and not one.is_file() else one for one, near in zip(named, beside, strict=True)]


def soup_choice(path: Path) -> dict[str, Any] | None:
    """What the choice of a soup's checkpoints was worth: `track`, where it is known, and the three scores.

    None for weights that nothing was chosen for, and for what is not there. BadInput where the file is damaged.
    """
    found = _metadata(path).get(CHOICE_KEY)
    return None if found is None else dict(json.loads(found))


def score_with(command: str, path: Path) -> float:
    """Run a command with `path` in the place of {}: the last word of its output is the score. BadInput otherwise."""
    done = _run(command, {"{}": path})
    try:
        if done.returncode == 0:
            value = float(done.stdout.split()[-1])
            if np.isfinite(value):
                return value
    except (ValueError, IndexError):
        pass
    raise _failed(done, "the score as the last word")


def predict_with(command: str, path: Path, out: Path) -> None:
    """Run a command with `path` in the place of {} and `out` in that of {out}: the prediction table that it writes."""
    done = _run(command, {"{}": path, "{out}": out})
    if done.returncode or not out.is_file():
        raise _failed(done, "a prediction table at {out}")


def _run(command: str, places: Mapping[str, Path]) -> "subprocess.CompletedProcess[str]":
    """Run a command without a shell, with these paths in these places."""
    for place in places:
        if place not in command:
            examples = "'sh score.sh {}' or 'sh predict.sh {} {out}'"
            raise refuse(command, f"has no {place} where a path goes, as in {examples}")
    words = shlex.split(command)
    for place, path in places.items():
        words = [word.replace(place, str(path)) for word in words]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise refuse(words[0], f"cannot be run: {error.strerror}") from error


def _failed(done: "subprocess.CompletedProcess[str]", expected: str) -> BadInput:
    told = (done.stderr or done.stdout).strip()[-500:] or "nothing"
    message = f"exit code {done.returncode}, said: {told}; expected exit code 0 and {expected}"
    return refuse(shlex.join(done.args), message)


def _metadata(path: Path) -> dict[str, str]:
    """Of weights; empty for what is none or not there."""
    if path.suffix != WEIGHTS_SUFFIX or not path.is_file():
        return {}
    with _open(path) as file:
        return dict(file.metadata() or {})


def _open(path: Path) -> Any:
    from safetensors import safe_open

    if not path.is_file():
        raise refuse(path, "no such checkpoint; expected a .safetensors file")
    try:
        return safe_open(path, framework="numpy")
    except Exception as error:  # the Rust reader raises its own type for each kind of damage
        raise refuse(path, f"not a readable safetensors file ({error})") from error


def _check_alike(files: Sequence[Path], opened: Sequence[Any]) -> None:
    forms = [{name: _form(file, name) for name in file.keys()} for file in opened]  # noqa: SIM118 - no mapping
    problems = []
    for path, form in zip(files, forms, strict=True):
        for name in sorted(form.keys() | forms[0].keys()):
            if form.get(name) != forms[0].get(name):
                found = f"{name} is {form.get(name, 'absent')}, in {files[0]} {forms[0].get(name, 'absent')}"
                problems.append(Problem(path=str(path), message=f"{found}; a soup takes one architecture"))
    problems += [
        Problem(path=str(files[0]), message=f"{name} is BF16, which NumPy has not; save the weights as F32")
        for name, form in forms[0].items()
        if form.startswith("BF16")
    ]
    if problems:
        raise BadInput(problems)


def _form(file: Any, name: str) -> str:
    part = file.get_slice(name)
    return f"{part.get_dtype()} {part.get_shape()}"


def _mean(tensors: Sequence[NDArray[Any]]) -> NDArray[Any]:
    first = tensors[0]
    if not np.issubdtype(first.dtype, np.floating):
        return first
    total = first.astype(np.float64)
    for tensor in tensors[1:]:
        total += tensor
    return np.ascontiguousarray(total / len(tensors), dtype=first.dtype)
