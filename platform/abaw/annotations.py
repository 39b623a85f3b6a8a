"""The organisers' label files, read into tables whose missing labels are null, and written back byte for byte.

An annotation file, one a video, has a header and then one line a VIDEO frame: **line k after the header is frame k**.
A multi-task list: a header of five names over sixteen columns, then `video/00001.jpg` and the fifteen labels, a frame a
line. A sentinel (-1, -5) becomes null here and nowhere else; what is neither a label nor a sentinel is refused.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import LSD, TRACKS, Task, Track

MTL = TRACKS["mtl"]
CLASS_FOLDERS = {name.upper(): k for k, name in enumerate(LSD.columns)} | {"ANGRER": LSD.columns.index("Anger")}
"""The class folders of LSD, whose images have no other label; one was delivered misspelt."""
FRAME_FILE = r"([0-9]{5}|[1-9][0-9]{5,8})\.jpg"
"""`00001.jpg`: at least five digits, and no leading zero beyond the fifth."""
LOCATION = rf"^([^/]+)/{FRAME_FILE}$"
"""`video/00001.jpg`."""
NO_LOCATION = "is no image location; expected <video>/<frame>.jpg, such as video1/00001.jpg, frames counted from 1"
SHOWN = 20
"""Bad lines of one file that are reported one by one; the rest are counted."""


def parse_locations(images: pl.Series) -> pl.DataFrame:
    """`video` (String) and `frame` (Int32, from 1) of many locations; both null where the form is another."""
    groups = pl.lit(images).str.extract_groups(LOCATION)
    table = pl.select(
        groups.struct.field("1").alias("video"), groups.struct.field("2").cast(pl.Int32, strict=False).alias("frame")
    )
    return table.select(pl.when(pl.col("frame") >= 1).then(pl.all()))


def format_location(video: str, frame: int) -> str:
    """The organisers' name of a frame: `video/00001.jpg`."""
    return f"{video}/{frame:05d}.jpg"


def read_annotation(path: Path, task: Task, *, misfits: list[Problem] | None = None) -> pl.DataFrame:
    """Labels of one video: `frame` (Int32, from 1) and the task's label columns, null where not annotated.

    Float64 for valence and arousal, Int8 otherwise. BadInput holds every bad line. Where `misfits` is given, a value
    that is neither a label nor the sentinel is added to it and is null; a line with another number of values is still
    refused, since it may shift every later frame.
    """
    table, problems = _annotation(path, task, misfits)
    if problems:
        raise BadInput(problems)
    return table


def read_annotations(folder: Path, task: Task, *, misfits: list[Problem] | None = None) -> pl.DataFrame:
    """Labels of every `<video>.txt` in `folder`, with a leading `video` column, sorted by video and frame.

    BadInput holds every problem of every file; `misfits` as in `read_annotation`, and files whose name is not UTF-8.
    """
    files = label_files(folder)
    strange = [path for path in files if not _is_text(path.name)]
    problems = [Problem(path=str(path), message="its name is not UTF-8; rename it") for path in strange]
    files = [path for path in files if path not in strange]
    if misfits is not None and files:
        misfits += problems
        problems = []
    if not files:
        raise refuse(folder, f"holds no annotation file; expected one <video>.txt a video; {_listing(folder)}")
    tables = []
    for path in files:
        table, found = _annotation(path, task, misfits)
        tables.append(table.select(pl.lit(path.stem).alias("video"), pl.all()))
        problems += found
    if problems:
        raise BadInput(problems)
    return pl.concat(tables)


def read_mtl_list(path: Path, *, misfits: list[Problem] | None = None) -> pl.DataFrame:
    """A multi-task list in file order: `video`, `frame`, valence, arousal, expression, AU1..AU26; null = not annotated.

    BadInput holds every bad line, and every line that repeats an image; `misfits` as in `read_annotation`.
    """
    lines, problems = _lines(path, MTL.submission_header)
    fields, bad = _split(lines, ("image", *MTL.label_columns))
    place = parse_locations(fields["image"])
    malformed = fields["image"].is_not_null() & place["video"].is_null()
    bad += _bad_lines(malformed, fields["image"], "{} " + NO_LOCATION)
    repeated = place["video"].is_not_null() & ~place.select(pl.struct("video", "frame").is_first_distinct()).to_series()
    bad += _bad_lines(repeated, fields["image"], "{} was listed before; expected one line an image")
    labels, found = _labels(fields, MTL.tasks)
    problems += _refused(path, bad, found, misfits)
    if problems:
        raise BadInput(problems)
    return place.hstack(labels)


