"""Aff-Wild2 as the organisers deliver it: crops and label files, joined into one frame table.

Layout: `cropped_aligned/**/<video>/%05d.jpg`; `<annotations>/<challenge>/{Train_Set,Validation_Set}/<video>.txt`;
`training_set_annotations.txt` and `validation_set_annotations.txt` of the multi-task challenge; `test_templates/*.txt`.
Videos are matched by equal names: 64 of the 594 names are a substring of another. Labels without a crop and crops
without a label stay in the table, so that nothing is left out without being counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from abaw.annotations import annotation_sets, parse_locations, read_annotations, read_mtl_list
from abaw.data.coverage import count_coverage, describe_coverage
from abaw.data.frames import KEY, frame_table
from abaw.data.images import find_images
from abaw.data.labels import LabelTable, merge_labels, videos_of
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import TRACKS, Track

CHALLENGES = ("va", "expr", "au")
SETS = {"Train_Set": "train", "Validation_Set": "validation"}
LISTS = {"training_set_annotations.txt": "train", "validation_set_annotations.txt": "validation"}
IMAGE_FOLDERS = ("cropped_aligned", "cropped_aligned_new_50_vids", "images")
TEMPLATES, HELD_OUT = "test_templates", "held_out_truth"

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What was delivered: every frame that has a crop or a label."""

    frames: pl.DataFrame
    """Frame table with `path`, which is null where a labelled frame has no crop."""
    videos: pl.DataFrame
    """One row a video, see `abaw.data.labels.videos_of`."""
    conflicts: dict[str, int]
    """By task, frames whose multi-task label contradicts the challenge's own label; the latter is the one used."""
    other_files: tuple[str, ...]
    """Files among the crops that are not named as frames."""

    def coverage(self) -> pl.DataFrame:
        """Counts a video: labelled, cropped, both, neither."""
        return count_coverage(self.frames, self.videos)

    def coverage_markdown(self) -> str:
        """The same for a person, with everything that is odd about the delivery."""
        return describe_coverage(self.coverage(), conflicts=self.conflicts, other_files=self.other_files)


def read_affwild2(root: Path, *, images: Sequence[Path] = (), annotations: Path | None = None) -> Delivery:
    """Read a delivery; no image is opened.

    Args:
        root: holds everything in the layout above.
        images: folders of crops, where they are not below `root` under their usual names.
        annotations: folder that holds the challenge folders, where it is neither `root` nor a folder in it.

    Raises:
        BadInput: every folder that is missing and every bad line of every label file.
    """
    if not root.is_dir():
        raise refuse(root, "no such folder; expected the organisers' delivery: crops, annotations, lists")
    problems: list[Problem] = []
    found = _attempt(problems, lambda: find_images(_image_roots(root, images)))
    named = _attempt(problems, lambda: _template_frames(root / TEMPLATES))
    label_root = annotations or _attempt(problems, lambda: _annotation_root(root))
    tables = _read_labels(root, label_root, problems) if label_root else []
    if problems:
        raise BadInput(problems)
    assert found is not None
    assert named is not None
    crops, other_files = found
    videos = videos_of(tables, crops=crops, named=named)
    labels, conflicts = merge_labels(tables)
    rows = crops.join(labels, on=KEY, how="full", coalesce=True).join(videos.select("video", "split"), on="video")
    return Delivery(frames=frame_table(rows), videos=videos, conflicts=conflicts, other_files=tuple(other_files))


def _attempt(problems: list[Problem], read: Callable[[], Read]) -> Read | None:
    """What `read` returns; when it refuses its input, its problems join the others."""
    try:
        return read()
    except BadInput as error:
        problems += error.problems
        return None


def _image_roots(root: Path, images: Sequence[Path]) -> list[Path]:
    roots = list(images) or [root / name for name in IMAGE_FOLDERS if (root / name).is_dir()]
    if not roots:
        raise refuse(root, f"no crops; looked for {', '.join(IMAGE_FOLDERS)}; {_holds(root)}")
    return roots


