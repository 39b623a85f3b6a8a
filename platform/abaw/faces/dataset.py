"""Write the embedded data set: rendered people who act out videos, in the organisers' layout.

The driver plans, acts and annotates, which takes seconds; Ray Data spreads the rendering over the machine or cluster,
one task a video. Every number comes from (seed, name of the thing), so the bytes do not depend on who computes what.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from abaw.faces.filming import film
from abaw.faces.layout import TRUTH, write_labels
from abaw.faces.plan import Clip, plan_pool, plan_videos
from abaw.faces.sheet import write_sheet
from abaw.faces.stills import Still, plan_stills, take, write_still_lists
from abaw.problems import BadInput, Problem, refuse


@dataclass(frozen=True, kw_only=True)
class FacesConfig:
    """Size and seed of the embedded data set."""

    videos: int = 40
    """Labelled videos; a fifth of them is the validation set."""
    frames: int = 120
    """Mean number of frames a video; videos have from two thirds to four thirds of it."""
    test_videos: int = 12
    """Videos of the test set, whose labels are kept apart."""
    pool_people: int = 24
    """People of the unlabelled pool for pre-training; none of them is in a labelled video."""
    pool_frames: int = 60
    """Frames of each person of the pool."""
    lsd_people: int = 10
    """People on the single images of the LSD challenge, 30 images each."""
    size: int = 112
    """Side of the crops, in pixels."""
    seed: int = 0
    """Other seed, other people, videos and labels; the same seed gives the same bytes."""


@dataclass(frozen=True, kw_only=True)
class FacesSummary:
    """What was written."""

    videos: int
    """Labelled and test videos."""
    people: int
    """Different people, those of the pool and of LSD included."""
    crops: int
    """JPEG files of the videos."""
    pool_crops: int
    lsd_images: int
    missing_crops: int
    """Frames of the videos without a crop, on purpose."""
    labels: dict[str, int]
    """Lines by label file kind and split."""


LEAST = {"videos": 5, "frames": 8, "test_videos": 1, "pool_people": 0, "pool_frames": 1, "lsd_people": 3, "size": 32}


def write_faces(
    out: Path, config: FacesConfig, *, progress: bool = True, workers: int | None = None, resume: bool = False
) -> FacesSummary:
    """Write the data set into `out`, which must be empty or absent; `manifest.json` is written last.

    Args:
        out: folder.
        config: size and seed.
        progress: show a bar on stderr.
        workers: most videos rendered at a time; as many as Ray has CPUs when None.
        resume: `out` may hold what a killed run of the same config left; its complete videos are kept.

    Raises:
        BadInput: `out` is not empty, or a size is too small.
    """
    _check(out, config, resume=resume)
    clips = plan_videos(videos=config.videos, test_videos=config.test_videos, frames=config.frames, seed=config.seed)
    pool = plan_pool(people=config.pool_people, frames=config.pool_frames, seed=config.seed)
    stills = plan_stills(people=config.lsd_people, seed=config.seed)
    for folder in ("cropped_aligned", "pool", "lsd/test", TRUTH):
        (out / folder).mkdir(parents=True, exist_ok=True)
    # The sheet is drawn first: it compiles the renderer, once for all workers of this machine.
    write_sheet(clips, out / "contact_sheet.png", seed=config.seed, size=config.size)
    labels = write_labels(clips, out, config.seed)
    write_still_lists(stills, out)
    counts = _render([*clips, *pool, *stills], out, config, progress=progress, workers=workers)
    summary = FacesSummary(
        videos=len(clips),
        people=len({clip.person for clip in [*clips, *pool, *(still.clip for still in stills)]}),
        crops=sum(counts[: len(clips)]),
        pool_crops=sum(counts[len(clips) : len(clips) + len(pool)]),
        lsd_images=sum(counts[len(clips) + len(pool) :]),
        missing_crops=sum(len(clip.missing) for clip in clips),
        labels=labels,
    )
    _describe(out, config, summary, clips)
    return summary


def _check(out: Path, config: FacesConfig, *, resume: bool) -> None:
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not resume)):
        raise refuse(
            out, "is not empty; the data set needs a folder of its own: name a new one, or delete this one first"
        )
    problems = [
        Problem(
            path=f"--{name.replace('_', '-')}", message=f"{getattr(config, name)} is too small; the least is {least}"
        )
        for name, least in LEAST.items()
        if getattr(config, name) < least
    ]
    if config.seed < 0:
        problems.append(Problem(path="--seed", message=f"{config.seed} is negative; seeds count from 0"))
    if problems:
        raise BadInput(problems)


def _work(job: Clip | Still, out: Path, config: FacesConfig) -> int:
    if isinstance(job, Still):
        return take(job, out, seed=config.seed, size=config.size)
    return film(job, out, seed=config.seed, size=config.size)


def _render(
    jobs: Sequence[Clip | Still], out: Path, config: FacesConfig, *, progress: bool, workers: int | None
) -> list[int]:
    """Images written by each job."""
    counts = [0] * len(jobs)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("rendering faces", total=len(jobs))
        for row in _rows(jobs, out.resolve(), config, workers):
            counts[row["job"]] = row["images"]
            bar.advance(task)
    return counts


def _rows(
    jobs: Sequence[Clip | Still], out: Path, config: FacesConfig, workers: int | None
) -> Iterator[dict[str, Any]]:
    """Run the jobs on Ray Data; rows of `job` (its number) and `images`, as they are done."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray  # Ray reads its environment at import

    own = not ray.is_initialized()
    if own:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="warning")
    context = ray.data.DataContext.get_current()
    bars = context.enable_progress_bars
    try:
        context.enable_progress_bars = False  # ours counts videos, Ray's counts blocks
        logging.getLogger("ray.data").setLevel(logging.ERROR)

        def film(row: dict[str, Any]) -> dict[str, Any]:
            return {"job": row["job"], "images": _work(jobs[row["job"]], out, config)}

        items = [{"job": k} for k in range(len(jobs))]
        done = ray.data.from_items(items, override_num_blocks=min(len(jobs), 64)).map(film, concurrency=workers)
        done.set_name("faces")  # on the dashboard
        yield from done.iter_rows()
    finally:
        context.enable_progress_bars = bars
        if own:
            ray.shutdown()


