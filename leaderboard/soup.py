"""Soups: the mean of the weights of checkpoints of one architecture (Wortsman et al., 2022), uniform and greedy.

Read tensor by tensor with NumPy, so that one model and no training library is in memory. Integer tensors, which count
steps, are those of the first checkpoint.
"""

import json
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abaw.problems import BadInput, Problem, refuse

SOUP_KEY = "soup"
"""Key of the list of ingredients, as JSON, in the metadata of a soup's file: their paths, as they were given."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One checkpoint tried by `greedy_soup`."""

    path: Path
    score: float
    """Of the soup with it."""
    kept: bool


def write_soup(files: Sequence[Path], out: Path) -> None:
    """Write the mean of the checkpoints' weights; metadata are those of the first and `soup`, the files' paths.

    BadInput names every tensor that a checkpoint lacks, has too many, or has in another shape or type.
    """
    from safetensors.numpy import save_file

    with ExitStack() as stack:
        opened = [stack.enter_context(_open(path)) for path in files]
        _check_alike(files, opened)
        first = opened[0]
        weights = {name: _mean([file.get_tensor(name) for file in opened]) for name in sorted(first.keys())}
        metadata = {**(first.metadata() or {}), SOUP_KEY: json.dumps([str(path) for path in files])}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    save_file(weights, partial, metadata=metadata)
    partial.replace(out)


def ingredients(path: Path) -> list[Path]:
    """The checkpoints that a soup is the mean of; none for what is no soup or not there.

    One that is not where it was is looked for beside the soup. BadInput where the file is damaged.
    """
    if path.suffix != ".safetensors" or not path.is_file():
        return []
    with _open(path) as file:
        named = [Path(name) for name in json.loads((file.metadata() or {}).get(SOUP_KEY, "[]"))]
    beside = [path.with_name(one.name) for one in named]
    return [near if near.is_file() and not one.is_file() else one for one, near in zip(named, beside, strict=True)]


def greedy_soup(files: Sequence[Path], score: Callable[[Path], float]) -> list[Step]:
    """Try the checkpoints from the best to the worst; one stays if the soup with it scores no less than without it.

    The score of a soup is a number chosen on the frames that `score` counts: report it on others.
    """
    alone = sorted(((score(path), path) for path in files), key=lambda pair: -pair[0])
    best, first = alone[0]
    steps = [Step(path=first, score=best, kept=True)]
    with tempfile.TemporaryDirectory() as folder:
        for _, path in alone[1:]:
            tried = Path(folder) / "soup.safetensors"
            write_soup([*(step.path for step in steps if step.kept), path], tried)
            found = score(tried)
            steps.append(Step(path=path, score=found, kept=found >= best))
            best = max(best, found)
    return steps


def score_with(command: str, path: Path) -> float:
    """Run a command with `path` in the place of {}: the last word of its output is the score. BadInput otherwise."""
    words = [word.replace("{}", str(path)) for word in shlex.split(command)]
    if "{}" not in command:
        raise refuse(command, "has no {} where the checkpoint's path goes, as in 'sh score.sh {}'")
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise refuse(words[0], f"cannot be run: {error.strerror}") from error
    try:
        if done.returncode == 0:
            value = float(done.stdout.split()[-1])
            if np.isfinite(value):
                return value
    except (ValueError, IndexError):
        pass
    told = (done.stderr or done.stdout).strip()[-500:] or "nothing"
    message = f"exit code {done.returncode}, said: {told}; expected exit code 0 and the score as the last word"
    raise refuse(shlex.join(words), message)


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
