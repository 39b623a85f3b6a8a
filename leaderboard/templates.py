"""The organisers' template, the list of rows that a submission must have, and the comparison of a submission with it.

Only the first field of a template's row counts: the others may be empty (a bare comma) or dummies.
"""

from pathlib import Path

import polars as pl

from abaw.tracks import Track
from leaderboard.images import count_videos, looks_like_a_row, name_pattern, name_text, of_stills, places
from leaderboard.reasons import SHOWN, Reasons
from leaderboard.submissions import LINE, read_submission


def read_template(path: Path, track: Track) -> pl.DataFrame:
    """The rows that are asked for: `line` (in the file, from 1) and `image`, in the organisers' order.

    Raises BadInput with every bad line. A header is skipped, whatever it says, but not a first row that is malformed.
    """
    reasons = Reasons()
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reasons.add("unreadable file", path, f"{error}; expected the organisers' template of track {track.name}")
        reasons.raise_any()
    lines = pl.Series(text.rstrip().split("\n"), dtype=pl.String)
    images = lines.str.splitn(",", 2).struct.field("field_0").str.strip_chars()
    rows = pl.DataFrame({"image": images}).with_row_index(LINE, offset=1).cast({LINE: pl.Int64})
    if not looks_like_a_row(images[0]):
        rows = rows[1:]
    _check_template(rows, path, track, reasons)
    reasons.raise_any()
    return rows


def line_end(path: Path) -> str:
    """How the template ends its lines: with CRLF, or with LF."""
    with path.open("rb") as file:
        return "\r\n" if file.readline().endswith(b"\r\n") else "\n"


def _check_template(rows: pl.DataFrame, path: Path, track: Track, reasons: Reasons) -> None:
    image = rows["image"]
    expected = f"expected {name_text(track)}; is this the template of track {track.name}?"
    for line, name in rows.filter(~image.str.contains(name_pattern(track))).iter_rows():
        reasons.add("bad image name", path, f"{name[:200]!r}; {expected}", line=line)
    if image.n_unique() < len(image):
        for line, name in rows.filter(~image.is_first_distinct()).iter_rows():
            reasons.add("repeated row", path, f"{name} came before; a template lists a row once", line=line)
    if rows.is_empty():
        reasons.add("unreadable file", path, f"the template lists no row; {expected}")


def compare(rows: pl.DataFrame, path: Path, template: pl.DataFrame, template_path: Path, reasons: Reasons) -> None:
    """Add a reason for every row of the template that is missing, every row too many, every row out of order.

    A video of which no row is there is one reason.
    """
    if rows["image"].equals(template["image"]):
        return
    wanted = template.select("image", wanted_line=LINE)
    missing = wanted.join(rows, on="image", how="anti", maintain_order="left")
    missing = _without_whole_videos(missing, rows, path, template_path, reasons)
    for image, line in missing.iter_rows():
        reasons.add("missing row", _file(path, image), f"{image} is missing; {template_path}:{line} asks for it")
    for line, image in rows.join(wanted, on="image", how="anti").select(LINE, "image").iter_rows():
        message = f"{image} is not in the template {template_path}; remove it"
        reasons.add("extra row", _file(path, image), message, line=line)
    if path.is_dir():
        return
    both = rows.select(LINE, "image").join(wanted, on="image", how="inner", maintain_order="left")
    before = both.with_columns(previous=pl.col("image").shift(), previous_line=pl.col("wanted_line").shift())
    late = before.filter(pl.col("wanted_line") < pl.col("previous_line"))
    for line, image, wanted_line, previous, previous_line in late.iter_rows():
        message = (
            f"{image} comes after {previous}; "
            f"the template has it before (lines {wanted_line} and {previous_line} of {template_path})"
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


def _file(path: Path, image: str) -> Path:
    """The file at fault: that of the video where the submission is a folder."""
    return path / f"{image.split('/')[0]}.txt" if path.is_dir() else path


def validate(
    path: Path, track: Track, template_path: Path, *, shown: int | None = SHOWN
) -> tuple[pl.DataFrame | None, Reasons]:
    """Read a submission and compare it with the template: its rows, and every reason why it is refused.

    Of each kind the first `shown` reasons are kept, or all (None). A submission in the form of ABAW3 is a folder of one
    file a video, in the order of the frames; there the template's order of videos is no matter.

    Raises BadInput when the template itself cannot be used.
    """
    template = read_template(template_path, track)
    rows, reasons = read_submission(path, track, shown=shown)
    # A file of another form altogether has one reason; that all its rows are missing would only bury it.
    if rows is not None:
        compare(rows, path, template, template_path, reasons)
    return rows, reasons


def size_text(rows: pl.DataFrame, track: Track) -> str:
    """How much a file holds: `51,159 rows in 228 videos`."""
    videos = "" if of_stills(track) else f" in {count_videos(rows['image']):,} videos"
    return f"{len(rows):,} rows{videos}"