def _describe(out: Path, config: FacesConfig, summary: FacesSummary, clips: list[Clip]) -> None:
    """`README.md` for people, and at last `manifest.json`, whose presence says that everything is there."""
    names = [clip.name for clip in clips]
    traps: dict[str, dict[str, Any] | list[str]] = {
        "missing_crops": {clip.name: list(clip.missing) for clip in clips if clip.missing},
        "annotation_gaps": {clip.name: list(clip.gaps) for clip in clips if clip.gaps},
        "extra_label_lines": {clip.name: clip.extra_labels for clip in clips if clip.extra_labels},
        "not_in_every_challenge": {clip.name: list(clip.tasks) for clip in clips if len(clip.tasks) < 3},
        "two_people_in_one_video": [clip.name for clip in clips if clip.name != clip.camera],
        "substring_of_another_name": [a for a in names if any(a != b and a in b for b in names)],
    }
    lines = [
        "# The embedded faces",
        "",
        f"People who act out {summary.videos} videos, in the organisers' layout. Made by `abaw prepare faces`.",
        "",
        "| what | where | how many |",
        "|---|---|---|",
        f"| crops | `cropped_aligned/<video>/%05d.jpg` | {summary.crops:,} |",
        "| labels of the three challenges | `annotations/` | line k after the header is frame k |",
        "| multi-task lists | `training_set_annotations.txt`, `validation_set_annotations.txt` | sparse frames |",
        "| rows of a submission | `test_templates/` | frames without a crop, too |",
        f"| truth of the test videos | `{TRUTH}/` | to score with, never to train on |",
        f"| other people, no labels | `pool/<person>/%05d.jpg` | {summary.pool_crops:,} |",
        f"| single images | `lsd/` | {summary.lsd_images:,} |",
        "",
        "Odd on purpose, as Aff-Wild2 is; `manifest.json` says where:",
        "",
        *(f"- {name.replace('_', ' ')}: {len(found)} videos" for name, found in traps.items()),
        "",
        "The people do not exist. The head they are made from is CC0: see `abaw/faces/NOTICE.md` of the package.",
    ]
    (out / "README.md").write_text("\n".join(lines) + "\n")
    manifest = {"config": asdict(config), "summary": asdict(summary), "traps": traps}
    unfinished = out / ".manifest.json.unfinished"
    unfinished.write_text(json.dumps(manifest, indent=2) + "\n")
    unfinished.replace(out / "manifest.json")
