"""ABAW3's templates: lists of video names, one a line, for which a submission is one `<video>.txt` a video.

Such a list does not say how many frames a video has. Where the truth is at hand, its last labelled frame does: a file
that ends well before it is refused, and predictions are written up to it. Without truth the files of a submission are
taken to have a line for every frame; and of predictions, the frames from 1 to the last predicted one of each video are
written. Where no face is found at the end of a video these are too few: a template that names the last frame of each
video (`video/00123.jpg`) says how far `leaderboard export --form abaw3` has to go.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from abaw.tracks import Track
from leaderboard.images import last_frames, looks_like_a_row, places
from leaderboard.reasons import Reasons
from leaderboard.submissions import LINE
from leaderboard.zips import holds_videos

if TYPE_CHECKING:
    from leaderboard.templates import Template
    from leaderboard.truth import Truth

VIDEO = "video"
LINES_BEYOND = 5
"""Lines of an annotation file for which the video may have no frame."""
NO_LENGTHS = "lists videos alone: how many lines each must have could not be checked"
NAME = r"^[^/\\.,;\t]+$"


def has_form(track: Track) -> bool:
    """Whether the track ever had submissions of one file a video: expr, au and va."""
    return len(track.tasks) == 1 and bool(track.folders)


def names_videos(lines: Iterable[str]) -> bool:
    """Whether lines are meant as names of videos: no line holds an image or a second field."""
    names = (line.strip().rstrip(",") for line in lines if line.strip())
    found = False
    for name in names:
        if "," in name or looks_like_a_row(name):
            return False
        found = True
    return found


def read_list(lines: pl.Series, path: Path, track: Track) -> pl.DataFrame:
    """The videos that are asked for: `line` (from 1) and `video`. BadInput with every line that is no video's name.

    A name may end in a comma or in `.txt`; blank lines and a header `image_location` count for nothing.
    """
    reasons = Reasons()
    if not has_form(track):
        message = f"lists names of videos; the template of track {track.name} lists images, one a line"
        reasons.add("unreadable file", path, message)
    video = lines.str.strip_chars().str.strip_chars_end(",").str.strip_chars().str.strip_suffix(".txt")
    rows = pl.DataFrame({VIDEO: video}).with_row_index(LINE, offset=1).cast({LINE: pl.Int64})
    rows = rows.filter((video != "") & (video != track.submission_header[0]))
    for line, name in rows.filter(~pl.col(VIDEO).str.contains(NAME)).iter_rows():
        message = f"{name[:200]!r}; expected the name of a video, such as video1 or 10-60-1280x720"
        reasons.add("bad image name", path, message, line=line)
    for line, name in rows.filter(~rows[VIDEO].is_first_distinct()).iter_rows():
        reasons.add("repeated row", path, f"{name} came before; a template lists a video once", line=line)
    if rows.is_empty():
        reasons.add("unreadable file", path, f"the template lists nothing; expected the template of track {track.name}")
    reasons.raise_any()
    return rows


def compare_videos(rows: pl.DataFrame, path: Path, template: "Template", reasons: Reasons) -> None:
    """Add a reason for every video of the list that is missing, and for every other one that is there."""
    if not holds_videos(path):
        message = f"one file of all videos; {template.path} lists videos, so expected a folder or zip of <video>.txt"
        reasons.add("unreadable file", path, f"{message}, as `leaderboard export --form abaw3` writes it")
        return
    there = places(rows["image"])[VIDEO].unique().sort()
    asked = template.asked
    for line, video in asked.filter(~asked[VIDEO].is_in(there.to_list())).iter_rows():
        message = f"video {video} is missing whole; {template.path}:{line} asks for {video}.txt"
        reasons.add("missing video", path, message)
    for video in there.filter(~there.is_in(asked[VIDEO].to_list())):
        message = f"video {video} is not in the list {template.path}; remove the file"
        reasons.add("extra video", path / f"{video}.txt", message)


def check_lengths(rows: pl.DataFrame, path: Path, truth: "Truth", reasons: Reasons) -> None:
    """Add a reason for every file of a video that ends before the last frame of it that has a label.

    Annotation files may go on for some lines after the video: so few do not count, and are told with the score.
    """
    ends = last_frames(truth.labelled).join(last_frames(rows["image"]), on=VIDEO, suffix="_found").sort(VIDEO)
    allowed = LINES_BEYOND if truth.by_line else 0
    for video, last, found in ends.filter(pl.col("last_found") + allowed < pl.col("last")).iter_rows():
        message = f"{found:,} lines after the header, needed are {last:,}"
        reasons.add(
            "missing row", path / f"{video}.txt", f"{message}: {truth.path} has labels of the video up to there"
        )


def every_frame(ends: pl.DataFrame) -> pl.DataFrame:
    """`image` of each frame from 1 to `last` of each `video`, in the order of the videos."""
    counted = ends.select(VIDEO, "last").iter_rows()
    image = [f"{video}/{frame:05d}.jpg" for video, last in counted for frame in range(1, last + 1)]
    return pl.DataFrame({"image": pl.Series(image, dtype=pl.String)})


def rows_asked(template: "Template", predicted: pl.Series, truth: "Truth | None" = None) -> pl.DataFrame:
    """The rows that a template asks for, by `image`: its own, or of a list of videos each frame up to the last known.

    That is the last one that is predicted or has a label; of a video without any, frame 1 is asked for.
    """
    if not template.lists_videos:
        return template.rows
    known = predicted if truth is None else pl.concat([predicted, truth.labelled])
    ends = template.asked.join(last_frames(known), on=VIDEO, how="left", maintain_order="left")
    return every_frame(ends.with_columns(pl.col("last").fill_null(1)))
