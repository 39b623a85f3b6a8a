"""Raw videos to frames: OUT/crops/<video>/%05d.jpg as in the official delivery, a contact sheet each, and their rows.

Each video is one Ray task. It leaves OUT/videos/<video>.json last: the frames and drops of the video, and what they
were made from. A run that resumes repeats the videos that have no such note, or whose note says something else, such as
another row of choices.csv.
"""

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import simplejpeg
from numpy.typing import NDArray

from abaw.data.choices import Stretch, choice_at
from abaw.data.clean import Reason
from abaw.data.contact_sheet import ContactSheet
from abaw.data.cropping import CROPS, Alignment, Cropped, Cropper, open_cropper
from abaw.data.detectors.weights import need_extra
from abaw.data.files import Drops, list_files
from abaw.data.frames import Collection, drop_table, frame_table
from abaw.data.storage import shown
from abaw.data.tasks import run_tasks
from abaw.data.video_frames import NoVideo, VideoCut, read_frames
from abaw.problems import BadInput, Problem, refuse
from abaw.runs import plain, write_json

SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm")
SHEETS, VIDEOS, CHOICES_FILE = "sheets", "videos", "choices.csv"


@dataclass(frozen=True, kw_only=True)
class VideoConfig:
    """What is made of videos."""

    alignment: Alignment | None = None
    """How a face is cut out; whole frames without it."""
    choose: str = "largest"
    """The face that is taken where choices.csv says nothing else."""
    quality: int = 95
    """JPEG quality, 1 to 100."""


def find_videos(roots: Sequence[Path]) -> tuple[dict[str, Path], Drops]:
    """The videos among files and below folders, by name (the file's, without its ending), and what is left out.

    BadInput when PyAV is not there; it names roots that are not there or are no videos, and names that two videos have.
    """
    need_extra("av", "video")
    paths: list[Path] = []
    drops: Drops = []
    problems: list[Problem] = []
    for root in roots:
        if root.is_dir():
            files, left_out = list_files(root)
            is_video = pl.any_horizontal(pl.col("name").str.to_lowercase().str.ends_with(end) for end in SUFFIXES)
            paths += [Path(path) for path in files.filter(is_video)["path"]]
            no_video = Reason.NO_VIDEO.because(f"expected {', '.join(SUFFIXES)}")
            drops += left_out + [(path, no_video) for path in files.filter(~is_video)["path"]]
        elif root.is_file() and root.suffix.lower() in SUFFIXES:
            paths.append(root.absolute())
        else:
            what = "not a video" if root.is_file() else "no such file or folder"
            problems.append(Problem(path=str(root), message=f"{what}; expected {', '.join(SUFFIXES)}"))
    videos: dict[str, Path] = {}
    for path in dict.fromkeys(paths):
        first = videos.setdefault(path.stem, path)
        if first != path:
            message = f"video {path.stem} is {first} too; rename one, or prepare them into two folders"
            problems.append(Problem(path=str(path), message=message))
    if not videos and not problems:
        problems = [Problem(path=str(roots[0]), message=f"holds no video; expected {', '.join(SUFFIXES)}")]
    if problems:
        raise BadInput(problems)
    return dict(sorted(videos.items())), drops


def prepare_videos(
    videos: Mapping[str, Path],
    out: Path,
    config: VideoConfig,
    *,
    choices: Mapping[str, Sequence[Stretch]],
    drops: Drops,
) -> Collection:
    """Decode the videos on the Ray that is connected, each that has no note yet; their frames and drops.

    Args:
        videos: file of each video, by name.
        out: local folder that all workers see.
        config: what is made of them.
        choices: rows of choices.csv by video.
        drops: what was left out before, listed with the rest.

    BadInput when no video gives a frame.
    """
    jobs = [
        (path, out.absolute(), config, choices.get(video, ()))
        for video, path in videos.items()
        if _read_note(out, path, config, choices.get(video, ())) is None
    ]
    for partial in (out / CROPS).glob(".*.partial"):
        shutil.rmtree(partial, ignore_errors=True)
    run_tasks(prepare_video, jobs, title="videos")
    rows: list[tuple[str, int, str]] = []
    drops = list(drops)
    for video, path in videos.items():
        note = _read_note(out, path, config, choices.get(video, ()))
        assert note is not None, f"{video} was prepared"
        folder = out.absolute() / CROPS / video
        rows += [(video, frame, str(folder / f"{frame:05d}.jpg")) for frame in note["frames"]]
        drops += [(place, reason) for place, reason in note["drops"]]
    table = drop_table(drops)
    if not rows:
        path_, reason = table.row(0)
        raise refuse(path_, f"{reason}; none of the {len(videos)} videos gives a frame")
    schema = {"video": pl.String, "frame": pl.Int32, "path": pl.String}
    frames = pl.DataFrame(rows, schema=schema, orient="row").with_columns(split=pl.lit("unlabelled"))
    return Collection(frames=frame_table(frames), drops=table, track="mtl")


