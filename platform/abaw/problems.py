"""What is wrong with an input, where, and what to do: collected first, reported all at once.

A reader collects `Problem`s while it goes on reading and raises one `BadInput` at its end, so that a person mends a
file once and not line by line.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from abaw.masking import without_passwords


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One reason why an input is refused."""

    path: str
    """File or folder at fault, as the user gave it."""
    line: int | None = None
    """Line in the file, from 1, the header included; None when the whole file is at fault."""
    message: str
    """What was found, what was expected, and what to do."""

    def __str__(self) -> str:
        where = self.path if self.line is None else f"{self.path}:{self.line}"
        return without_passwords(f"{where}: {self.message}")


class BadInput(ValueError):
    """An input that cannot be used; `problems` holds every reason."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        assert problems, "BadInput needs at least one problem"
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, problems)))

    def __reduce__(self) -> tuple[type["BadInput"], tuple[tuple[Problem, ...]]]:
        """What pickle keeps: a worker's refusal reaches the user with all its problems."""
        return type(self), (self.problems,)


def refuse(path: object, message: str, *, line: int | None = None) -> BadInput:
    """The error for a single problem: `raise refuse(path, "no such folder; ...")`."""
    return BadInput([Problem(path=str(path), line=line, message=message)])
