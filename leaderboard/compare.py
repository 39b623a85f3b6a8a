"""Whether one entry is better than another: a paired bootstrap over videos.

Both entries are scored on the same videos, drawn together, so what makes a video hard for both does not blur their
difference. What made the difference is told by class (each metric with its interval) and by video (how much the
difference shrinks without it). Who compares many entries finds differences by chance: p-values are adjusted by Holm's
method (1979) over the comparisons that are asked for, and it is said how many a board would allow.
Legend: R resamples, V videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import comb
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from abaw.intervals import Interval, interval_of, repeated_metrics, resampled_metrics
from abaw.metrics import BinaryCounts, Concordance, Confusion, Statistic, TrackStatistics
from abaw.problems import BadInput, Problem, refuse
from abaw.tracks import Track
from leaderboard.images import of_stills
from leaderboard.per_video import Counted, by_source
from leaderboard.tuning import AT_REVEAL, Tuning, total, ways_text

SIGNIFICANT = 0.05
SAME = 1e-4
"""Scores this near are of the same frames: a submission file holds four decimals."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One side of a comparison."""

    name: str
    counted: Sequence[Counted]
    tuning: Tuning | None = None
    """The three scores of what was tuned; None where nothing is known to be, and before the reveal."""
    tuned: bool = False
    """Also where the three scores wait for the reveal."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Which score of a side was compared, where the side was tuned on labels."""

    name: str
    compared: Literal["in-sample", "as submitted"]
    """in-sample: on the frames that the choice was made on. as submitted: it may be, which nothing tells."""
    scores: Mapping[str, float | None] | None
    """Untuned, in-sample and cross-fitted ranking score; None before the reveal of what may tell of private videos."""

    def __str__(self) -> str:
        """In words."""
        which = "its in-sample score, which is too good"
        if self.compared != "in-sample":
            which = "its score as submitted, which is too good if it was tuned on these videos"
        scores = ways_text(self.scores) if self.scores else f"three scores {AT_REVEAL}"
        return f"{self.name} was tuned on labels ({scores}); compared is {which}"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A metric of the first entry minus that of the second."""

    first: float
    second: float
    difference: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The first entry against a second one."""

    first: str
    second: str
    score: Difference
    p: float
    """Two-sided bootstrap p-value of no difference in the ranking score; at least 2 / (resamples + 1)."""
    adjusted_p: float
    """The same after Holm, over all comparisons that were asked for together."""
    metrics: dict[str, Difference]
    """Every metric, the largest difference first."""
    videos: dict[str, float]
    """What each video adds to the difference in score (with it minus without it), the largest first; a video that alone
    holds the labels of a task is left out."""
    tuned: Sequence[Side] = ()
    """The sides that were tuned on labels."""

    def as_json(self) -> dict[str, Any]:
        """The form that `leaderboard compare --json` prints."""
        return {
            "first": self.first,
            "second": self.second,
            "score": _plain(self.score),
            "p": self.p,
            "adjusted_p": self.adjusted_p,
            "metrics": {name: _plain(one) for name, one in self.metrics.items()},
            "videos": self.videos,
            "tuned": [asdict(side) for side in self.tuned],
        }


