"""Cleaning of image sets: pictures that cannot be used and duplicates left out, faces cut out where asked for.

The pictures go in groups, one Ray task each. A group leaves a note, named by the hash of its rows, which says what it
was made from: a run that resumes repeats the groups that have no note, or other options or files. Crops are
OUT/crops/<video>/%05d.jpg.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import simplejpeg
from numpy.typing import NDArray

from abaw.data.clean import Reason, difference_hash, duplicate_drops
from abaw.data.cropping import CROPS, Alignment, Cropper, open_cropper
from abaw.data.frames import ORIGINAL, Collection, drop_table
from abaw.data.shard_file import check_jpeg
from abaw.data.storage import is_remote, read_files
from abaw.data.tasks import run_tasks
from abaw.problems import BadInput, Problem, refuse
from abaw.runs import key_of, plain, write_json

GROUP = 256
"""Pictures of a task."""
NOTES = "notes"
Row = tuple[str, int, str]
"""video, frame, path"""


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """What is left out of an image set, and what is cut out of its pictures."""

    alignment: Alignment | None = None
    """How a face is cut out; the pictures stay as delivered without it."""
    choose: str = "largest"
    """The face of a picture that is taken: largest, left or right."""
    quality: int = 95
    """JPEG quality of the crops, 1 to 100."""
    min_side: int = 32
    """A picture with fewer pixels on a side is too small."""
    near: int | None = None
    """Leave out exact duplicates, and pictures whose 64-bit difference hash is at most so many bits from another's."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What became of a picture."""

    path: str
    image: str
    """The file to use: the crop, or the picture itself."""
    reason: str
    """Why it is left out; empty where it is kept."""
    digest: str
    """Hash of the bytes."""
    hash: int
    """Difference hash of the pixels."""


def clean_images(found: Collection, out: Path, cleaning: Cleaning) -> Collection:
    """The pictures that are kept, and the drops, on the Ray that is connected; of duplicates the first is kept.

    Duplicates are looked for among pictures with no other reason to be left out. BadInput as for `check_places`, and
    when nothing is left.
    """
    check_places(found, out)
    present = found.frames.filter(pl.col("path").is_not_null())
    rows = present.select("video", "frame", "path").rows()
    groups = [rows[start : start + GROUP] for start in range(0, len(rows), GROUP)]
    # The crops of a group that is no more may be overwritten: its note does not hold any longer.
    _remove_others(out.absolute() / NOTES, "*.json", {str(_note(group, out.absolute())) for group in groups})
    notes = run_tasks(check_group, [(group, out.absolute(), cleaning) for group in groups], title="pictures")
    checked = [Checked(**row) for note in notes for row in json.loads(Path(note).read_text())["pictures"]]
    drops = [(row.path, row.reason) for row in checked if row.reason]
    if cleaning.near is not None:
        kept = ((row.path, row.digest, row.hash) for row in checked if not row.reason)
        drops += duplicate_drops(kept, distance=cleaning.near)
    left_out = drop_table(drops)
    images = pl.DataFrame(
        [(row.path, row.image) for row in checked], schema={"path": pl.String, "image": pl.String}, orient="row"
    )
    frames = found.frames.join(left_out, on="path", how="anti")
    frames = frames.join(images, on="path", how="left", maintain_order="left")
    if frames["path"].is_null().all():
        path, reason = left_out.row(0)
        raise refuse(path, f"{reason}; none of the {len(rows)} pictures is left")
    # Others are of duplicates, of earlier options or of pictures that are no more.
    _remove_others(out.absolute() / CROPS, "*.jpg", set(frames["image"]))
    original = {ORIGINAL: pl.col("path")} if cleaning.alignment else {}
    return Collection(
        frames=frames.with_columns(path="image", **original).drop("image"),
        drops=pl.concat([found.drops, left_out]).sort("path", "reason"),
        track=found.track,
    )


