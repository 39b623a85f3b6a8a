"""The manifest of a folder of shards: what it holds, how its images were made, and the hash of every file."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from abaw.data.storage import as_path, file_sizes, reaching
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import get_track

SCHEMA_VERSION = 2
MANIFEST, DROPS, SOURCES, CACHE = "manifest.json", "drops.parquet", "sources.parquet", ".arrow"
MOST_NAMES, MOST_SIZES = 8, 5
"""Names of expressions in a message, and sizes of images in a list."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How the images were made: weights that were trained on them expect the same, so it travels with the weights."""

    crop: str = "as delivered"
    """What was cut out, such as `face of RetainFace, margin 0.2`."""
    alignment: str = "as delivered"
    """How the cut was turned, such as `similarity transform on the eyes`."""
    colours: str = "RGB"
    """Order of the channels after decoding."""
    size: int | None = None
    """Side of the images in pixels; when not given, the usual one of the images that are written."""


AS_DELIVERED = Preprocessing()


@dataclass(frozen=True, kw_only=True)
class ShardFile:
    """One Parquet file."""

    path: str
    """Below the folder of shards."""
    slot: int
    frames: int
    bytes: int
    sha256: str
    first_video: str
    """Rows are sorted by video and frame: the file holds no video before this one,"""
    last_video: str
    """and none after this one."""

    @property
    def copy_name(self) -> str:
        """The Arrow file that its images are copied to, see `abaw.data.jpegs`."""
        return f"{self.sha256[:16]}.arrow"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder of shards holds."""

    schema_version: int = SCHEMA_VERSION
    source: str
    """Where the frames come from, in words."""
    frames: int
    videos: int
    splits: Mapping[str, Mapping[str, int]]
    """For each split: frames, videos, and the frames that are fully annotated for va, expr and au."""
    without_image: int
    """Labelled rows that were left out since they have no image."""
    dropped: int
    """Rows of `drops.parquet`: what the source left out, and images that could not be decoded."""
    image_sizes: Mapping[str, int]
    """Number of images by `<height>x<width>`."""
    track: str
    """The track whose classes `expression` numbers, see `abaw.tracks`."""
    preprocessing: Preprocessing
    slots: int
    files: tuple[ShardFile, ...]


def read_manifest(shards: Path) -> Manifest:
    """The manifest of a folder of shards; BadInput names every file that is missing or has another size."""
    manifest = load_manifest(shards)
    there = file_sizes(as_path(shards))
    problems = [
        Problem(path=str(shards / entry.path), message=f"missing or not of {entry.bytes} bytes; write the shards again")
        for entry in manifest.files
        if there.get(entry.path) != entry.bytes
    ]
    if problems:
        raise BadInput(problems)
    return manifest


def load_manifest(shards: Path) -> Manifest:
    """The manifest of a folder of shards, without a look at its files; BadInput where none is there, or damaged."""
    shards = as_path(shards)
    path = shards / MANIFEST
    with reaching(path):
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            unfinished = "the shards are unfinished; write them again with --resume or --overwrite"
            raise refuse(path, f"no manifest: {unfinished if shards.is_dir() else 'no such folder'}") from error
    try:
        stored = json.loads(content)
        version = stored["schema_version"]
        if version == SCHEMA_VERSION:
            files = tuple(ShardFile(**entry) for entry in stored.pop("files"))
            return Manifest(files=files, preprocessing=Preprocessing(**stored.pop("preprocessing")), **stored)
    except (KeyError, TypeError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise refuse(path, f"is damaged: {why}; write the shards again with --resume") from error
    raise refuse(path, f"schema version {version}; expected {SCHEMA_VERSION}; write them again")


def check_track(manifest: Manifest, track: str) -> None:
    """BadInput when shards number other expressions than those that `track` learns: labels would be read as others.

    Shards of `mtl` serve `expr`, `au` and `va` too: valence, arousal and action units are the same everywhere.
    """
    there, wanted = class_names(manifest.track), class_names(track)
    if there and wanted and there != wanted:
        found = f"the shards number the expressions of {manifest.track} ({_few(there)})"
        message = f"{found}; expected those of {track} ({_few(wanted)}); give shards that have them"
        raise refuse(manifest.source, message)


def class_names(track: str) -> tuple[str, ...]:
    """The names of a track's expressions; none for a track without."""
    return next((task.columns for task in get_track(track).tasks if task.kind == "classes"), ())


def _few(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def usual_size(image_sizes: Mapping[str, int]) -> int:
    """Side of the squares that images come in: the larger side of the most frequent size."""
    usual = max(sorted(image_sizes), key=image_sizes.__getitem__)
    return max(int(side) for side in usual.split("x"))


def few_sizes(image_sizes: Mapping[str, int]) -> dict[str, int]:
    """The most frequent sizes for a person to read; all others are counted together as `other sizes`."""
    usual = dict(Counter(image_sizes).most_common(MOST_SIZES))
    rest = sum(image_sizes.values()) - sum(usual.values())
    return usual | ({"other sizes": rest} if rest else {})


def add_up(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of counts, name by name, sorted by name."""
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))
