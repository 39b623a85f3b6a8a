"""From a planned clip to its labels and its JPEG files. A pure function of the clip and the data set's seed."""

import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abaw.faces.acting import Performance, make_style, perform
from abaw.faces.annotators import annotate, leave_gaps
from abaw.faces.camera import Camera, develop, make_camera
from abaw.faces.film import Moment, Renderer
from abaw.faces.people import Person, make_person
from abaw.faces.plan import TASKS, Clip, seed_of
from abaw.tracks import AU

Doubles = NDArray[np.float64]

GAP = 0.12
"""Share of a video that an annotator with gaps leaves out."""
_SPARE = 4  # frames acted beyond the last one: label files may be longer than the video


def act(clip: Clip, seed: int) -> Performance:
    """The clip's performance; a few frames longer than the clip."""
    style = make_style(seed_of(seed, "style", clip.person))
    return perform(seed_of(seed, "act", clip.name), style, clip.expressions, clip.frames + _SPARE, clip.fps)


def labels_of(clip: Clip, seed: int) -> dict[str, Doubles]:
    """What the annotators of each task write: (lines, D), NaN where they left a frame or a value out.

    Videos of the test set have complete labels of every task.
    """
    complete = annotate(seed_of(seed, "annotate", clip.name), act(clip, seed), clip.fps)
    rng = np.random.default_rng(seed_of(seed, "gaps", clip.name))
    labels = {}
    for task in TASKS if clip.split == "test" else clip.tasks:
        labels_ND = complete[task][: clip.frames + clip.extra_labels]
        if task in clip.gaps:
            labels_ND = leave_gaps(rng, labels_ND, GAP)
            if task == AU.name:  # a single unit that could not be judged spoils the frame, too
                labels_ND[rng.integers(len(labels_ND), size=2), rng.integers(labels_ND.shape[1], size=2)] = np.nan
        labels[task] = labels_ND
    return labels


@lru_cache(maxsize=4)
def person_of(name: str, seed: int) -> Person:
    """The person of that name in the data set with that seed."""
    return make_person(seed_of(seed, "person", name))


def camera_of(name: str, seed: int, size: int) -> Camera:
    """The camera of that name in the data set with that seed."""
    return make_camera(seed_of(seed, "camera", name), size)


def shoot(clip: Clip, seed: int, size: int, frames: list[int]) -> Iterator[tuple[int, bytes]]:
    """JPEG bytes of the wanted frames (from 1), in order. The noise of a frame depends on its number alone."""
    performance, camera = act(clip, seed), camera_of(clip.camera, seed, size)
    renderer = Renderer(person_of(clip.person, seed), camera.light, camera.background_HW3, size)
    for frame in frames:
        rng = np.random.default_rng(seed_of(seed, "noise", clip.name, frame))
        crop_HW3 = renderer.draw(_moment(performance, camera, frame - 1, rng))
        yield frame, develop(camera, crop_HW3, frame / clip.frames, rng)


def _moment(performance: Performance, camera: Camera, t: int, rng: np.random.Generator) -> Moment:
    gaze_2, turn_3, wobble_3 = performance.gaze_T2[t], performance.turn_T3[t], camera.jitter * rng.standard_normal(3)
    return Moment(
        left_U=performance.left_TU[t],
        right_U=performance.right_TU[t],
        gaze=(float(gaze_2[0]), float(gaze_2[1])),
        turn=(float(turn_3[0]), float(turn_3[1]), float(turn_3[2])),
        shift=(float(camera.shift[0] + wobble_3[0]), float(camera.shift[1] + wobble_3[1])),
        zoom=float(camera.zoom * (1 + wobble_3[2])),
    )


def film(clip: Clip, out: Path, *, seed: int, size: int) -> int:
    """Write the crops of a clip and return their number; its folder appears whole or not at all, and is kept."""
    folder = out / clip.folder
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    lost = set(clip.missing)
    frames = [frame for frame in range(1, clip.frames + 1) if frame not in lost]
    if folder.exists():
        return len(frames)
    unfinished.mkdir(parents=True)
    for frame, jpeg in shoot(clip, seed, size, frames):
        (unfinished / f"{frame:05d}.jpg").write_bytes(jpeg)
    # A task that Ray runs a second time makes the same bytes: whoever comes first wins.
    if folder.exists():
        shutil.rmtree(unfinished)
    else:
        unfinished.rename(folder)
    return len(frames)
