"""Frames a second that one core renders and encodes at 112x112, and where the time goes. Prints a line of JSON.

    python benchmarks/faces.py

Times are processor time of this process. The best video is the one that other work on the machine disturbed least. The
limit is the JPEG encoder alone.
"""

import os

for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"

import json  # noqa: E402  the number of threads is read at import
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402
import simplejpeg  # noqa: E402
from account import account  # noqa: E402
from targets import target  # noqa: E402

from abaw.faces.camera import develop  # noqa: E402
from abaw.faces.film import Moment, Renderer  # noqa: E402
from abaw.faces.filming import act, camera_of, person_of, shoot  # noqa: E402
from abaw.faces.plan import plan_videos, seed_of  # noqa: E402

SEED, SIZE, VIDEOS = 0, 112, 8
WANTED = 200  # frames a second


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds that `work` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    clips = plan_videos(videos=VIDEOS, test_videos=1, frames=60, seed=SEED)
    next(shoot(clips[0], SEED, SIZE, [1]))  # compile or load the renderer
    rates = []
    for clip in clips:
        spent = seconds(lambda clip=clip: list(shoot(clip, SEED, SIZE, list(range(1, clip.frames + 1)))))
        rates.append(clip.frames / spent)
    clip = clips[0]
    camera, performance = camera_of(clip.camera, SEED, SIZE), act(clip, SEED)
    renderer = Renderer(person_of(clip.person, SEED), camera.light, camera.background_HW3, SIZE)
    moments = [
        Moment(left_U=left_U, right_U=right_U)
        for left_U, right_U in zip(performance.left_TU, performance.right_TU, strict=True)
    ]
    rng = np.random.default_rng(seed_of(SEED, "benchmark"))
    crops = [renderer.draw(moment) for moment in moments]
    draw = seconds(lambda: [renderer.draw(moment) for moment in moments]) / len(moments)
    store = seconds(lambda: [develop(camera, crop_HW3, 0.5, rng) for crop_HW3 in crops]) / len(crops)
    person = seconds(lambda: [person_of(f"somebody {k}", SEED) for k in range(4)]) / 4
    pixels = [simplejpeg.decode_jpeg(develop(camera, crop_HW3, 0.5, rng)) for crop_HW3 in crops]
    how = {"quality": camera.quality, "colorsubsampling": "420"}
    encode = seconds(lambda: [simplejpeg.encode_jpeg(one, **how) for one in pixels]) / len(pixels)
    parts = {"rendering": draw, "camera and JPEG": store, "a new person, once a video": person / clip.frames}
    found = account("a frame", parts, limit=f"JPEG encoder alone, {1 / encode:,.0f} frames/s", limit_s=encode)
    rate = round(float(np.median(rates)))
    rounds = [round(one) for one in rates]
    figures = {
        "videos": len(clips),
        "frames_per_s": rounds,
        "render_ms_a_frame": round(draw * 1e3, 2),
        "camera_and_jpeg_ms_a_frame": round(store * 1e3, 2),
        "new_person_ms_a_video": round(person * 1e3),
        "targets": [target(f"rendering {SIZE}x{SIZE} on one core", rate, unit="frames/s", rounds=rounds, least=WANTED)],
        "accounts": [found],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
