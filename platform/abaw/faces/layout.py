"""The label files of the data set in the organisers' layout: annotation folders, multi-task lists, test templates.

Truth of the test videos goes to `held_out_truth` and nowhere else.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.annotations import format_location, write_annotation, write_mtl_list
from abaw.faces.filming import labels_of
from abaw.faces.plan import Clip, seed_of
from abaw.tracks import TRACKS, get_track

Doubles = NDArray[np.float64]

SETS = {"train": "Train_Set", "validation": "Validation_Set", "test": "Test_Set"}
LISTS = {"train": "training_set_annotations.txt", "validation": "validation_set_annotations.txt"}
TRUTH = "held_out_truth"
CHALLENGES = ("va", "expr", "au")


def write_labels(clips: list[Clip], out: Path, seed: int) -> dict[str, int]:
    """Write every label file; returns how many label lines and list rows there are, by file kind."""
    labels = {clip.name: labels_of(clip, seed) for clip in clips}
    counts: dict[str, int] = {}
    for name in CHALLENGES:
        folder = next(one for one in reversed(TRACKS[name].folders) if one.endswith("_Challenge"))
        for clip in clips:
            if name in clip.tasks:
                root = out / (TRUTH if clip.split == "test" else "annotations") / folder / SETS[clip.split]
                root.mkdir(parents=True, exist_ok=True)
                write_annotation(root / f"{clip.name}.txt", TRACKS[name].tasks[0], labels[clip.name][name])
                key = f"{name}_{clip.split}"
                counts[key] = counts.get(key, 0) + len(labels[clip.name][name])
    tables = {split: mtl_table([c for c in clips if c.split == split], labels, seed) for split in SETS}
    for split, file in LISTS.items():
        write_mtl_list(out / file, tables[split])
    write_mtl_list(out / TRUTH / "mtl.txt", tables["test"])
    _write_templates([clip for clip in clips if clip.split == "test"], tables["test"], out)
    return counts | {f"mtl_{split}": len(table) for split, table in tables.items()}


def mtl_table(clips: list[Clip], labels: dict[str, dict[str, Doubles]], seed: int) -> pl.DataFrame:
    """The multi-task list of some clips: sparse frames, null where a task is not annotated.

    Training rows have a crop and at least one label; a few test rows have no crop, as submissions must cover those too.
    """
    parts = [_mtl_rows(clip, labels[clip.name], seed) for clip in clips]
    columns = get_track("mtl").label_columns
    rows_ND = np.concatenate([rows for _, rows in parts])
    videos = [clip.name for clip, (frames, _) in zip(clips, parts, strict=True) for _ in frames]
    table = pl.DataFrame(
        {"video": videos, "frame": [frame for frames, _ in parts for frame in frames]}
        | {name: pl.Series(rows_ND[:, k], nan_to_null=True) for k, name in enumerate(columns)}
    )
    integers = [pl.col(name).cast(pl.Int8) for name in columns[2:]]
    return table.with_columns(pl.col("frame").cast(pl.Int32), *integers)


def _mtl_rows(clip: Clip, labels: dict[str, Doubles], seed: int) -> tuple[list[int], Doubles]:
    rng = np.random.default_rng(seed_of(seed, "sparse", clip.name))
    sparse = np.cumsum([1, *rng.integers(2, 9, clip.frames)])
    last = min([clip.frames, *(len(labels_ND) for labels_ND in labels.values())])
    lost = set() if clip.split == "test" else set(clip.missing)
    frames = [int(frame) for frame in sparse if frame <= last and frame not in lost]
    place_N = np.array(frames, dtype=np.int64) - 1
    widths = {task.name: len(task.label_columns) for task in get_track("mtl").tasks}
    blank = {name: np.full((len(frames), width), np.nan) for name, width in widths.items()}
    rows_ND = np.concatenate([labels[name][place_N] if name in labels else blank[name] for name in widths], axis=1)
    kept_N = ~np.isnan(rows_ND).all(axis=1)
    return [frame for frame, keep in zip(frames, kept_N, strict=True) if keep], rows_ND[kept_N]


def _write_templates(clips: list[Clip], mtl: pl.DataFrame, out: Path) -> None:
    """The rows that a submission must have: each line an image and a bare comma, as the organisers publish them."""
    folder = out / "test_templates"
    folder.mkdir(exist_ok=True)
    images = {
        name: [format_location(c.name, f) for c in clips if name in c.tasks for f in range(1, c.frames + 1)]
        for name in CHALLENGES
    }
    images["mtl"] = [format_location(video, frame) for video, frame in mtl.select("video", "frame").iter_rows()]
    for name, rows in images.items():
        lines = [",".join(get_track(name).submission_header), *(f"{image}," for image in rows)]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
