"""Aff-Wild2 as the organisers deliver it, from the first challenge to the tenth: crops and labels in one frame table.

Crops: `<root>/**/<video>/%05d.jpg` under `cropped_aligned`, `cropped_aligned_new_50_vids` or `images`. Labels:
`<annotations>/<challenge>/{Train_Set,Validation_Set}/<video>.txt`; `training_set_annotations.txt` and
`validation_set_annotations.txt` of the multi-task challenge; `test_templates/*.txt`. The folders of 2020 and 2021
(AU_Set, EXPR_Set, VA_Set) hold eight action units or twelve, seven expressions or eight: the header says which.
Videos are matched by equal names: 64 of the 594 names are a substring of another. Labels without a crop and crops
without a label stay in the table, so that nothing is left out without being counted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from abaw.annotations import annotation_sets, label_files, parse_locations, read_annotations, read_mtl_list
from abaw.data.coverage import count_coverage, describe_coverage
from abaw.data.files import Drops
from abaw.data.frames import KEY, Collection, drop_table, frame_table
from abaw.data.images import find_images
from abaw.data.labels import LabelTable, merge_labels, misfit_drops, videos_of
from abaw.data.storage import shown
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import ACTION_UNITS, TRACKS, Task, Track

CHALLENGES = {"va": ("va",), "expr": ("expr", "expr2020"), "au": ("au", "au2020")}
"""The tracks of each task; a track of 2020 has other columns."""
SETS = {"Train_Set": "train", "Training_Set": "train", "Validation_Set": "validation"}
LISTS = {"training_set_annotations.txt": "train", "validation_set_annotations.txt": "validation"}
IMAGE_FOLDERS = ("cropped_aligned", "cropped_aligned_new_50_vids", "images")
TEMPLATES, HELD_OUT = "test_templates", "held_out_truth"

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class Delivery(Collection):
    """What was delivered: every frame that has a crop or a label; `path` is null where there is no crop."""

    videos: pl.DataFrame
    """One row a video, see `abaw.data.labels.videos_of`."""
    conflicts: dict[str, int]
    """By task, frames whose multi-task label contradicts the challenge's own label; the latter is the one used."""
    unplaced: dict[str, int]
    """Labels by the name of an action unit of 2020 that is none of the twelve: they are counted and not used."""

    def coverage(self) -> pl.DataFrame:
        """Counts a video: labelled, cropped, both, neither."""
        return count_coverage(self.frames, self.videos)

    def coverage_markdown(self) -> str:
        """The same for a person, with everything that is odd about the delivery."""
        return describe_coverage(self.coverage(), conflicts=self.conflicts, unplaced=self.unplaced, drops=self.drops)


def read_affwild2(
    root: Path, *, images: Sequence[Path] = (), annotations: Path | None = None, template: Path | None = None
) -> Delivery:
    """Read a delivery; no image is opened.

    Args:
        root: holds everything in the layout above.
        images: folders of crops, where they are not below `root` under their usual names.
        annotations: folder that holds the challenge folders, where it is not `root` or at most two folders down.
        template: a test template that lies outside `test_templates`; its videos are the split `test`.

    A value that is no label is null and a row of the drop table. Raises BadInput for what would shift or mix labels:
    missing folders, wrong headers, lines with another number of values, videos in two sets.
    """
    if not root.is_dir():
        raise refuse(root, "no such folder; expected the organisers' delivery: crops, annotations, lists")
    problems: list[Problem] = []
    misfits: list[Problem] = []
    unreadable: Drops = []
    places = _places(root, unreadable)
    found = _attempt(problems, lambda: find_images(_image_roots(root, images)))
    named = _attempt(problems, lambda: _template_frames(_templates(root, template)))
    label_root = annotations or _attempt(problems, lambda: _annotation_root(root, places))
    if label_root:
        places += _places(label_root, unreadable)
    tables = _read_labels(label_root, places, problems, misfits) if label_root else []
    if problems:
        raise BadInput(problems)
    assert found is not None
    assert named is not None
    crops, drops = found
    videos = videos_of(tables, crops=crops, named=named)
    labels, conflicts = merge_labels(tables)
    rows = crops.join(labels, on=KEY, how="full", coalesce=True).join(videos.select("video", "split"), on="video")
    return Delivery(
        frames=frame_table(rows),
        drops=drop_table(dict.fromkeys([*drops, *unreadable, *misfit_drops(misfits)])),
        track="mtl",
        videos=videos,
        conflicts=conflicts,
        unplaced=_unplaced(tables),
    )


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


