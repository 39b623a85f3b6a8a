"""What `abaw prepare video` and `abaw prepare images --align --deduplicate` do before the shards are written.

Beside OUT/shards they leave the crops, in the official layout, and notes of what is done, by which `--resume` goes on.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from abaw.data.choices import update_choices
from abaw.data.clean_images import NOTES, Cleaning, check_places, clean_images
from abaw.data.cropping import CROPS, Alignment
from abaw.data.detectors.detector import DetectorConfig, find_weights
from abaw.data.frames import Collection
from abaw.data.manifest import Manifest, Preprocessing
from abaw.data.shards import write_shards
from abaw.data.storage import as_path, claim_folder, is_remote
from abaw.data.video import CHOICES_FILE, SHEETS, VIDEOS, VideoConfig, find_videos, prepare_videos
from abaw.problems import BadInput, Problem, refuse
from experiments.ray_session import ray_session

SHARDS = "shards"


@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """Options of sources that cut faces out of pictures."""

    align: bool = False
    """Cut out one face a picture, its eyes on fixed places."""
    detector: Literal["retinaface", "mediapipe"] = "retinaface"
    """retinaface: RetinaFace through uniface, five points. mediapipe: the face landmarker, with brows too."""
    weights: Path | None = None
    """The detector's weights; the default for retinaface is uniface's cache. Nothing is downloaded."""
    weights_sha256: str | None = None
    """Take weights with this sha256 instead of the published ones."""
    size: int = 112
    """Side of a crop in pixels."""
    min_side: int = 32
    """A picture, or the part of it that a crop shows, with fewer pixels on a side is left out as too small."""
    quality: int = 95
    """JPEG quality of what is written, 1 to 100."""

    def alignment(self) -> Alignment | None:
        """What `--align` asks for; BadInput when an option is out of range or unused, or the detector is not there."""
        if not 1 <= self.quality <= 100:
            raise refuse("--quality", f"is {self.quality}; expected 1 to 100")
        if min(self.size, self.min_side) < 1:
            raise refuse("--size", f"is {self.size}, --min-side is {self.min_side}; expected 1 or more")
        if not self.align:
            self.refuse_unused("detector", "weights", "weights_sha256", "size", "choose", without="--align")
            return None
        config = DetectorConfig(backend=self.detector, weights=self.weights, weights_sha256=self.weights_sha256)
        return Alignment(weights=find_weights(config), size=self.size, min_side=self.min_side)

    def refuse_unused(self, *names: str, without: str) -> None:
        """BadInput when one of these options is given, which has no effect without another."""
        given = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        message = f"has no effect without {without}; give that too, or leave this out"
        unused = [Problem(path=f"--{name.replace('_', '-')}", message=message) for name in given if name in names]
        if unused:
            raise BadInput(unused)


@dataclass(frozen=True, kw_only=True)
class CleanOptions(AlignOptions):
    """Options of sources of still images; with `--align` or `--deduplicate`, OUT gets crops/ and shards/."""

    choose: Literal["largest", "left", "right"] = "largest"
    """The face of a picture that is taken."""
    deduplicate: bool = False
    """Leave out exact and near duplicates of earlier pictures."""
    near: int = 3
    """Near duplicates: 64-bit difference hashes that differ in at most so many bits, 0 to 16."""

    def cleaning(self) -> Cleaning | None:
        """What is asked for, or None; BadInput as for `alignment`."""
        alignment = self.alignment()
        if not 0 <= self.near <= 16:
            raise refuse("--near", f"is {self.near}; expected 0 to 16")
        if not self.align:
            self.refuse_unused("quality", without="--align")
        if not self.deduplicate:
            self.refuse_unused("near", without="--deduplicate")
        if not (self.align or self.deduplicate):
            self.refuse_unused("min_side", without="--align or --deduplicate")
            return None
        near = self.near if self.deduplicate else None
        return Cleaning(
            alignment=alignment, choose=self.choose, quality=self.quality, min_side=self.min_side, near=near
        )


@dataclass(frozen=True, kw_only=True)
class Video(AlignOptions):
    """Raw videos to frames, or with --align to face crops, a contact sheet each, and shards."""

    paths: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="ROOT [ROOT ...] OUT")]
    """Videos, or folders with videos at any depth (mp4, avi, mkv, mov, webm); last the folder to write: crops/,
    sheets/, choices.csv and shards/; it must be empty, absent, or hold choices.csv alone."""
    choose: Literal["largest", "left", "right", "nearest"] = "largest"
    """The face that is taken; OUT/choices.csv, which you may edit, rules for the videos that it lists."""
    slots: int = 10
    """An epoch that takes one frame of this many reads one part."""
    resume: bool = False
    """Do what is missing, and the videos whose rows in choices.csv have changed."""
    overwrite: bool = False
    """Do everything again; choices.csv stays."""
    json: bool = False
    """Print the manifest as JSON."""

    @property
    def out(self) -> Path:
        """The folder to write."""
        return as_path(self.paths[-1])


def write_video(options: Video) -> Manifest:
    """Videos to OUT/crops, OUT/sheets and OUT/shards. BadInput before anything is written or removed."""
    if len(options.paths) < 2:
        raise refuse("abaw prepare video", f"{len(options.paths)} path; expected ROOT [ROOT ...] OUT")
    local = "is not a local folder; videos are read from local folders, and crops written to them"
    if remote := [Problem(path=path, message=local) for path in options.paths if is_remote(path)]:
        raise BadInput(remote)
    if not options.align:
        options.refuse_unused("min_side", without="--align")
    config = VideoConfig(alignment=options.alignment(), choose=options.choose, quality=options.quality)
    *roots, _ = options.paths
    videos, drops = find_videos([as_path(root) for root in roots])
    ours = (CROPS, SHEETS, VIDEOS, SHARDS, CHOICES_FILE)
    claim_folder(options.out, ours, go_on=options.resume or options.overwrite, put_there=[CHOICES_FILE])
    choices = update_choices(options.out / CHOICES_FILE, list(videos), options.choose) if options.align else {}
    if options.overwrite:
        _remove(options.out, (CROPS, SHEETS, VIDEOS))
    whole = Preprocessing(crop="whole frames")
    with ray_session():
        found = prepare_videos(videos, options.out, config, choices=choices, drops=drops)
        made = config.alignment.preprocessing if config.alignment else whole
        return _write(found, options.out, options.slots, made, source=f"Video {' '.join(roots)}")


def write_images(
    found: Collection, out: Path, cleaning: Cleaning, *, slots: int, resume: bool, overwrite: bool, source: str
) -> Manifest:
    """Image sets to OUT/shards, and with alignment to OUT/crops. BadInput before anything is written or removed."""
    if is_remote(out):
        raise refuse(out, "is not a local folder; crops are written to local folders")
    claim_folder(out, (CROPS, NOTES, SHARDS), go_on=resume or overwrite)
    check_places(found, out)
    if overwrite:
        _remove(out, (CROPS, NOTES))
    with ray_session():
        kept = clean_images(found, out, cleaning)
        made = cleaning.alignment.preprocessing if cleaning.alignment else Preprocessing()
        return _write(kept, out, slots, made, source=source)


def _write(found: Collection, out: Path, slots: int, preprocessing: Preprocessing, *, source: str) -> Manifest:
    # The crops are what takes long and what is resumed; the shards are made of them anew.
    return write_shards(
        found.frames,
        out / SHARDS,
        slots=slots,
        overwrite=True,
        drops=found.drops,
        track=found.track,
        preprocessing=preprocessing,
        source=source,
    )


def _remove(out: Path, names: Sequence[str]) -> None:
    for name in names:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
