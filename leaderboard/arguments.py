"""Types of command-line arguments: numbers and names, and what is said of a text that is none."""

import argparse
from collections.abc import Callable


def whole(least: int) -> Callable[[str], int]:
    """A whole number from `least` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from {least}")
        return int(text)

    return read


def number(expected: str, allowed: Callable[[float], bool]) -> Callable[[str], float]:
    """A finite number that is `allowed`; `expected` says in words which ones are."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not (abs(value) < float("inf") and allowed(value)):
            raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}")
        return value

    return read


def printable(text: str) -> str:
    """A name that can be printed."""
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no name; expected printable text, such as 'MAE base, 5 folds'")
    return text.strip()
