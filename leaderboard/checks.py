"""Checks of the files that a command is given and of those that it is to write, before any work is done."""

from collections.abc import Sequence
from pathlib import Path

from abaw.problems import BadInput, Problem, refuse


def check_free(outputs: Sequence[Path], *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuse outputs that are there, unless they may be overwritten, and those that would replace an input."""
    sources = {path.resolve() for path in inputs}
    for output in outputs:
        if output.resolve() in sources:
            raise refuse(output, "is one of the files that it is made of; name another output")
    taken = [path for path in outputs if path.exists() and not overwrite]
    if taken:
        message = "exists already; name another --out, or replace it with --overwrite"
        raise BadInput([Problem(path=str(path), message=message) for path in taken])


def check_once(given: Sequence[str | Path], what: str) -> None:
    """Refuse what is given more than once; `what` they are in one word."""
    if repeated := sorted({str(one) for one in given if given.count(one) > 1}):
        raise refuse(repeated[0], f"is given more than once; name each {what} once")
