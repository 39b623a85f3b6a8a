"""What the sources of still images share: lists of paths, splits from folder names, frame numbers.

A frame belongs to a video everywhere else in the program; here each folder of images is one, so that what lies together
(a person, a query, a class) is held out together. Where the organisers' lists split a folder, as AffectNet's do, each
split's part is one. `path` keeps the original name.
"""

from pathlib import Path

import polars as pl

from abaw.data.files import Drops, keep_jpegs
from abaw.data.frames import Collection, drop_table, frame_table
from abaw.data.storage import absolute, shown
from abaw.problems import refuse

SPLIT_NAME = r"(?i)(?:^|[^a-z])(train|val|test)(?:ing|idation)?(?:[^a-z]|$)"
SPLIT_OF = {"train": "train", "val": "validation", "test": "test"}


def collect(images: pl.DataFrame, drops: Drops, *, source: Path, track: str) -> Collection:
    """The collection of still images: rows with `folder` (a video each), `name`, `path`, `split` and any labels.

    The files that lie in `source` itself are a video of its name. BadInput with the first reasons when none is left.
    """
    if images.is_empty():
        reasons = "; ".join(f"{path}: {reason}" for path, reason in drops[:3])
        left_out = f"; {len(drops)} files or lines were left out: {reasons}" if drops else ""
        raise refuse(source, f"holds no image that can be used{left_out}")
    own = absolute(source if source.is_dir() else source.parent)
    folder = pl.when(pl.col("folder") == "").then(pl.lit(shown(own.name))).otherwise("folder")
    part = pl.concat_str(folder, pl.col("split").fill_null("other"), separator="/")
    video = pl.when(pl.col("split").drop_nulls().n_unique().over(folder) > 1).then(part).otherwise(folder)
    frames = frame_table(number_frames(images.with_columns(video=video)))
    return Collection(frames=frames, drops=drop_table(drops), track=track)


def number_frames(images: pl.DataFrame) -> pl.DataFrame:
    """The rows with `frame`, from 1 in each `video`.

    The number that is the name, where all names of a video are different numbers (plus one where they begin at 0);
    else the place in the order of the names.
    """
    number = pl.col("name").str.extract(r"^([0-9]{1,9})\.[^.]*$").cast(pl.Int32)
    place = pl.int_range(1, pl.len() + 1, dtype=pl.Int32)
    numbered = number.is_not_null().all() & (number.n_unique() == pl.len())
    from_zero = (number.min() == 0).cast(pl.Int32)
    frame = pl.when(numbered).then(number + from_zero).otherwise(place)
    return images.sort("video", "name", "path").with_columns(frame.over("video").alias("frame"))


def read_lines(path: Path) -> tuple[pl.DataFrame, Drops]:
    """The lines of a list that are not blank: `line` (from 1) and `text`, stripped; lines not UTF-8 are drops."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise refuse(path, f"cannot be read: {error.strerror or error}") from error
    lines, drops = [], []
    for line, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            lines.append((line, raw.decode().strip()))
        except UnicodeDecodeError:
            drops.append((f"{path}:{line}", "is not UTF-8 text"))
    table = pl.DataFrame(lines, schema={"line": pl.Int64, "text": pl.String}, orient="row")
    return table.filter(pl.col("text") != ""), drops


def listed_images(source: Path, lines: pl.DataFrame, drops: Drops) -> tuple[pl.DataFrame, Drops]:
    """The images whose paths are `text` in a list: adds `folder`, `name` and `path`.

    Paths are relative to the folder of the list. `folder` is that of the text without its scheme, its first slash and
    any `..`, so that it can name a video. A path listed before and a file that is no JPEG are drops.
    """
    text = pl.col("text").str.replace(r"^(\./)+", "")
    elsewhere = text.str.starts_with("/") | text.str.contains("://", literal=True)
    folder = text.str.replace(r"^[^/:]+://", "").str.extract(r"^(.*)/[^/]*$").fill_null("").str.split("/")
    base = f"{absolute(source.parent)}/"
    rows = lines.with_columns(
        folder=folder.list.eval(pl.element().filter(~pl.element().is_in(["", ".", ".."]))).list.join("/"),
        name=text.str.extract(r"([^/]*)$"),
        path=pl.when(elsewhere).then(text).otherwise(pl.lit(base) + text),
    )
    repeated = rows.filter(~pl.col("path").is_first_distinct())
    again = [(f"{source}:{line}", f"{text} was listed before") for line, text in repeated["line", "text"].rows()]
    images, others = keep_jpegs(rows.filter(pl.col("path").is_first_distinct()))
    return images, drops + again + others


def split_named(name: pl.Expr) -> pl.Expr:
    """The split that a name or path says (`train`, `Training_Set`, `list_val.txt`, ...), null where it says none."""
    return name.str.extract(SPLIT_NAME).str.to_lowercase().replace_strict(SPLIT_OF, default=None)


def leave_out(images: pl.DataFrame, where: pl.Expr, reason: str | pl.Expr) -> tuple[pl.DataFrame, Drops]:
    """The rows for which `where` does not hold, and the others as drops."""
    out = where.fill_null(False)
    text = pl.lit(reason) if isinstance(reason, str) else reason
    return images.filter(~out), images.filter(out).select("path", text.alias("reason")).rows()