def check_places(found: Collection, out: Path) -> None:
    """BadInput when a crop would lie outside the folder of crops, or overwrite a picture that lies in it."""
    videos = found.frames["video"].unique().sort()
    outside = [video for video in videos if Path(video).is_absolute() or ".." in Path(video).parts]
    problems = [Problem(path=video, message="names no folder below that of the crops; rename it") for video in outside]
    crops = (out / CROPS).resolve()
    folders = found.frames["path"].drop_nulls().str.extract("^(.*)/").drop_nulls().unique().sort()
    local = [folder for folder in folders if not is_remote(folder)]
    inside = [folder for folder in local if Path(folder).resolve().is_relative_to(crops)]
    message = f"lies in {crops}, where its crops would overwrite it; give another folder to write"
    problems += [Problem(path=folder, message=message) for folder in inside]
    if problems:
        raise BadInput(problems)


def check_group(rows: Sequence[Row], out: Path, cleaning: Cleaning) -> str:
    """Check the pictures of a group and write their crops, unless that is done (a Ray task); the path of its note."""
    note, made = _note(rows, out), _made_from(rows, cleaning)
    if not _is_done(note, made):
        note.unlink(missing_ok=True)
        with open_cropper(cleaning.alignment) as cropper:
            pictures = [plain(checked) for checked in _check(rows, out, cleaning, cropper)]
        write_json(note, {"made": made, "pictures": pictures})
    return str(note)


def _note(rows: Sequence[Row], out: Path) -> Path:
    return out / NOTES / f"{key_of(list(rows))}.json"


def _is_done(note: Path, made: Any) -> bool:
    """Whether the note is there, made from the same, and so are the crops that it names."""
    if not note.is_file():
        return False
    stored = json.loads(note.read_text())
    crops = (row["image"] for row in stored["pictures"] if row["image"] != row["path"])
    return bool(stored["made"] == made) and all(map(os.path.isfile, crops))


def _made_from(rows: Sequence[Row], cleaning: Cleaning) -> list[Any]:
    """All that the pictures of a group depend on: the options, and size and time of each file that lies here."""
    return [plain(cleaning), [_status(path) for _, _, path in rows]]


def _status(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _check(rows: Sequence[Row], out: Path, cleaning: Cleaning, cropper: Cropper | None) -> Iterator[Checked]:
    for (video, frame, path), content in zip(rows, read_files([path for _, _, path in rows]), strict=True):
        pixels_HWC, reason = _decode(content, cleaning.min_side)
        image = path
        if pixels_HWC is not None and cropper is not None:
            cropped = cropper.crop(pixels_HWC, cleaning.choose)
            reason = cropped.reason
            if cropped.crop_SSC is not None:
                target = out / CROPS / video / f"{frame:05d}.jpg"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(simplejpeg.encode_jpeg(cropped.crop_SSC, quality=cleaning.quality))
                image = str(target)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest() if isinstance(content, bytes) else ""
        bits = difference_hash(pixels_HWC) if pixels_HWC is not None else 0
        yield Checked(path=path, image=image, reason=reason, digest=digest, hash=bits)


def _remove_others(folder: Path, pattern: str, kept: Set[str]) -> None:
    """Remove the files of a folder of ours that are none of `kept`."""
    for path in folder.rglob(pattern):
        if str(path) not in kept:
            path.unlink()


def _decode(content: bytes | OSError, min_side: int) -> tuple[NDArray[np.uint8] | None, str]:
    """The pixels, or the reason why there are none."""
    _, wrong = check_jpeg(content)
    if wrong or isinstance(content, OSError):
        return None, wrong
    pixels_HWC: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, colorspace="RGB")
    height, width = pixels_HWC.shape[:2]
    if min(height, width) < min_side:
        return None, Reason.TOO_SMALL.because(f"{width} x {height} pixels; expected {min_side} on a side")
    return pixels_HWC, ""