def _annotation_root(root: Path, places: Sequence[Path]) -> Path:
    """The only one of `places` that holds challenge folders; `root` where there are lists alone."""
    names = _challenge_folders()
    holding = [folder for folder in places if any((folder / name).is_dir() for name in names)]
    if len(holding) > 1:
        raise refuse(root, f"several folders hold annotations: {', '.join(map(str, holding))}; name the one to read")
    if not holding and not any((folder / name).is_file() for folder in places for name in LISTS):
        looked = ", ".join([*names, *LISTS])
        raise refuse(root, f"no annotations, here or two folders down; looked for {looked}; {_holds(root)}")
    return holding[0] if holding else root


def _challenge_folders() -> list[str]:
    return [name for tracks in CHALLENGES.values() for track in tracks for name in TRACKS[track].folders]


def _places(top: Path, unreadable: Drops, *, down: int = 2) -> list[Path]:
    """`top` and the folders down from it that may hold challenge folders or lists."""
    skipped = {HELD_OUT, TEMPLATES, *IMAGE_FOLDERS, *_challenge_folders()}
    try:
        inside = [path for path in top.iterdir() if path.name not in skipped and path.is_dir()] if down else []
        next(iter(top.iterdir()), None)
    except OSError as error:
        unreadable.append((shown(str(top)), f"folder cannot be read: {error.strerror or error}"))
        return []
    return [top, *(place for path in sorted(inside, key=str) for place in _places(path, unreadable, down=down - 1))]


def _read_labels(
    label_root: Path, places: Sequence[Path], problems: list[Problem], misfits: list[Problem]
) -> list[LabelTable]:
    """The label files of every challenge and set below `label_root`, and the multi-task lists in `places`."""
    tables = []
    for challenge, names in CHALLENGES.items():
        tracks = [TRACKS[name] for name in names]
        for folder in [folder for track in tracks for folder in _sets(label_root, track, problems)]:
            task = _task_of(folder, [track.tasks[0] for track in tracks])
            rows = _attempt(problems, partial(read_annotations, folder, task, misfits=misfits))
            if rows is not None:
                tables.append(LabelTable(source=challenge, split=SETS[folder.name], path=folder, rows=rows))
    folders = {folder.resolve(): folder for folder in places}.values()  # one folder may be spelled in two ways
    for path in [folder / name for folder in folders for name in LISTS]:
        rows = _attempt(problems, partial(read_mtl_list, path, misfits=misfits)) if path.is_file() else None
        if rows is not None:
            tables.append(LabelTable(source="mtl", split=LISTS[path.name], path=path, rows=rows))
    problems += _overlaps(tables)
    return tables


def _task_of(folder: Path, tasks: Sequence[Task]) -> Task:
    """The task whose columns the first label file's header names; the first task where it names none of them."""
    try:
        first = label_files(folder)[0].read_bytes().split(b"\n", 1)[0].decode("utf-8-sig", "replace")
    except OSError:
        return tasks[0]  # the reader says why it cannot be read
    header = tuple(name.strip() for name in first.split(","))
    return next((task for task in tasks if task.columns == header), tasks[0])


def _unplaced(tables: Sequence[LabelTable]) -> dict[str, int]:
    """Number of labels of each action unit of 2020 that is none of the twelve."""
    units = [name for name in TRACKS["au2020"].columns if name not in ACTION_UNITS]
    counts = {unit: sum(table.rows[unit].count() for table in tables if unit in table.rows.columns) for unit in units}
    return {unit: count for unit, count in counts.items() if count}


def _sets(label_root: Path, track: Track, problems: list[Problem]) -> list[Path]:
    """The set folders of a challenge; a challenge folder without one and a set of another name are problems."""
    found = _attempt(problems, lambda: annotation_sets(label_root, track))
    if found is None:
        return []
    challenges = [label_root / name for name in track.folders if (label_root / name).is_dir()]
    known = [folder / name for folder in challenges for name in SETS if (folder / name).is_dir()]
    empty = [folder for folder in known if folder not in found]
    empty += [folder for folder in challenges if folder not in {path.parent for path in known + found}]
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


def _templates(root: Path, template: Path | None) -> list[Path]:
    folder = root / TEMPLATES
    return [*(sorted(folder.glob("*.txt")) if folder.is_dir() else []), *([template] if template else [])]


def _template_frames(paths: Sequence[Path]) -> pl.DataFrame:
    """`video` and `frame` of every row of the test templates; frame is null in lists of video names."""
    tables = [pl.DataFrame(schema={"video": pl.String, "frame": pl.Int32})]
    problems: list[Problem] = []
    for path in paths:
        try:
            lines = pl.Series(path.read_bytes().decode("utf-8-sig").splitlines(), dtype=pl.String)
        except (OSError, UnicodeDecodeError) as error:
            problems.append(Problem(path=str(path), message=f"cannot be read as text: {error}"))
            continue
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
