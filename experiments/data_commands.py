"""`abaw data verify | ls | report`: look into shards. Each command is one class whose fields are its options."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from abaw.data.report import write_report
from abaw.data.shard_file import REPORTS
from abaw.data.storage import as_path, is_remote
from abaw.data.verify import verify_shards
from abaw.data.videos import list_videos
from abaw.problems import BadInput, refuse


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Check every file, row and image of shards against their manifest; exits with 1 and says all that is wrong."""

    shards: tyro.conf.Positional[str]
    """Folder or URL of shards."""

    def run(self) -> int:
        """Print the counts, or raise BadInput with every problem."""
        manifest, problems = verify_shards(as_path(self.shards))
        if problems:
            raise BadInput(problems)
        print(f"{self.shards}: {manifest.frames:,} images in {len(manifest.files):,} files are whole")
        return 0


@dataclass(frozen=True, kw_only=True)
class Ls:
    """List the videos of shards: frames, split, labels, sizes."""

    shards: tyro.conf.Positional[str]
    """Folder or URL of shards."""
    json: bool = False
    """Print a list with one object a video."""

    def run(self) -> int:
        """Print a table or JSON."""
        videos = list_videos(as_path(self.shards))
        if self.json:
            print(json.dumps(videos.to_dicts(), indent=1))
            return 0
        table = Table(box=None)
        for name, kind in videos.schema.items():
            table.add_column(name, justify="right" if kind.is_numeric() else "left", overflow="fold")
        for row in videos.iter_rows():
            table.add_row(*(f"{value:,}" if isinstance(value, int) else value or "?" for value in row))
        # A file or a pipe gets whole lines, however long the names are.
        Console(width=None if sys.stdout.isatty() else 1000).print(table)
        if videos["bytes"].has_nulls():
            print(f"bytes and sizes are not known: {self.shards}/{REPORTS} was not copied whole", file=sys.stderr)
        return 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write a report on shards in Markdown and HTML: coverage, labels, missing runs, a sample; with pictures."""

    shards: tyro.conf.Positional[str]
    """Folder or URL of shards."""
    out: tyro.conf.Positional[str]
    """Local folder for the report; files of an earlier report are replaced."""
    json: bool = False
    """Print the paths as JSON."""

    def run(self) -> int:
        """Print where the report is."""
        if is_remote(self.out):
            raise refuse(self.out, "is not a local folder; give one for the report")
        written = [str(path) for path in write_report(as_path(self.shards), as_path(self.out))]
        print(json.dumps(written) if self.json else "\n".join(written))
        return 0


COMMANDS: Mapping[str, type[Any]] = {"verify": Verify, "ls": Ls, "report": Report}
"""Every command by name; its docstring describes it."""


def data(arguments: Sequence[str]) -> int:
    """`abaw data COMMAND ...`; returns the exit code."""
    options = tyro.extras.subcommand_cli_from_dict(dict[str, Any](COMMANDS), args=list(arguments), prog="abaw data")
    code: int = options.run()
    return code
