"""The organisers' template, the list of rows that a submission must have, and the comparison of a submission with it.

Only the first field of a template's row counts: the others may be empty (a bare comma) or dummies. ABAW3's templates
list videos instead of rows (`leaderboard.video_lists`).
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from abaw.problems import refuse
from abaw.tracks import Track
from leaderboard.images import count_videos, looks_like_a_row, name_pattern, name_text, of_stills, places
from leaderboard.reasons import SHOWN, Reasons
from leaderboard.separators import separated_name
from leaderboard.submissions import LINE, read_submission
from leaderboard.video_lists import VIDEO, compare_videos, names_videos, read_list
from leaderboard.zips import holds_videos


@dataclass(frozen=True, kw_only=True)
class Template:
    """What the organisers ask for, in their order."""

    path: Path
    track: Track
    asked: pl.DataFrame
    """`line` (in the file, from 1) and `image` of each row, or `line` and `video` where it lists videos."""
    line_end: str
    """How it ends its lines: CRLF, or LF."""

    @property
    def lists_videos(self) -> bool:
        """Whether it lists videos, whose rows nothing tells."""
        return VIDEO in self.asked.columns

    @property
    def rows(self) -> pl.DataFrame:
        """`line` and `image` of each row. BadInput where it lists videos."""
        if self.lists_videos:
            message = "lists names of videos, so that their frames are not known; expected a template of rows"
            raise refuse(self.path, f"{message}, {name_text(self.track)}")
        return self.asked


def read_template(path: Path, track: Track) -> Template:
    """Read the organisers' template.

    Raises BadInput with every bad line. A header is skipped, whatever it says, but not a first row that is malformed.
    """
    reasons = Reasons()
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "not a UTF-8 text file"
        reasons.add("unreadable file", path, f"{what}; expected the organisers' template of track {track.name}")
        reasons.raise_any()
    end = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    listed = text.rstrip().split("\n")
    lines = pl.Series(listed, dtype=pl.String)
    if names_videos(listed):
        return Template(path=path, track=track, asked=read_list(lines, path, track), line_end=end)
    images = lines.str.splitn(",", 2).struct.field("field_0").str.strip_chars()
    rows = pl.DataFrame({"image": images}).with_row_index(LINE, offset=1).cast({LINE: pl.Int64})
    if not looks_like_a_row(images[0]):
        rows = rows[1:]
    _check_template(rows, path, track, reasons)
    reasons.raise_any()
    return Template(path=path, track=track, asked=rows, line_end=end)


def _check_template(rows: pl.DataFrame, path: Path, track: Track, reasons: Reasons) -> None:
    image = rows["image"]
    expected = f"expected {name_text(track)}; is this the template of track {track.name}?"
    wrong = rows.filter(~image.str.contains(name_pattern(track)))
    if len(wrong) == len(rows) and len(rows) > 1:
        line, name = rows.row(0)
        _no_template(line, name, path, track, expected, reasons)
        return
    for line, name in wrong.iter_rows():
        reasons.add("bad image name", path, f"{name[:200]!r}; {expected}", line=line)
    if image.n_unique() < len(image):
        for line, name in rows.filter(~image.is_first_distinct()).iter_rows():
            reasons.add("repeated row", path, f"{name} came before; a template lists a row once", line=line)
    if rows.is_empty():
        reasons.add("unreadable file", path, f"the template lists no row; {expected}")


def _no_template(line: int, name: str, path: Path, track: Track, expected: str, reasons: Reasons) -> None:
    """Add the one reason for a file none of whose lines names an image, by its first one."""
    if found := separated_name(name, track):
        message = f"the fields are separated by {found}; expected a comma after the name of an image"
        reasons.add("wrong separator", path, message, line=line)
    else:
        reasons.add("bad image name", path, f"{name[:200]!r}, and no other line names an image; {expected}", line=line)


def compare(rows: pl.DataFrame, path: Path, template: Template, reasons: Reasons) -> None:
    """Add a reason for every row of the template that is missing, every row too many, every row out of order.

    A video of which no row is there is one reason. Of a template that lists videos, the videos are compared.
    """
    if template.lists_videos:
        compare_videos(rows, path, template, reasons)
        return
    if rows["image"].equals(template.asked["image"]):
        return
    by_video = holds_videos(path)
    wanted = template.asked.select("image", wanted_line=LINE)
    missing = wanted.join(rows, on="image", how="anti", maintain_order="left")
    missing = _without_whole_videos(missing, rows, path, template.path, reasons)
    for image, line in missing.iter_rows():
        message = f"{image} is missing; {template.path}:{line} asks for it"
        reasons.add("missing row", _file(path, image, by_video), message)
    for line, image in rows.join(wanted, on="image", how="anti").select(LINE, "image").iter_rows():
        plain = image == image.strip() and image.isprintable()
        message = f"{image if plain else repr(image)} is not in the template {template.path}; remove it"
        reasons.add("extra row", _file(path, image, by_video), message, line=line)
    if by_video:
        return
    both = rows.select(LINE, "image").join(wanted, on="image", how="inner", maintain_order="left")
    before = both.with_columns(previous=pl.col("image").shift(), previous_line=pl.col("wanted_line").shift())
    late = before.filter(pl.col("wanted_line") < pl.col("previous_line"))
    for line, image, wanted_line, previous, previous_line in late.iter_rows():
        message = (
            f"{image} comes after {previous}; "
            f"the template has it before (lines {wanted_line} and {previous_line} of {template.path})"
        )
        reasons.add("wrong order", path, message, line=line)


def _without_whole_videos(
    missing: pl.DataFrame, rows: pl.DataFrame, path: Path, template_path: Path, reasons: Reasons
) -> pl.DataFrame:
    """The missing rows of videos of which some rows are there; a reason for each other video."""
    if missing.is_empty():
        return missing
    video = places(missing["image"])["video"]
    there = set(places(rows["image"])["video"]) if len(rows) else set()
    absent = (video != "") & ~video.is_in(list(there))
    lost = missing.with_columns(video).filter(absent).group_by("video", maintain_order=True)
    for name, count, first in lost.agg(pl.len(), pl.col("wanted_line").first()).iter_rows():
        message = f"video {name} is missing whole: {count:,} rows, asked for from {template_path}:{first} on"
        reasons.add("missing video", path, message)
    return missing.filter(~absent)


def _file(path: Path, image: str, by_video: bool) -> Path:
    """The file at fault: that of the video where the submission has one file a video."""
    return path / f"{image.split('/')[0]}.txt" if by_video else path


def check(path: Path, template: Template, *, shown: int | None = SHOWN) -> tuple[pl.DataFrame | None, Reasons]:
    """Read a submission and compare it with the template: its rows, and every reason why it is refused.

    Of each kind the first `shown` reasons are kept, or all (None). A submission in the form of ABAW3 is a folder or zip
    of one file a video, in the order of the frames; there the template's order of videos is no matter. A template that
    lists videos tells which files there must be, and not how many lines each must have.
    """
    rows, reasons = read_submission(path, template.track, shown=shown)
    # A file of another form altogether has one reason; that all its rows are missing would only bury it.
    if rows is not None:
        compare(rows, path, template, reasons)
    return rows, reasons


def size_text(rows: pl.DataFrame, track: Track) -> str:
    """How much a file holds: `51,159 rows in 228 videos`."""
    videos = "" if of_stills(track) else f" in {count_videos(rows['image'], track):,} videos"
    return f"{len(rows):,} rows{videos}"