def write_annotation(path: Path, task: Task, labels_ND: NDArray[np.floating]) -> None:
    """Write row k - 1 of `labels_ND` as the line of frame k; NaN = not annotated. ValueError for any other value."""
    rows = _format(task, labels_ND)
    path.write_text("\n".join([",".join(task.columns), *rows]) + "\n", encoding="utf-8", newline="\n")


def write_mtl_list(path: Path, frame_table: pl.DataFrame) -> None:
    """Write a multi-task list, one line a row, in table order; null = not annotated.

    Columns: `video`, `frame`, valence, arousal, expression, and the action units as AU1..AU26 or as one list `au`.
    """
    if "au" in frame_table.columns:
        frame_table = frame_table.with_columns(au_columns())
    parts: list[Iterable[str]] = [map(format_location, frame_table["video"], frame_table["frame"])]
    for task in MTL.tasks:
        labels_ND = frame_table.select(pl.col(task.label_columns).cast(pl.Float64).fill_null(np.nan)).to_numpy()
        parts.append(_format(task, labels_ND))
    rows = map(",".join, zip(*parts, strict=True))
    path.write_text("\n".join([",".join(MTL.submission_header), *rows]) + "\n", encoding="utf-8", newline="\n")


def au_columns() -> list[pl.Expr]:
    """The expressions that take the list column `au` of a frame table apart into AU1..AU26."""
    au = pl.col("au").cast(pl.List(pl.Int8))
    return [au.list.get(k).alias(name) for k, name in enumerate(MTL.task("au").columns)]


def label_files(folder: Path) -> list[Path]:
    """The annotation files `<video>.txt` that `folder` holds itself, sorted by video; else BadInput."""
    files = [path for path in _inside(folder) if path.name.endswith(".txt") and not path.name.startswith(".")]
    return sorted([path for path in files if path.is_file()], key=lambda path: path.stem)


def _is_text(name: str) -> bool:
    return name == name.encode(errors="replace").decode()


def annotation_sets(root: Path, track: Track) -> list[Path]:
    """The set folders (`Train_Set`, `Validation_Set`, ...) of a track under `root` or under its challenge folder."""
    challenges = [root] if root.name in track.folders else [root / name for name in track.folders]
    folders = [child for challenge in challenges if challenge.is_dir() for child in sorted(_inside(challenge))]
    return [folder for folder in folders if folder.is_dir() and label_files(folder)]


def find_annotation_folder(root: Path, track: Track) -> Path:
    """The folder that holds a track's `<video>.txt`: `root` itself, or the only set under it.

    BadInput says what was looked for and what is there, or which sets there are to choose from.
    """
    if not root.is_dir():
        raise refuse(root, f"no such folder; expected the annotations of track {track.name}")
    if label_files(root):
        return root
    sets = annotation_sets(root, track)
    if len(sets) == 1:
        return sets[0]
    if sets:
        raise refuse(root, f"holds several sets of track {track.name}; name one: {', '.join(map(str, sets))}")
    looked = ", ".join(f"{name}/<set>/*.txt" for name in track.folders) or "none: this track has no annotation folders"
    raise refuse(root, f"no annotations of track {track.name}; looked for *.txt, {looked}; {_listing(root)}")


def _inside(folder: Path) -> list[Path]:
    """What a folder holds. (`glob` would find nothing in a folder that may not be read, and say nothing.)"""
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise refuse(folder, f"folder cannot be read: {error.strerror or error}") from error


def _annotation(path: Path, task: Task, misfits: list[Problem] | None) -> tuple[pl.DataFrame, list[Problem]]:
    lines, problems = _lines(path, task.columns)
    if not problems and lines.is_empty():
        problems = [Problem(path=str(path), message="holds a header and no label; expected one line a video frame")]
    fields, bad = _split(lines, task.label_columns)
    labels, found = _labels(fields, (task,))
    frame = pl.Series("frame", np.arange(1, len(lines) + 1, dtype=np.int32))
    return labels.insert_column(0, frame), problems + _refused(path, bad, found, misfits)


