"""`leaderboard export`: the organisers' files from prediction tables, with no board: one file, a folder, or a zip.

The file has the template's rows, order and line ends. The folder is ABAW3's form: a `<video>.txt` for each video, with
the annotation's header and one prediction a video frame. Frames are counted from 1 to the last one that the template
asks for; where it lists videos alone, to the last predicted one (`leaderboard.video_lists`).
Legend: M rows of the template, D label columns.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from abaw.problems import refuse
from abaw.tracks import Track
from abaw.version import tool_version
from leaderboard.checks import check_free
from leaderboard.images import count_videos, places
from leaderboard.manifest import commit_of, config_hash_of, manifest_path
from leaderboard.means import read_mean
from leaderboard.official import decided_rows, official_bytes
from leaderboard.publishing import Staged
from leaderboard.tables import table_images
from leaderboard.templates import read_template
from leaderboard.video_lists import every_frame, has_form, rows_asked

Form = Literal["file", "abaw3"]
ZIP = ".zip"
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""Date of the files in a zip: the same predictions are the same bytes."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written."""

    out: Path
    manifest: Path
    rows: int
    videos: int
    filled: int
    """Rows without a prediction, filled from their neighbours in time."""
    open_ended: bool
    """The template lists videos, so each ends with its last predicted frame."""


def export(
    files: Sequence[Path],
    track: Track,
    template_path: Path,
    out: Path,
    *,
    form: Form | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write the mean of prediction tables in the organisers' form, as `out` ending in .zip, as a file or as a folder.

    Without `form`, a template that lists videos asks for a folder, and any other for a file.

    BadInput when tables do not go together, when a video has no prediction, or when an output exists.
    """
    template = read_template(template_path, track)
    form = form or ("abaw3" if template.lists_videos else "file")
    if form == "file" and template.lists_videos:
        raise refuse(
            template_path, "lists videos, so the submission is one file a video; leave out --form, or give abaw3"
        )
    if form == "abaw3" and not has_form(track):
        raise refuse(template_path, f"track {track.name} has no form of one file a video; expected expr, au or va")
    manifest = manifest_path(out)
    check_free([out, manifest], overwrite=overwrite, inputs=[*files, template_path])
    mean = read_mean(files, track)
    rows = rows_asked(template, table_images(mean.table, track))
    if form == "abaw3" and not template.lists_videos:
        rows = _without_holes(rows)
    labels_MD, filled = decided_rows(mean.table, rows, track, files[0])
    end = template.line_end
    if form == "abaw3":
        contents = _per_video(rows, [track.tasks[0].format(row_D) for row_D in labels_MD], track, end)
    else:
        contents = {f"{out.stem}.txt": official_bytes(rows, labels_MD, track, end=end)}
    written = {out: _zipped(contents)} if out.suffix == ZIP else {out / name: data for name, data in contents.items()}
    if form == "file" and out.suffix != ZIP:
        written = {out: next(iter(contents.values()))}
    _check_place(out, written)
    content = {
        "schema": 1,
        "track": track.name,
        "form": form,
        "sha256": {path.name: hashlib.sha256(data).hexdigest() for path, data in written.items()},
        "rows": len(rows),
        "videos": count_videos(rows["image"], track),
        "filled_rows": filled,
        "members": list(mean.members),
        "tables": list(mean.tables),
        "recipe": mean.recipe,
        "tuning": mean.tuning,
        "commit": commit_of(files),
        "config_hash": config_hash_of(files),
        "tool_version": tool_version(),
    }
    with Staged({**written, manifest: (json.dumps(content, indent=2) + "\n").encode()}) as staged:
        staged.publish()
    counts = {"rows": len(rows), "videos": count_videos(rows["image"], track), "filled": filled}
    return Exported(out=out, manifest=manifest, open_ended=template.lists_videos, **counts)


def _without_holes(rows: pl.DataFrame) -> pl.DataFrame:
    """Frames 1 to the last one of each video: what the rows ask for, and the frames between."""
    return every_frame(places(rows["image"]).group_by("video", maintain_order=True).agg(last=pl.col("frame").max()))


def _per_video(rows: pl.DataFrame, lines: Sequence[str], track: Track, end: str) -> dict[str, bytes]:
    """The files of ABAW3's form by name."""
    by_video: dict[str, list[str]] = {}
    for video, line in zip(places(rows["image"])["video"], lines, strict=True):
        by_video.setdefault(video, [",".join(track.tasks[0].columns)]).append(line)
    return {f"{video}.txt": (end.join(own) + end).encode() for video, own in by_video.items()}


def _zipped(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(zipfile.ZipInfo(name, ZIP_DATE), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _check_place(out: Path, written: Mapping[Path, bytes]) -> None:
    """A file must not take the place of a folder, nor a folder that of a file, nor keep files of an earlier export."""
    if out in written and out.is_dir():
        raise refuse(out, f"is a folder; name the file, such as {out / 'submission.txt'}")
    if out not in written and out.is_file():
        raise refuse(out, "is a file; one file a video goes into a folder, or into a name that ends in .zip")
    if out.is_dir() and (others := sorted(path for path in out.iterdir() if path not in written)):
        raise refuse(out, f"holds other files ({', '.join(path.name for path in others[:5])}); name an empty folder")
