"""The one reader of submission files, shared by `validate`, `submit` and `score`.

The organisers' form: the track's header, then `image,value,...`, one line a frame. A byte order mark, CRLF line ends,
a comma at the end of lines and blank lines at the end are accepted, since spreadsheets and templates have them; the
rest must be as the organisers print it. ABAW3's form is a folder of one file a video. Either may be packed in a zip.
A correct file is read at once by Polars. Only one that Polars refuses is read again line by line, to find all reasons.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from abaw.tracks import TRACKS, Task, Track
from leaderboard.images import looks_like_a_row, name_pattern, name_text
from leaderboard.reasons import SHOWN, Kind, Reasons
from leaderboard.separators import check_commas, separated_header
from leaderboard.zips import is_one_file, is_zip, read_zip

NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
"""Each digit can be matched in one way, so that a long run of them that is no number is refused in linear time."""
INTEGER = r"[+-]?[0-9]+"
NOT_FINITE = {"nan", "inf", "infinity"}
LINE = "line"


def read_submission(
    path: Path, track: Track, *, truth: bool = False, shown: int | None = SHOWN
) -> tuple[pl.DataFrame | None, Reasons]:
    """Read a submission file, or ABAW3's folder of one file a video, and find everything that is wrong with it.

    Args:
        path: the file, or the folder of `<video>.txt`: the annotation's header, then one line a video frame; or a zip
            of either.
        track: whose header and values are expected.
        truth: the file holds labels in the form of a submission, so "not annotated" (-1, -5) is read as null.
        shown: reasons of one kind that are kept; None: all.

    Returns:
        The rows with a well-formed image name: `line` (in the file, from 1), `image`, and the track's label columns as
        Float64 (null where the value is bad or not annotated); None when the file is of another form altogether.
        And the reasons why the file is refused.
    """
    reasons = Reasons(shown)
    if path.is_dir():
        return _read_folder(path, track, truth, reasons), reasons
    if is_zip(path):
        contents = read_zip(path, reasons)
        if not is_one_file(contents):
            return _read_videos(contents, path, track, truth, reasons), reasons
        path, data = next(iter(contents.items()))
        return _read_file(data, path, track, truth, reasons), reasons
    return _read_file(_bytes_of(path, reasons), path, track, truth, reasons), reasons


def read_bytes(data: bytes, track: Track) -> tuple[pl.DataFrame | None, Reasons]:
    """As `read_submission`, of the content of a single file that is not on disk."""
    reasons = Reasons()
    return _read_file(data, Path("submission.txt"), track, False, reasons), reasons


def _read_file(data: bytes | None, path: Path, track: Track, truth: bool, reasons: Reasons) -> pl.DataFrame | None:
    """The rows of the single file."""
    data = _text_bytes(data, path, reasons)
    if data is None:
        return None
    header, _, body = data.partition(b"\n")
    if b"\r" in header.rstrip(b"\r"):
        reasons.add("unreadable file", path, "its lines end with CR alone; save it with line ends LF or CRLF")
        return None
    text = header.decode("utf-8", errors="replace").rstrip("\r ,")
    names = tuple(name.strip() for name in text.split(","))
    first = 2
    if not check_commas(text, track.submission_header, body, path, track, reasons):
        return None
    if names != track.submission_header and not separated_header(text, track.submission_header):
        message, usable = _header_problem(text, names, track)
        reasons.add("bad header", path, message, line=1)
        if not usable:
            return None
        if looks_like_a_row(names[0]):
            first, body = 1, data
    return _read_body(body, first, path, track, truth, reasons)


def _read_body(body: bytes, first: int, path: Path, track: Track, truth: bool, reasons: Reasons) -> pl.DataFrame:
    """The rows below the header, whose first line is line `first`: quickly, or with every reason."""
    rows = _read_fast(body, track, first)
    if rows is None and body.partition(b"\n")[0].rstrip().endswith(b","):
        rows = _read_fast(re.sub(rb",[ \t]*(?=\r?\n|\r?$)", b"", body), track, first)
    if rows is None:
        rows = _read_lines(body, first, path, track, reasons)
    return _in_range(rows, path, track, truth, reasons)


def _read_folder(folder: Path, track: Track, truth: bool, reasons: Reasons) -> pl.DataFrame | None:
    """The rows of every `<video>.txt` of a folder."""
    files = sorted(path for path in folder.iterdir() if path.suffix == ".txt" and not path.name.startswith("."))
    contents = {path: _bytes_of(path, reasons) for path in files}
    return _read_videos(contents, folder, track, truth, reasons)


def _read_videos(
    contents: Mapping[Path, bytes | None], path: Path, track: Track, truth: bool, reasons: Reasons
) -> pl.DataFrame | None:
    """The rows of one file a video: line k after the header is frame k."""
    if reasons and not contents:
        return None
    if len(track.tasks) > 1 or not track.folders or not contents:
        kind = "is a folder" if path.is_dir() else "is a zip of one file a video"
        message = f"{kind}; expected a submission file, or for expr, au and va a folder of <video>.txt"
        reasons.add("unreadable file", path, message)
        return None
    read = (_read_video(data, file, track, truth, reasons) for file, data in contents.items())
    tables = [rows for rows in read if rows is not None]
    return pl.concat(tables) if tables else None


def _read_video(data: bytes | None, path: Path, track: Track, truth: bool, reasons: Reasons) -> pl.DataFrame | None:
    if "," in path.stem or not path.stem.isprintable():
        message = f"{path.name!r} is no video's name; expected printable text without commas, rename the file"
        reasons.add("bad image name", path.parent, message)
        return None
    data = _text_bytes(data, path, reasons)
    if data is None:
        return None
    header, _, body = data.partition(b"\n")
    expected = track.tasks[0].columns
    video = path.stem.encode()
    lines = body.split(b"\n") if body else []
    named = b"\n".join(b"%s/%05d.jpg,%s" % (video, frame, line) for frame, line in enumerate(lines, start=1))
    text = header.decode("utf-8", errors="replace").rstrip("\r ,")
    if not check_commas(text, expected, named, path, track, reasons):
        return None
    names = tuple(name.strip() for name in text.split(","))
    if names != expected and not separated_header(text, expected):
        message = f"header {','.join(names)[:200]!r}; expected {','.join(expected)!r}"
        reasons.add("bad header", path, message, line=1)
    return _read_body(named, 2, path, track, truth, reasons)


def _bytes_of(path: Path, reasons: Reasons) -> bytes | None:
    """The content of a file; None (and a reason) when there is none."""
    try:
        return path.read_bytes()
    except OSError as error:
        reasons.add("unreadable file", path, f"{error.strerror}; expected a submission file")
        return None


def _text_bytes(data: bytes | None, path: Path, reasons: Reasons) -> bytes | None:
    """The content without byte order mark and blank end; None (and a reason) when it is no text with lines."""
    if data is None:
        return None
    if data[:4] == b"PAR1":
        reasons.add("unreadable file", path, "a prediction table; `leaderboard export` writes its submission file")
        return None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4096]:
        reasons.add("bad encoding", path, "not a UTF-8 text file (it holds zero bytes or is UTF-16); save it as UTF-8")
        return None
    data = data.removeprefix(b"\xef\xbb\xbf").rstrip()
    if not data:
        reasons.add("unreadable file", path, "the file is empty; expected a header and one line a frame")
        return None
    return data


def _header_problem(text: str, names: tuple[str, ...], track: Track) -> tuple[str, bool]:
    """What is wrong with a header, and whether the lines below it may be read as this track's all the same."""
    expected = ",".join(track.submission_header)
    if re.match(name_pattern(track), names[0]):
        return f"the header is missing: the first line is a row; expected {expected!r}", True
    headers = {other.name: other.submission_header for other in TRACKS.values()}
    others = [name for name, own in headers.items() if own == names or separated_header(text, own)]
    if others:
        found = f"the header is that of track {' or '.join(others)}, not of {track.name}"
        return f"{found}; expected {expected!r}; check the file and --track", False
    return f"header {','.join(names)[:200]!r}; expected {expected!r}", True