def _lines(path: Path, header: Sequence[str]) -> tuple[pl.Series, list[Problem]]:
    """The lines after the header, and what is wrong with the file as a whole."""
    none = pl.Series([], dtype=pl.String)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return none, [Problem(path=str(path), message="no such file; expected an annotation file of the organisers")]
    except UnicodeDecodeError as error:
        return none, [Problem(path=str(path), message=f"not a text file: {error}")]
    except OSError as error:
        return none, [Problem(path=str(path), message=f"cannot be read: {error.strerror or error}")]
    first, *lines = text.rstrip().split("\n")
    if tuple(name.strip() for name in first.split(",")) == tuple(header):
        return pl.Series(lines, dtype=pl.String), []
    message = f"header {first.strip()[:200]!r}; expected {','.join(header)!r}"
    return pl.Series(lines, dtype=pl.String), [Problem(path=str(path), line=1, message=message)]


# A finding is (row from 0, message): rows stay cheap integers until the few that are shown are known.
Finding = tuple[int, str]


def _split(lines: pl.Series, columns: Sequence[str]) -> tuple[pl.DataFrame, list[Finding]]:
    """The lines as stripped text columns; all null where a line has the wrong number of values."""
    lines = lines.str.strip_chars()
    parts = lines.str.split(",")
    right = (parts.list.len() == len(columns)) & (lines != "")  # a blank line splits into one value
    expected = f"expected {len(columns)} values ({','.join(columns)})"
    bad = _bad_lines(~right, lines, f"found {{}}; {expected}")
    parts = pl.select(pl.when(right).then(parts)).to_series()
    values = [parts.list.get(k, null_on_oob=True).str.strip_chars().alias(name) for k, name in enumerate(columns)]
    return pl.DataFrame(values), bad


def _labels(fields: pl.DataFrame, tasks: Sequence[Task]) -> tuple[pl.DataFrame, list[Finding]]:
    columns, bad = [], []
    for task in tasks:
        kind = pl.Float64 if task.kind == "regression" else pl.Int16
        for name in task.label_columns:
            value = fields[name].cast(kind, strict=False)
            missing = (value == task.sentinel).fill_null(False)
            right = missing | pl.Series(task.valid(value.cast(pl.Float64).fill_null(np.nan).to_numpy()))
            wrong = fields[name].is_not_null() & ~right
            expected = f"expected {task.range_text}, or {task.sentinel:g} where not annotated"
            bad += _bad_lines(wrong, fields[name], f"{name} is {{}}; {expected}")
            stored = pl.Float64 if task.kind == "regression" else pl.Int8
            columns.append(value.set(missing | wrong, None).cast(stored, strict=False).alias(name))
    return pl.DataFrame(columns), bad


def _bad_lines(bad: pl.Series, text: pl.Series, message: str) -> list[Finding]:
    rows = bad.fill_null(False).arg_true()
    return [(row, message.format(repr(found[:200]))) for row, found in zip(rows, text.gather(rows), strict=True)]


def _refused(path: Path, bad: list[Finding], values: list[Finding], misfits: list[Problem] | None) -> list[Problem]:
    """The problems for which a file is refused: bad lines, and bad values unless they go to `misfits`."""
    if misfits is None:
        return _located(path, bad + values)
    misfits += [Problem(path=str(path), line=row + 2, message=message) for row, message in sorted(values)]
    return _located(path, bad)


def _located(path: Path, bad: list[Finding]) -> list[Problem]:
    """The first problems of a file by line, and how many more there are."""
    bad.sort()
    problems = [Problem(path=str(path), line=row + 2, message=message) for row, message in bad[:SHOWN]]
    if len(bad) > SHOWN:
        problems.append(Problem(path=str(path), message=f"and {len(bad) - SHOWN} more bad values"))
    return problems


def _format(task: Task, labels_ND: NDArray[np.floating]) -> list[str]:
    missing_ND = np.isnan(labels_ND)
    wrong = np.argwhere(~(missing_ND | task.valid(labels_ND)))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{len(wrong)} labels of task {task.name} are out of range, the first is {task.label_columns[column]} = "
            f"{labels_ND[row, column]} in row {row}; expected {task.range_text}, or NaN where not annotated"
        )
    if not missing_ND.any():
        return [task.format(row_D) for row_D in labels_ND]
    sentinel, safe_ND = f"{task.sentinel:g}", np.nan_to_num(labels_ND)
    rows = [task.format(row_D).split(",") for row_D in safe_ND]
    return [
        ",".join(sentinel if absent else value for value, absent in zip(row, missing_D, strict=True))
        for row, missing_D in zip(rows, missing_ND, strict=True)
    ]


def _listing(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    names = sorted(path.name for path in folder.iterdir())
    return "it holds " + (", ".join(names[:10]) + (", ..." if len(names) > 10 else "") if names else "nothing")
