"""What tuning is worth: the score untuned, fitted in-sample, and cross-fitted by video.

A number tuned on a validation set overfits it. So of every tuned choice three scores are told: without it, on the
frames that it was chosen on, and cross-fitted: each part of the videos is scored with the candidate that is best on the
other parts, and the statistics of all parts are pooled into one score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from abaw.metrics import TrackStatistics
from abaw.tracks import Track


@dataclass(frozen=True, kw_only=True)
class ThreeWays:
    """Which candidate to take, and its score told three ways."""

    best: int
    """Candidate with the best score over all parts; the first one on a tie."""
    best_elsewhere: tuple[int, ...]
    """For each part the candidate that is best on the other parts, and that the part is scored with."""
    untuned: float
    in_sample: float
    cross_fitted: float


def three_ways(track: Track, candidates: Sequence[Sequence[TrackStatistics]]) -> ThreeWays:
    """Compare candidates by their statistics on the same parts (two or more) of the videos.

    Candidate 0 is the untuned one; it is taken where the other parts hold no labelled frame.

    Raises:
        ValueError: no part has a labelled frame.
    """
    assert track.higher_is_better
    parts = range(len(candidates[0]))
    assert len(parts) >= 2

    def best_on(kept: Sequence[int]) -> int:
        if not _labelled(track, [candidates[0][part] for part in kept]):
            return 0
        scores = [pooled_score(track, [candidate[part] for part in kept]) for candidate in candidates]
        return scores.index(max(scores))

    best = best_on(parts)
    best_elsewhere = tuple(best_on([part for part in parts if part != held_out]) for held_out in parts)
    return ThreeWays(
        best=best,
        best_elsewhere=best_elsewhere,
        untuned=pooled_score(track, candidates[0]),
        in_sample=pooled_score(track, candidates[best]),
        cross_fitted=pooled_score(track, [candidates[best_elsewhere[part]][part] for part in parts]),
    )


def _labelled(track: Track, parts: Sequence[TrackStatistics]) -> bool:
    """Whether every task has a labelled frame in some part."""
    return all(any(part.parts[task.name].n for part in parts) for task in track.tasks)


def pooled_score(track: Track, parts: Sequence[TrackStatistics]) -> float:
    """The track's score over all frames of the parts. ValueError where a task has no labelled frame."""
    whole = TrackStatistics(track)
    whole.merge(*parts)
    return whole.compute()[track.score]