def prepare_video(path: Path, out: Path, config: VideoConfig, stretches: Sequence[Stretch]) -> None:
    """Write the frames, the contact sheet and the note of one video (a Ray task)."""
    video, name = path.stem, shown(str(path))
    _note(out, path).unlink(missing_ok=True)
    # A task of a run that was killed may still be at work: each has a folder of its own.
    partial = out / CROPS / f".{uuid.uuid4().hex}.partial"
    partial.mkdir(parents=True)
    sheet, kept, drops = ContactSheet(), [], []
    try:
        with open_cropper(config.alignment) as cropper:
            for frame, pixels_HWC, image_HWC, text, cropped in _frames(path, config, stretches, cropper):
                sheet.add(frame, pixels_HWC, text, cropped)
                if image_HWC is None:
                    drops.append((f"{name}:{frame}", text))
                    continue
                jpeg = simplejpeg.encode_jpeg(image_HWC, quality=config.quality)
                (partial / f"{frame:05d}.jpg").write_bytes(jpeg)
                kept.append(frame)
    except NoVideo as error:
        drops.append((name, Reason.CORRUPT.because(str(error))))
    except VideoCut as error:
        drops.append((name, Reason.CUT.because(str(error))))
    target = out / CROPS / video
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
    sheet.write(out / SHEETS / f"{video}.jpg")
    write_json(_note(out, path), {"made": _made_from(path, config, stretches), "frames": kept, "drops": drops})


def _frames(
    path: Path, config: VideoConfig, stretches: Sequence[Stretch], cropper: Cropper | None
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.uint8] | None, str, Cropped | None]]:
    """Frame, its pixels, the image to keep or None, the reason why not (or the rule that chose), and the faces."""
    for frame, pixels_HWC, damaged in read_frames(path):
        if damaged:
            yield frame, pixels_HWC, None, Reason.CORRUPT.because("damaged frame"), None
        elif cropper is None:
            yield frame, pixels_HWC, pixels_HWC, "", None
        else:
            choice = choice_at(stretches, frame, config.choose)
            cropped = cropper.crop(pixels_HWC, choice)
            yield frame, pixels_HWC, cropped.crop_SSC, cropped.reason or choice, cropped


def _note(out: Path, path: Path) -> Path:
    return out / VIDEOS / f"{path.stem}.json"


def _read_note(out: Path, path: Path, config: VideoConfig, stretches: Sequence[Stretch]) -> dict[str, Any] | None:
    """The note of a video that is done and whose frames are there, or None where it must be made (again)."""
    note = _note(out, path)
    if not note.is_file() or not (out / CROPS / path.stem).is_dir():
        return None
    stored: dict[str, Any] = json.loads(note.read_text())
    return stored if stored["made"] == _made_from(path, config, stretches) else None


def _made_from(path: Path, config: VideoConfig, stretches: Sequence[Stretch]) -> dict[str, Any]:
    """All that the frames of a video depend on: its bytes (by size and time), the options and the choices."""
    try:
        status = path.stat()
        source = {"path": shown(str(path)), "bytes": status.st_size, "changed": status.st_mtime}
    except OSError as error:
        source = {"path": shown(str(path)), "missing": error.strerror}
    if not any(stretch.first == 1 and stretch.last is None for stretch in stretches):
        stretches = [Stretch(first=1, last=None, choose=config.choose), *stretches]
    alignment = plain(config.alignment)
    return {"source": source, "quality": config.quality, "alignment": alignment, "choices": plain(list(stretches))}
