"""Tables on the terminal, and in files and pipes."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

PLAIN_WIDTH = 200
"""Columns of a table that is printed to a file or a pipe, where nothing says how wide it may be."""


def print_table(table: "RenderableType") -> None:
    """Print a table as wide as the terminal, or as `PLAIN_WIDTH` where there is none."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False, emoji=False).print(table)
