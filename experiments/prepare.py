"""`abaw prepare SOURCE ...`: a source is a class whose fields are its options and whose `read` gives its frames."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import tyro
from rich.console import Console
from rich.markdown import Markdown

from abaw.data.affectnet import read_affectnet
from abaw.data.affwild2 import Delivery, read_affwild2
from abaw.data.cexpr import read_cexpr
from abaw.data.clean_images import Cleaning
from abaw.data.emo135 import read_emo135
from abaw.data.frames import Collection
from abaw.data.images import read_images
from abaw.data.lsd import read_lsd
from abaw.data.manifest import DROPS, Manifest, few_sizes
from abaw.data.shards import check_options, write_shards
from abaw.data.storage import as_path, reaching, write_text
from abaw.faces.dataset import FacesConfig, write_faces
from abaw.problems import refuse
from abaw.runs import plain
from experiments.prepare_video import SHARDS, CleanOptions, Video, write_images, write_video
from experiments.ray_session import ray_session

WITH_DROPS = 3
"""Exit code of a run that ended, and left something out that the drop table names."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the shards go."""

    out: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OUT")]
    """Folder or URL (s3://...) for the shards; must be empty or absent."""
    slots: int = 10
    """An epoch that takes one frame of this many reads one part."""
    overwrite: bool = False
    """Replace what is in `out`."""
    resume: bool = False
    """Finish what an interrupted run left in `out`."""
    json: bool = False
    """Print the manifest as JSON."""


class Source(Protocol):
    """What every source of images has."""

    root: str
    output: Output

    def read(self) -> Collection:
        """The frames; no image is opened."""
        ...


Shards = tyro.conf.OmitArgPrefixes[Output]
Root = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="ROOT")]


@dataclass(frozen=True, kw_only=True)
class Faces(FacesConfig):
    """The embedded data set: rendered people who act out videos, in the official Aff-Wild2 layout."""

    out: Annotated[tyro.conf.Positional[str], tyro.conf.arg(name="out")]
    """Folder to write; must be empty or absent."""
    json: bool = False
    """Print the counts as JSON."""


@dataclass(frozen=True, kw_only=True)
class AffWild2:
    """Aff-Wild2 of any challenge: crops, annotation folders and multi-task lists; with a coverage report."""

    root: Root
    """Folder that holds the crops and the annotations."""
    output: Shards
    images: tuple[str, ...] = ()
    """Folders of crops, where they are not cropped_aligned, cropped_aligned_new_50_vids or images in the root."""
    annotations: str | None = None
    """Folder that holds the challenge folders, where it is not the root or at most two folders down."""
    template: str | None = None
    """A template of a submission that is not in test_templates below the root; its videos are the split test."""

    def read(self) -> Collection:
        """The delivery."""
        return read_affwild2(
            as_path(self.root),
            images=[*map(as_path, self.images)],
            annotations=as_path(self.annotations) if self.annotations else None,
            template=as_path(self.template) if self.template else None,
        )


@dataclass(frozen=True, kw_only=True)
class Lsd:
    """LSD, the synthetic faces of ABAW4: train, val and test with class folders."""

    root: Root
    """Folder that holds the splits."""
    output: Shards

    def read(self) -> Collection:
        """The delivery."""
        return read_lsd(as_path(self.root))


@dataclass(frozen=True, kw_only=True)
class CExpr:
    """C-EXPR-DB, compound expressions: folders of crops, with or without label files."""

    root: Root
    """Folder that holds the folders of crops."""
    output: Shards

    def read(self) -> Collection:
        """The delivery."""
        return read_cexpr(as_path(self.root))


@dataclass(frozen=True, kw_only=True)
class AffectNet:
    """AffectNet as CSV tables and images, or as train_set and val_set with .npy annotations."""

    root: Root
    """Folder that holds training.csv and validation.csv, or train_set and val_set."""
    output: Shards
    classes: Literal[7, 8] = 8
    """With 7, images of contempt are left out."""

    def read(self) -> Collection:
        """The delivery."""
        return read_affectnet(as_path(self.root), classes=self.classes)


