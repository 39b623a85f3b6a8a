"""The space of the smoothing search of one task, and the candidate at each of its points.

Widths are taken from a grid, finer than their effect, so that candidates share filters. A detail filter that is wider
than the base filter counts as one of the same width.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from abaw.postprocess.smoothing import Smoothing
from abaw.search.evaluation import Candidate, SearchData, TaskData
from abaw.search.space import Choice, Float, Int, Space

WIDTHS = (0.0, *np.geomspace(0.7, 100.0, 16).round(2).tolist())
"""In frames. A window of +-50 frames, which public entries use, is about as wide as a filter of 29."""
GAP_LIMITS = (0, 5, 25, 125)
"""In frames; 0 sets none. Only those that cut some video are tried."""
MOST_BIAS = {"binary": 3.0, "classes": 2.0}
"""By kind of task. A bias of 3 puts a threshold at .047, one of -3 at .953."""
STARTS = ((0.0, 0.0, 0.0), (12.0, 4.0, 2.0), (3.0, 0.0, 0.0), (8.0, 0.0, 0.0), (29.0, 0.0, 0.0))
"""First trials: no smoothing, the default of `Smoothing`, plain Gaussians."""


def space_of(own: TaskData, data: SearchData, *, decisions: bool) -> Space:
    """Places of the three widths in `WIDTHS`, the gap limit, and with `decisions` a bias for each unit or class."""
    task = own.track.tasks[0]
    space: dict[str, Float | Int | Choice] = {
        name: Int(low=0, high=len(WIDTHS) - 1) for name in ("width1", "width2", "width3")
    }
    longest = max(int(np.diff(data.frame_N[rows].astype(np.int64)).max(initial=1)) - 1 for rows in data.videos)
    if limits := [limit for limit in GAP_LIMITS if 0 < limit < longest]:
        space["gap_limit"] = Choice((0, *limits))
    if decisions and task.kind in MOST_BIAS:
        most = MOST_BIAS[task.kind]
        space |= {f"bias {column}": Float(low=-most, high=most) for column in task.columns}
    return space


def start_points(space: Space) -> list[dict[str, Any]]:
    """What is tried first: `STARTS`, without a gap limit and without a bias."""
    rest = {name: 0 if name == "gap_limit" else 0.0 for name in space if not name.startswith("width")}
    return [
        rest | {f"width{n}": int(np.abs(np.array(WIDTHS) - width).argmin()) for n, width in enumerate(start, 1)}
        for start in STARTS
    ]


def candidate_at(point: Mapping[str, Any]) -> Candidate:
    """The candidate at a point of the space."""
    widths = [WIDTHS[min(point["width1"], point[name])] for name in ("width1", "width2", "width3")]
    smoothing = Smoothing(
        sigma1=widths[0], sigma2=widths[1], sigma3=widths[2], gap_limit=int(point.get("gap_limit", 0))
    )
    bias = tuple(round(value, 4) for name, value in point.items() if name.startswith("bias "))
    return Candidate(smoothing=smoothing, bias=bias)
