"""`abaw prepare SOURCE ...`: each source is one function whose arguments are its options."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markdown import Markdown

from abaw.data.affwild2 import read_affwild2
from abaw.data.shards import write_shards
from abaw.faces.dataset import FacesConfig, write_faces
from abaw.runs import plain
from experiments.ray_session import ray_session


@dataclass(frozen=True, kw_only=True)
class Faces(FacesConfig):
    """The embedded data set: rendered people who act out videos, in the official Aff-Wild2 layout."""

    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(name="out")]
    """Folder to write; must be empty or absent."""
    json: bool = False
    """Print the counts as JSON."""


@dataclass(frozen=True, kw_only=True)
class AffWild2:
    """An official delivery (crops, annotations, lists) to Parquet shards and a coverage report."""

    root: tyro.conf.Positional[Path]
    """Folder that holds cropped_aligned and the annotations."""
    out: tyro.conf.Positional[Path]
    """Folder for the shards; must be empty or absent."""
    slots: int = 10
    """An epoch that takes one frame of this many reads one part."""
    overwrite: bool = False
    """Replace what is in `out`."""
    json: bool = False
    """Print the manifest as JSON."""


def prepare_faces(arguments: Sequence[str]) -> int:
    """`abaw prepare faces OUT ...`."""
    options = tyro.cli(Faces, args=list(arguments), prog="abaw prepare faces", description=Faces.__doc__)
    config = FacesConfig(**{field.name: getattr(options, field.name) for field in dataclasses.fields(FacesConfig)})
    with ray_session():
        summary = write_faces(options.out, config)
    _report(plain(summary), as_json=options.json, folder=options.out)
    return 0


def prepare_affwild2(arguments: Sequence[str]) -> int:
    """`abaw prepare affwild2 ROOT OUT ...`."""
    options = tyro.cli(AffWild2, args=list(arguments), prog="abaw prepare affwild2", description=AffWild2.__doc__)
    delivery = read_affwild2(options.root)
    with ray_session():
        manifest = write_shards(delivery.frames, options.out, slots=options.slots, overwrite=options.overwrite)
    coverage = delivery.coverage_markdown()
    (options.out / "coverage.md").write_text(coverage)
    Console(stderr=True).print(Markdown(coverage))
    _report(plain(manifest), as_json=options.json, folder=options.out)
    return 0


def _report(counts: dict[str, object], *, as_json: bool, folder: Path) -> None:
    if as_json:
        print(json.dumps(counts))
        return
    for name, value in counts.items():
        print(f"{name}: {value}")
    print(f"written to {folder}")


SOURCES: dict[str, Callable[[Sequence[str]], int]] = {"faces": prepare_faces, "affwild2": prepare_affwild2}