@dataclass(frozen=True, kw_only=True)
class Emo135:
    """Emo135, 135 emotions: lists `path class`, or class folders."""

    root: Root
    """Folder that holds the lists or the splits; or one list."""
    output: Shards

    def read(self) -> Collection:
        """The delivery."""
        return read_emo135(as_path(self.root))


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images without labels for pre-training, such as CelebA, CASIA-WebFace or IMDB-WIKI: any folder or list."""

    root: Root
    """Folder with JPEGs at any depth, or a text file with a path a line."""
    output: Shards
    clean: tyro.conf.OmitArgPrefixes[CleanOptions] = CleanOptions()

    def read(self) -> Collection:
        """The images."""
        return read_images(as_path(self.root))


SOURCES: dict[str, type[Any]] = {
    "faces": Faces,
    "affwild2": AffWild2,
    "lsd": Lsd,
    "cexpr": CExpr,
    "affectnet": AffectNet,
    "emo135": Emo135,
    "images": Images,
    "video": Video,
}
"""Every source by name; the first line of its docstring describes it."""


def prepare(source: str | None, arguments: Sequence[str]) -> int:
    """`abaw prepare SOURCE ...`; without a source, or with an unknown one, says which there are."""
    if source not in SOURCES:
        asked = source is None and {"-h", "--help"} & set(arguments)
        if not asked:
            print(
                f"abaw prepare: unknown source {source!r}; choose one of:"
                if source
                else "abaw prepare: name a source:",
                file=sys.stderr,
            )
        print(_listing(), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    kind = SOURCES[source]
    options = tyro.cli(kind, args=list(arguments), prog=f"abaw prepare {source}", description=kind.__doc__)
    if isinstance(options, Faces):
        return _write_faces(options)
    output = options if isinstance(options, Video) else options.output
    check_options(slots=output.slots, overwrite=output.overwrite, resume=output.resume)
    if isinstance(options, Video):
        return _tell(write_video(options), options.out / SHARDS, as_json=options.json)
    cleaning = options.clean.cleaning() if isinstance(options, Images) else None
    return _write_shards(options) if cleaning is None else _write_cleaned(options, cleaning)


def _listing() -> str:
    lines = [f"  {name:<12}{(kind.__doc__ or '').splitlines()[0]}" for name, kind in SOURCES.items()]
    usage = "usage: abaw prepare SOURCE [OPTIONS]; `abaw prepare SOURCE --help` lists the options"
    codes = f"exit codes: 0 done, 1 refused, 2 usage, {WITH_DROPS} done, and something was left out: see {DROPS}"
    return "\n".join([usage, "", "sources:", *lines, "", codes])


def _write_faces(options: Faces) -> int:
    config = FacesConfig(**{field.name: getattr(options, field.name) for field in dataclasses.fields(FacesConfig)})
    with ray_session():
        summary = write_faces(as_path(options.out), config)
    _report(plain(summary), as_json=options.json, folder=options.out)
    return 0


def _read(source: Source) -> Collection:
    try:
        with reaching(source.root):
            return source.read()
    except OSError as error:
        raise refuse(error.filename or source.root, f"cannot be read: {error.strerror or error}") from error


def _write_shards(source: Source) -> int:
    to = source.output
    out, found = as_path(to.out), _read(source)
    with ray_session():
        manifest = write_shards(
            found.frames,
            out,
            slots=to.slots,
            overwrite=to.overwrite,
            resume=to.resume,
            drops=found.drops,
            track=found.track,
            source=_named(source),
        )
    if isinstance(found, Delivery):
        coverage = found.coverage_markdown()
        write_text(out / "coverage.md", coverage)
        Console(stderr=True).print(Markdown(coverage))
    return _tell(manifest, out, as_json=to.json)


def _write_cleaned(source: Source, cleaning: Cleaning) -> int:
    to, out, found = source.output, as_path(source.output.out), _read(source)
    manifest = write_images(
        found, out, cleaning, slots=to.slots, resume=to.resume, overwrite=to.overwrite, source=_named(source)
    )
    return _tell(manifest, out / SHARDS, as_json=to.json)


def _named(source: Source) -> str:
    """What the manifest says of the source."""
    return f"{type(source).__name__} {source.root}"


def _tell(manifest: Manifest, shards: Path, *, as_json: bool) -> int:
    """Print what was written; returns the exit code."""
    _report(plain(manifest) if as_json else _counts(manifest), as_json=as_json, folder=str(shards))
    if not manifest.dropped:
        return 0
    print(f"{manifest.dropped:,} images, files or labels were left out: see {shards / DROPS}", file=sys.stderr)
    return WITH_DROPS


def _counts(manifest: Manifest) -> dict[str, object]:
    """What a manifest holds, for a person: the files are counted, and rare image sizes too."""
    return {**plain(manifest), "files": len(manifest.files), "image_sizes": few_sizes(manifest.image_sizes)}


def _report(counts: dict[str, object], *, as_json: bool, folder: str) -> None:
    if as_json:
        print(json.dumps(counts))
        return
    for name, value in counts.items():
        print(f"{name}: {_line(value)}")
    print(f"written to {folder}")


def _line(value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(
        f"{name} ({_line(item)})" if isinstance(item, dict) else f"{name} {item}" for name, item in value.items()
    )