def _annotation_root(root: Path) -> Path:
    """The only folder, `root` or one in it, that holds challenge folders; `root` where there are lists alone."""
    children = [
        path for path in sorted(root.iterdir()) if path.is_dir() and path.name not in (HELD_OUT, *IMAGE_FOLDERS)
    ]
    names = [name for track in CHALLENGES for name in TRACKS[track].folders]
    holding = [folder for folder in (root, *children) if any((folder / name).is_dir() for name in names)]
    if len(holding) > 1:
        raise refuse(root, f"several folders hold annotations: {', '.join(map(str, holding))}; name the one to read")
    if not holding and not any((root / name).is_file() for name in LISTS):
        looked = ", ".join([*names, *LISTS])
        raise refuse(root, f"no annotations, here or one folder down; looked for {looked}; {_holds(root)}")
    return holding[0] if holding else root


def _read_labels(root: Path, label_root: Path, problems: list[Problem]) -> list[LabelTable]:
    """The label files of every challenge and set, and the multi-task lists."""
    tables = []
    for challenge in CHALLENGES:
        track = TRACKS[challenge]
        for folder in _sets(label_root, track, problems):
            rows = _attempt(problems, partial(read_annotations, folder, track.tasks[0]))
            if rows is not None:
                tables.append(LabelTable(source=challenge, split=SETS[folder.name], path=folder, rows=rows))
    places = [folder / name for folder in dict.fromkeys((root, label_root)) for name in LISTS]
    for path in filter(Path.is_file, places):
        rows = _attempt(problems, partial(read_mtl_list, path))
        if rows is not None:
            tables.append(LabelTable(source="mtl", split=LISTS[path.name], path=path, rows=rows))
    problems += _overlaps(tables)
    return tables


def _sets(label_root: Path, track: Track, problems: list[Problem]) -> list[Path]:
    """The set folders of a challenge; a challenge folder without one and a set of another name are problems."""
    found = annotation_sets(label_root, track)
    empty = [label_root / name for name in track.folders if (label_root / name).is_dir()]
    empty = [folder for folder in empty if folder not in {path.parent for path in found}]
    looked = " or ".join(f"{name}/<video>.txt" for name in SETS)
    problems += [Problem(path=str(folder), message=f"holds no annotations; looked for {looked}") for folder in empty]
    unknown = [folder for folder in found if folder.name not in SETS]
    expected = f"expected {' or '.join(SETS)}; move it away or rename it"
    problems += [Problem(path=str(folder), message=f"is a set of unknown use; {expected}") for folder in unknown]
    return [folder for folder in found if folder.name in SETS]


def _overlaps(tables: Sequence[LabelTable]) -> list[Problem]:
    """One problem for each video that two sets of one challenge share: its frames would be trained on and scored."""
    first: dict[tuple[str, str], Path] = {}
    problems = []
    for table in tables:
        for video in table.rows["video"].unique().sort():
            other = first.setdefault((table.source, video), table.path)
            if other != table.path:
                message = f"video {video} is in {other} too; a video belongs to one set, remove it from the other"
                problems.append(Problem(path=str(table.path), message=message))
    return problems


def _template_frames(folder: Path) -> pl.DataFrame:
    """`video` and `frame` of every row of the test templates; frame is null in lists of video names."""
    tables = [pl.DataFrame(schema={"video": pl.String, "frame": pl.Int32})]
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.txt")) if folder.is_dir() else []:
        lines = pl.Series(path.read_text(encoding="utf-8-sig").splitlines(), dtype=pl.String)
        name = lines.str.split(",").list.first().str.strip_chars()
        place = parse_locations(name).with_columns(name=name, line=pl.int_range(1, pl.len() + 1))
        place = place.filter((name != "") & ~name.is_in(["image", "image_location"]))
        plain = ~pl.col("name").str.contains("[/.]")
        bad = place.filter(pl.col("video").is_null() & ~plain)
        message = "is neither <video>/<frame>.jpg nor a video's name"
        problems += [
            Problem(path=str(path), line=row["line"], message=f"{row['name']!r} {message}") for row in bad.to_dicts()
        ]
        tables.append(place.select(pl.coalesce("video", "name").alias("video"), "frame"))
    if problems:
        raise BadInput(problems)
    return pl.concat(tables)


def _holds(folder: Path) -> str:
    return "it holds " + (", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "nothing")
