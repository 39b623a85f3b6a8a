"""Face images in folders or in a list, as rows: found, not opened.

`find_images` reads the organisers' crops, `<video>/%05d.jpg`. `read_images` takes any tree or list of JPEGs without
labels (CelebA, CASIA-WebFace, IMDB-WIKI): each folder is a video, since what lies together belongs to one fold.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from abaw.annotations import FRAME_FILE
from abaw.data.files import Drops, list_files, list_jpegs
from abaw.data.frames import Collection
from abaw.data.stills import collect, listed_images, read_lines
from abaw.data.storage import absolute, shown
from abaw.problems import BadInput, Problem, refuse

NO_FRAME = "is not named as a frame, such as 00001.jpg, counted from 1"


def find_images(roots: Sequence[Path]) -> tuple[pl.DataFrame, Drops]:
    """The images below `roots`, at any depth: `video`, `frame`, `path` (absolute); and what is left out.

    A folder that holds files is a video and gives it its name; files that are no `<frame>.jpg` are drops. BadInput
    names roots that are not there, and videos that two folders claim.
    """
    missing = [Problem(path=str(root), message="no such folder of images") for root in roots if not root.is_dir()]
    if missing:
        raise BadInput(missing)
    tables, drops = [], []
    for root in dict.fromkeys(roots):
        files, dropped = list_files(root)
        tables.append(files.with_columns(video=_video(root)))
        drops += dropped
    frame = pl.col("name").str.extract(rf"^{FRAME_FILE}$").cast(pl.Int32)
    rows = pl.concat(tables).with_columns(frame=frame)
    named = (pl.col("frame") >= 1).fill_null(False)
    drops += [(path, NO_FRAME) for path in rows.filter(~named)["path"]]
    images = rows.filter(named).select("video", "frame", "path")
    _refuse_shared_names(images)
    return images, drops


def read_images(source: Path) -> Collection:
    """Unlabelled images: a folder with JPEGs at any depth, or a text file with a path a line (relative to the file).

    Each folder is a video; see `number_frames` for its frames. BadInput when nothing is there.
    """
    if source.is_dir():
        images, drops = list_jpegs(source)
    elif source.is_file():
        images, drops = listed_images(source, *read_lines(source))
    else:
        raise refuse(source, "no such folder or list; expected a folder of JPEGs, or a text file with a path a line")
    return collect(images.with_columns(split=pl.lit("unlabelled")), drops, source=source, track="mtl")


def _video(root: Path) -> pl.Expr:
    """The name of the folder that a file lies in."""
    last = pl.col("folder").str.extract(r"([^/]*)$")
    return pl.when(pl.col("folder") == "").then(pl.lit(shown(absolute(root).name))).otherwise(last)


def _refuse_shared_names(images: pl.DataFrame) -> None:
    folder = pl.col("path").str.extract(r"^(.*)/[^/]*$")
    folders = images.group_by("video").agg(folder.unique().sort().alias("folders")).sort("video")
    problems = [
        Problem(path=other, message=f"video {video} lies in {first} too; expected one folder a video, remove one")
        for video, (first, *others) in folders.rows()
        for other in others
    ]
    if problems:
        raise BadInput(problems)