def _read_fast(body: bytes, track: Track, first: int) -> pl.DataFrame | None:
    """All rows at once when every line is well formed, else None; the ranges are not checked here."""
    if not body:
        return _as_table({}, [], track)
    kinds = {
        column: pl.Float64 if task.kind == "regression" else pl.Int16
        for task in track.tasks
        for column in task.label_columns
    }
    try:
        rows = pl.read_csv(
            body, has_header=False, schema={"image": pl.String, **kinds}, quote_char=None, infer_schema=False
        )
    except pl.exceptions.PolarsError:
        return None
    # Polars skips blank lines, and fills a short line with nulls: neither is a correct file.
    if len(rows) != body.count(b"\n") + 1 or sum(rows.null_count().row(0)):
        return None
    image, values = rows["image"], [rows[column].cast(pl.Float64) for column in kinds]
    finite = all(value.is_finite().all() for value in values)
    if not finite or not image.str.contains(name_pattern(track)).all() or image.n_unique() != len(rows):
        return None
    line = pl.Series(LINE, np.arange(first, first + len(rows), dtype=np.int64))
    return pl.DataFrame([line, image, *values])


def _read_lines(body: bytes, first: int, path: Path, track: Track, reasons: Reasons) -> pl.DataFrame:
    """The rows line by line, and every reason with its line; the ranges are not checked here."""
    good = _good_line(track)
    seen: dict[str, int] = {}
    values: list[float] = []
    for number, raw in enumerate(body.split(b"\n"), start=first):
        text = _text(raw, number, path, reasons)
        if text is None:
            continue
        image, *fields = text.split(",")
        if good.fullmatch(text):
            found = list(map(float, fields))
        else:
            found = _numbers(fields, number, path, track, reasons)
            if not re.match(name_pattern(track), image):
                message = f"{image[:200]!r}; expected {name_text(track)}"
                reasons.add("bad image name", path, message, line=number)
                continue
        if image in seen:
            reasons.add("repeated row", path, f"{image} came before, in line {seen[image]}; remove one", line=number)
            continue
        seen[image] = number
        values += found
    return _as_table(seen, values, track)