def compare(track: Track, contenders: Sequence[Contender]) -> list[Comparison]:
    """Compare the first with each of the others.

    Raises:
        BadInput: the entries were not scored on the same videos and labels, or on fewer than two videos; of stills.
    """
    first, *others = contenders
    if of_stills(track):
        raise refuse(first.name, f"the images of track {track.name} are stills: there are no videos to resample")
    own = by_source(track, first.counted)
    if len(own) < 2:
        raise refuse(first.name, "an interval over videos needs two videos or more with labels")
    _check_pairs(track, own, others)
    found = [_compare(track, first, own, other) for other in others]
    adjusted = holm([one.p for one in found])
    return [replace(one, adjusted_p=p) for one, p in zip(found, adjusted, strict=True)]


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm, 1979): each at least as large as the smaller ones, none above 1."""
    order = sorted(range(len(p)), key=lambda k: p[k])
    adjusted, largest = [0.0] * len(p), 0.0
    for place, k in enumerate(order):
        largest = max(largest, min(1.0, p[k] * (len(p) - place)))
        adjusted[k] = largest
    return adjusted


def warning(comparisons: int, ranked: int) -> str:
    """What to say of the number of comparisons: those asked for, and those that a board of ranked entries allows."""
    if comparisons > 1:
        return f"{comparisons} comparisons: judge them by the adjusted p (Holm), not by each interval"
    if ranked > 2:
        pairs = comb(ranked, 2)
        return (
            f"the board ranks {ranked} entries: if this pair was picked from its {pairs} pairs, take p below "
            f"{SIGNIFICANT}/{pairs} = {SIGNIFICANT / pairs:.2g} as a difference (Bonferroni), not {SIGNIFICANT}"
        )
    return ""


def _compare(track: Track, first: Contender, own: dict[str, TrackStatistics], other: Contender) -> Comparison:
    sides = list(own.values()), list(by_source(track, other.counted).values())
    whole = [_merged(track, side).compute() for side in sides]
    resampled = [resampled_metrics(track, side) for side in sides]
    metrics = {
        key: Difference(
            first=whole[0][key],
            second=whole[1][key],
            difference=whole[0][key] - whole[1][key],
            interval=interval_of(resampled[0][key] - resampled[1][key]),
        )
        for key in whole[0]
        if key in whole[1] and key in resampled[0]
    }
    p = _p_value(resampled[0][track.score] - resampled[1][track.score])
    score = metrics[track.score]
    return Comparison(
        first=first.name,
        second=other.name,
        score=score,
        p=p,
        adjusted_p=p,
        metrics=dict(sorted(metrics.items(), key=lambda item: -abs(item[1].difference))),
        videos=_shares(track, list(own), sides, score.difference),
        tuned=[*_tuned(track, first, score.first), *_tuned(track, other, score.second)],
    )


def _tuned(track: Track, side: Contender, score: float) -> list[Side]:
    """The side, where it was tuned: its score is the in-sample one where both are the same number."""
    if not side.tuned:
        return []
    scores = total(side.tuning, track)
    in_sample = (scores or {}).get("in_sample")
    same = in_sample is not None and abs(score - in_sample) < SAME
    return [Side(name=side.name, compared="in-sample" if same else "as submitted", scores=scores)]


def _p_value(difference_R: NDArray[np.float64]) -> float:
    found = difference_R[~np.isnan(difference_R)]
    side = min(np.count_nonzero(found <= 0), np.count_nonzero(found >= 0))
    return min(1.0, 2 * (1 + int(side)) / (1 + len(found)))


def _shares(
    track: Track, names: Sequence[str], sides: Sequence[Sequence[TrackStatistics]], difference: float
) -> dict[str, float]:
    """The difference minus the difference without each video."""
    each_once_VV = 1 - np.eye(len(names), dtype=np.int64)
    without = [repeated_metrics(track, side, each_once_VV) for side in sides]
    if not without[0]:
        return {}
    shares_V = difference - (without[0][track.score] - without[1][track.score])
    shares = {name: float(share) for name, share in zip(names, shares_V, strict=True) if not np.isnan(share)}
    return dict(sorted(shares.items(), key=lambda item: -abs(item[1])))


def _check_pairs(track: Track, own: dict[str, TrackStatistics], others: Sequence[Contender]) -> None:
    """Refuse entries that were scored on other videos, or against other labels."""
    problems = []
    for other in others:
        theirs = by_source(track, other.counted)
        differing = [
            video
            for video in sorted(set(own) | set(theirs))
            if video not in own or video not in theirs or not _same_labels(own[video], theirs[video])
        ]
        if differing:
            named = ", ".join(differing[:5]) + (f" and {len(differing) - 5} more" if len(differing) > 5 else "")
            message = f"was scored on other videos or labels than the first ({named}); compare on one --truth"
            problems.append(Problem(path=other.name, message=message))
    if problems:
        raise BadInput(problems)


def _same_labels(one: TrackStatistics, other: TrackStatistics) -> bool:
    return all(
        one.parts[name].n == other.parts[name].n
        and np.allclose(_labels(one.parts[name]), _labels(other.parts[name]), rtol=0, atol=1e-9)
        for name in (task.name for task in one.track.tasks)
    )


def _labels(part: Statistic) -> NDArray[Any]:
    """What a statistic knows of the labels alone: how often each class is true, or their mean."""
    if isinstance(part, Concordance):
        return np.asarray(part.state[2] + part.state[4])
    assert isinstance(part, Confusion | BinaryCounts)
    return np.asarray(part.matrix.sum(axis=1) if isinstance(part, Confusion) else part.state[3])


def _merged(track: Track, videos: Sequence[TrackStatistics]) -> TrackStatistics:
    whole = TrackStatistics(track)
    whole.merge(*videos)
    return whole


def _plain(one: Difference) -> dict[str, Any]:
    ends = [one.interval.low, one.interval.high]
    return {"first": one.first, "second": one.second, "difference": one.difference, "interval": ends}
