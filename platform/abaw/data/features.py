"""A feature cache: what a frozen network saw in each frame, with the frames' labels, for temporal heads.

`abaw.training.features` writes it, once. A Parquet file a video, sorted by frame: the frame table with `feature`, a
list of F float16, in place of `image`. Half precision keeps 11 bits, more than the bfloat16 that networks compute in,
and halves what is read: 2.6 million frames of 768 values are 4 GB. `manifest.json` is written last; a folder without it
is unfinished. Each file says in its metadata of what it was made, so an interrupted run goes on after the last one.

Legend: B rows, F values of a feature, N rows of a video.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from abaw.data.batches import Chosen, Source, label_table
from abaw.data.frames import SCHEMA
from abaw.data.jpegs import copies_folder
from abaw.data.manifest import CACHE, MANIFEST
from abaw.data.storage import appearing, as_path, file_sizes, open_parquet, reaching, sha256_of, write_text
from abaw.problems import BadInput, Problem, refuse

SCHEMA_VERSION = 1
OURS = (MANIFEST, CACHE, "videos", "*.partial")
"""What a feature cache may hold: nothing else is ever replaced."""
MADE_OF = b"made_of"
"""Key of a file's metadata: the hash of everything that decides its features."""


@dataclass(frozen=True, kw_only=True)
class FeatureFile:
    """The frames of one video."""

    path: str
    """Below the folder of the cache."""
    video: str
    frames: int
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class FeatureManifest:
    """What a feature cache holds, and of what it was made."""

    schema_version: int = SCHEMA_VERSION
    features: int
    """Values of a frame's feature."""
    system: str
    """Name of the system's config, such as MultiTask."""
    made_of: Mapping[str, Any]
    """The weights' sha256, the system's config, how images were changed, the sha256 of every file of the shards, and
    the splits that were taken."""
    files: tuple[FeatureFile, ...]


def write_feature_file(features_NF: NDArray[np.float32], labels: pl.DataFrame, path: Path, made_of: str) -> None:
    """Write the features of a video, beside its rows of the frame table, to a file that appears whole.

    Raises ValueError when a feature does not fit in float16.
    """
    with np.errstate(over="ignore"):
        half_NF = features_NF.astype(np.float16)
    if not np.isfinite(half_NF).all():
        where = labels["frame"][int(np.isfinite(half_NF).all(axis=1).argmin())]
        largest = f"at most {np.finfo(np.float16).max:g}"
        raise ValueError(
            f"{labels['video'][0]}, frame {where}: a feature is no number or too large; expected {largest}"
        )
    feature = pa.FixedSizeListArray.from_arrays(pa.array(half_NF.reshape(-1)), half_NF.shape[1])
    fields = [pa.field("feature", feature.type) if field.name == "image" else field for field in SCHEMA]
    table = labels.to_arrow().append_column("feature", feature).select([field.name for field in fields])
    with appearing(path) as local:
        pq.write_table(table.cast(pa.schema(fields, metadata={MADE_OF: made_of})), local, compression="zstd")


def is_made_of(path: Path, made_of: str) -> bool:
    """Whether a file is of the features that `made_of` stands for, and whole."""
    try:
        return (open_parquet(path).schema_arrow.metadata or {}).get(MADE_OF) == made_of.encode()
    except pa.ArrowInvalid:
        return False


def feature_width(path: Path) -> int:
    """Values of a feature in a file."""
    width: int = open_parquet(path).schema_arrow.field("feature").type.list_size
    return width


def feature_file(folder: Path, path: str, video: str) -> FeatureFile:
    """What the manifest says of a file below `folder`."""
    whole = folder / path
    frames = open_parquet(whole).metadata.num_rows
    return FeatureFile(path=path, video=video, frames=frames, bytes=whole.stat().st_size, sha256=sha256_of(whole))


def write_feature_manifest(folder: Path, manifest: FeatureManifest) -> None:
    """Finish a feature cache."""
    write_text(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")


def read_feature_manifest(folder: Path) -> FeatureManifest:
    """The manifest of a feature cache; BadInput names every file that is missing or has another size."""
    folder = as_path(folder)
    path = folder / MANIFEST
    with reaching(path):
        if not path.is_file():
            raise refuse(path, "no manifest: this is no feature cache, or an unfinished one; write it again")
        content = path.read_bytes()
    try:
        stored = json.loads(content)
        known = "features" in stored and stored["schema_version"] == SCHEMA_VERSION
        files = tuple(FeatureFile(**entry) for entry in stored.pop("files")) if known else ()
    except (KeyError, TypeError, ValueError) as error:
        raise refuse(path, f"is damaged: {type(error).__name__}: {error}; write the cache again") from error
    if not known:
        raise refuse(path, f"is not of a feature cache of schema version {SCHEMA_VERSION}; write the cache again")
    there = file_sizes(folder)
    problems = [
        Problem(path=str(folder / file.path), message=f"missing or not of {file.bytes} bytes; write the cache again")
        for file in files
        if there.get(file.path) != file.bytes
    ]
    if problems:
        raise BadInput(problems)
    return FeatureManifest(files=files, **stored)


class FeatureSource(Source):
    """Features of frames by row number, as `FrameSource` gives images."""

    def __init__(self, folder: Path, **chosen: Unpack[Chosen]) -> None:
        """Open the chosen frames of a feature cache. Raises BadInput when `folder` is none, and as `Source` does."""
        manifest = read_feature_manifest(folder)
        self._folder, self._files = folder, manifest.files
        self._open: dict[int, NDArray[np.float16]] = {}
        self.features = manifest.features
        super().__init__(label_table(folder, [file.path for file in manifest.files]), folder=folder, **chosen)

    def inputs(self, places_B2: NDArray[np.int64]) -> dict[str, Tensor]:
        """`feature` float32 (B, F)."""
        feature_BF = np.empty((len(places_B2), self.features), np.float32)
        for k, (file, row) in enumerate(places_B2):
            feature_BF[k] = self._mapped(file)[row]
        return {"feature": torch.from_numpy(feature_BF)}

    def _mapped(self, number: int) -> NDArray[np.float16]:
        """The features (N, F) of a file, mapped from a copy on disk: memory does not grow with the data."""
        if number not in self._open:
            file = self._files[number]
            path = copies_folder(self._folder) / f"{file.sha256[:16]}.npy"
            if not path.is_file():
                stored = open_parquet(self._folder / file.path).read(columns=["feature"])["feature"].combine_chunks()
                with appearing(path) as local, local.open("wb") as copy:
                    np.save(copy, stored.flatten().to_numpy().reshape(file.frames, self.features))
            self._open[number] = np.load(path, mmap_mode="r")
        return self._open[number]