def _good_line(track: Track) -> re.Pattern[str]:
    """What a well-formed line looks like: nearly all lines, so nothing else need be asked about them."""
    fields = "".join(
        f",[ \\t]*{NUMBER if task.kind == 'regression' else INTEGER}[ \\t]*"
        for task in track.tasks
        for _ in task.label_columns
    )
    return re.compile(name_pattern(track).removesuffix("$") + fields)


def _text(raw: bytes, line: int, path: Path, reasons: Reasons) -> str | None:
    """One line as text; None (and a reason) when it is blank or not UTF-8."""
    try:
        text = raw.removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"byte 0x{raw[error.start]:02x} at position {error.start + 1} is not UTF-8; save the file as UTF-8"
        reasons.add("bad encoding", path, message, line=line)
        return None
    if text and not text.isspace():
        return text
    reasons.add("wrong number of values", path, "blank line; remove it", line=line)
    return None


def _numbers(fields: list[str], line: int, path: Path, track: Track, reasons: Reasons) -> list[float]:
    """The values of one line; NaN where a field is no number of the right kind."""
    columns = track.label_columns
    if len(fields) == len(columns) + 1 and not fields[-1].strip():
        fields = fields[:-1]
    if len(fields) != len(columns):
        found = f"{len(fields)} values after the image" if any(map(str.strip, fields)) else "no value"
        message = f"found {found}, expected {len(columns)} ({','.join(columns)})"
        if len(fields) > len(columns) and any(task.kind == "regression" for task in track.tasks):
            message += "; decimals are written with a point"
        reasons.add("wrong number of values", path, message, line=line)
        return [math.nan] * len(columns)
    tasks = (task for task in track.tasks for _ in task.label_columns)
    values = []
    for column, task, field in zip(columns, tasks, fields, strict=True):
        value = _number(field.strip(" \t"), task)
        if isinstance(value, str):
            reasons.add(value, path, f"{column} is {field[:50]!r}; expected {task.range_text}", line=line)
        values.append(value if isinstance(value, float) else math.nan)
    return values


def _number(field: str, task: Task) -> float | Kind:
    """The value of a field, or what is wrong with it."""
    if not re.fullmatch(NUMBER, field):
        return "not finite" if field.lstrip("+-").lower() in NOT_FINITE else "not a number"
    return float(field) if task.kind == "regression" or re.fullmatch(INTEGER, field) else "not an integer"


def _as_table(lines: Mapping[str, int], values: list[float], track: Track) -> pl.DataFrame:
    """The rows as a table: the line of each image, and its values one after the other, NaN where one is bad."""
    values_ND = np.array(values, dtype=np.float64).reshape(len(lines), len(track.label_columns))
    line = pl.Series(LINE, list(lines.values()), dtype=pl.Int64)
    columns = [pl.Series(n, v, nan_to_null=True) for n, v in zip(track.label_columns, values_ND.T, strict=True)]
    return pl.DataFrame([line, pl.Series("image", list(lines), dtype=pl.String), *columns])


def _in_range(rows: pl.DataFrame, path: Path, track: Track, truth: bool, reasons: Reasons) -> pl.DataFrame:
    """The rows with null where a value is not one of its task's; in truth, "not annotated" is null and no reason."""
    for task in track.tasks:
        for column in task.label_columns:
            value = rows[column]
            unlabelled = (value == task.sentinel).fill_null(False)
            bad = value.is_not_null() & ~pl.Series(task.valid(value.fill_null(np.nan).to_numpy()))
            if not bad.any():
                continue
            for line, found in rows.filter(bad & ~unlabelled if truth else bad).select(LINE, column).iter_rows():
                hint = "; it means 'not annotated' and is no prediction" if found == task.sentinel else ""
                message = f"{column} is {found:g}; expected {task.range_text}{hint}"
                reasons.add("out of range", path, message, line=line)
            rows = rows.with_columns(value.set(bad, None))
    return rows
