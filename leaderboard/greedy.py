"""Greedy selection with replacement (Caruana et al., 2004): pick after pick the member that helps the mean most.

The best prefix of the picks is the ensemble; a tie goes to a member that is in already. With bags, each bag may pick
from a random half of the members, and the weights of all bags are averaged (section 2.3 of the paper).
Legend: M members, B bags.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from leaderboard.members import Floats

TIE = 1e-12
"""Scores this near are a tie: sums of moments round differently from member to member."""


class Pool(Protocol):
    """Scores one more pick for every member at once."""

    def with_each(self) -> Floats:
        """The score (M,) with each member picked next; NaN for one that may not be picked."""

    def pick(self, member: int) -> None:
        """Add a member to those picked."""


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """The picks in their order, and what the ensemble scored after each."""

    members: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def best(self) -> int:
        """Picks of the best prefix: the shortest one on a tie."""
        return next(k for k, score in enumerate(self.scores, 1) if score >= max(self.scores) - TIE)

    def weights(self, members: int) -> Floats:
        """The share (M,) of each member in the best prefix."""
        return np.bincount(self.members[: self.best], minlength=members) / self.best


def select(pools: Sequence[Pool], picks: int, allowed: Sequence[int]) -> Trajectory:
    """Pick `picks` times among the allowed members; the score is the sum over the pools (one a task)."""
    members: list[int] = []
    scores: list[float] = []
    for _ in range(picks):
        scores_M = np.sum([pool.with_each() for pool in pools], axis=0)
        best = max(scores_M[member] for member in allowed)
        tied = [member for member in allowed if scores_M[member] >= best - TIE]
        member = next((member for member in tied if member in members), tied[0])
        for pool in pools:
            pool.pick(member)
        members.append(member)
        scores.append(float(scores_M[member]))
    return Trajectory(members=tuple(members), scores=tuple(scores))


def draw_bags(allowed: Sequence[int], bags: int, seed: int) -> list[list[int]]:
    """The members that each bag may pick from: all of them without bags, else a random half, rounded up."""
    if not bags:
        return [list(allowed)]
    rng = np.random.default_rng(seed)
    half = (len(allowed) + 1) // 2
    return [sorted(rng.choice(list(allowed), half, replace=False).tolist()) for _ in range(bags)]


def select_in_bags(
    make_pools: Callable[[list[int]], Sequence[Pool]], members: int, picks: int, bags: Sequence[list[int]]
) -> tuple[Floats, list[Trajectory]]:
    """The weights (M,) averaged over the bags, and the trajectory of each."""
    trajectories = [select(make_pools(allowed), picks, allowed) for allowed in bags]
    return np.mean([one.weights(members) for one in trajectories], axis=0), trajectories
