"""Clean files scored as they lie: the frames of each video, predicted and true, are found by number and counted.

Names are never joined as text: most files state the frames of a video in the same order as the truth, and where one has
more of them they are looked up. What cannot be scored so is left to `leaderboard.scoring`, which says what is wrong.
Legend: N rows (frames), D label columns.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abaw.metrics import TrackStatistics
from abaw.tracks import Track
from leaderboard.clean import Clean, read_clean
from leaderboard.images import of_stills
from leaderboard.per_video import Counted


def read_both(path: Path, truth_path: Path, track: Track) -> tuple[Clean, Clean] | None:
    """A submission file and its truth, read side by side; None where one of them is not clean, and for stills."""
    if of_stills(track):
        return None
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_clean, truth_path, track, truth=True)
        predicted, truth = read_clean(path, track), reading.result()
    return (predicted, truth) if predicted and truth else None


def count_clean(predicted: Clean, truth: Clean, track: Track) -> list[Counted] | None:
    """What each video adds to the score, sorted by video; None where a labelled frame or every label is missing."""
    places = _places(track)
    counted = []
    for video in sorted(truth.videos):
        rows = truth.videos[video]
        frame_N, true_DN = truth.frame_N[rows], truth.values_DN[:, rows]
        known: dict[str, Any] = dict.fromkeys(places, slice(None))
        if not truth.complete:
            known = {name: ~np.isnan(true_DN[own]).any(axis=0) for name, own in places.items()}
            labelled_N = np.logical_or.reduce(list(known.values()))
            frame_N, true_DN = frame_N[labelled_N], true_DN[:, labelled_N]
            known = {name: known_N[labelled_N] for name, known_N in known.items()}
        decided_DN = _decided(predicted, video, frame_N)
        if decided_DN is None:
            return None
        if len(frame_N):
            statistics = TrackStatistics(track)
            for name, own in places.items():
                # What a clean file states is allowed: it is not looked at again.
                statistics.parts[name].count(decided_DN[own, known[name]].T, true_DN[own, known[name]].T)
            counted.append(Counted(video=video, fold=None, frames=len(frame_N), statistics=statistics))
    labelled = all(any(one.statistics.parts[task.name].n for one in counted) for task in track.tasks)
    return counted if labelled else None


def _places(track: Track) -> dict[str, slice]:
    """The columns of each task among those of the track."""
    ends = np.cumsum([len(task.label_columns) for task in track.tasks]).tolist()
    return {task.name: slice(end - len(task.label_columns), end) for task, end in zip(track.tasks, ends, strict=True)}


def _decided(predicted: Clean, video: str, frame_N: NDArray[np.int32]) -> NDArray[np.float64] | None:
    """What is predicted (D, N) for these frames of a video; None where one is missing."""
    rows = predicted.videos.get(video, slice(0, 0))
    own_M, values_DM = predicted.frame_N[rows], predicted.values_DN[:, rows]
    if np.array_equal(own_M, frame_N):
        return values_DM
    places_N = np.searchsorted(own_M, frame_N)
    if len(frame_N) and (places_N[-1] == len(own_M) or (own_M[places_N] != frame_N).any()):
        return None
    return values_DM[:, places_N]
