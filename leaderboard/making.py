"""Making an ensemble: choose weights, and tell what they score untuned, on what they were chosen on, and cross-fitted.

A number chosen on a validation set overfits it. So selection is nested by video: each fold of videos is scored with
the weights that the other folds choose, and the statistics of all folds are pooled into one outer score.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from abaw.postprocess.crossfit import pooled_score
from leaderboard.blending import Method, Weights, alone, blend, blend_ranks, uniform, without
from leaderboard.members import Floats, Labels, Members, count, has_labels, labels_for, prepare
from leaderboard.recipe import Recipe, Scores

FOLDS = 5
"""Folds of videos of the nested selection, where there are so many videos."""


def make(members: Members, method: Method, *, folds: int = FOLDS, seed: int = 0) -> tuple[Recipe, dict[str, Floats]]:
    """Make an ensemble: its recipe, and its predictions (N, C) a task. `members` is prepared in place.

    BadInput when the method chooses by labels and the tables carry none, or come from one video.
    """
    if method.prepares:
        prepare(members, logits=method.logits)
    made = _Making(members, method, folds, seed)
    predicted = made.predict(made.weights)
    used = np.flatnonzero(np.any([share_MC.any(axis=1) for share_MC in made.weights.share.values()], axis=0))
    share = {name: share_MC[used] for name, share_MC in made.weights.share.items()}
    recipe = Recipe(
        track=members.track,
        method=method,
        members=tuple(members.names[m] for m in used),
        left_out=tuple(name for m, name in enumerate(members.names) if m not in used),
        weights=Weights(share=share, bias=made.weights.bias),
        scores=made.scores(predicted, used.tolist()) if made.labels else None,
        trajectories=made.trajectories,
    )
    return recipe, predicted


class _Making:
    """The weights of one method, and what they score."""

    def __init__(self, members: Members, method: Method, folds: int, seed: int) -> None:
        self.members, self.method = members, method
        self.labels: Labels | None = None
        self.weights = uniform(members.track, len(members.names))
        self.trajectories: Mapping[str, Any] = {}
        if method.chooses:
            from leaderboard.fitting import Fitter  # numba takes half a second to import

            self.labels = labels_for(members, folds=folds, seed=seed)
            self._fitter = Fitter(members, self.labels, method, seed)
            fitted = self._fitter.fit(range(self.labels.folds))
            self.weights = fitted.weights
            self.trajectories = {
                name: [
                    {"picks": [members.names[m] for m in bag.members], "scores": bag.scores, "best": bag.best}
                    for bag in bags
                ]
                for name, bags in fitted.trajectories.items()
            }
        elif has_labels(members):
            self.labels = labels_for(members, folds=1, seed=seed)

    def predict(self, weights: Weights) -> dict[str, Floats]:
        """Predictions (N, C) a task with these weights, or of the mean of ranks."""
        return blend_ranks(self.members) if self.method.name == "ranks" else blend(self.members, weights, self.method)

    def scores(self, predicted: Mapping[str, Floats], used: Sequence[int]) -> Scores:
        """Everything that is told about the ensemble."""
        members, mean = self.members, Method(name="mean", logits=self.method.logits)
        inner = self._score(predicted)
        single = [
            self._score(blend(members, alone(members.track, len(members.names), m), mean))
            for m in range(len(members.names))
        ]
        best = int(np.argmax(single))
        return Scores(
            mean=self._score(blend(members, uniform(members.track, len(members.names)), mean)),
            best_member=members.names[best],
            best_single=single[best],
            inner=inner,
            outer=self._outer() if self.method.chooses else None,
            leave_one_out={members.names[m]: inner - self._score(self._left_out(m)) for m in used}
            if len(members.names) > 1
            else {},
        )

    def _left_out(self, member: int) -> dict[str, Floats]:
        """Predictions without one member."""
        if self.method.name == "ranks":
            return blend_ranks(self.members, member)
        if self.method.name == "stacking":
            assert self.labels is not None
            return blend(self.members, self._fitter.fit(range(self.labels.folds), member).weights, self.method)
        return blend(self.members, without(self.weights, member), self.method)

    def _score(self, predicted: Mapping[str, Floats]) -> float:
        assert self.labels is not None
        everywhere_N = np.ones(self.members.rows, dtype=np.bool_)
        return pooled_score(self.members.track, [count(predicted, self.labels, self.members.track, everywhere_N)])

    def _outer(self) -> float:
        assert self.labels is not None
        parts = []
        for fold in range(self.labels.folds):
            fitted = self._fitter.fit([other for other in range(self.labels.folds) if other != fold])
            rows_N = self.labels.fold_N == fold
            own = blend(self.members, fitted.weights, self.method, rows_N)
            parts.append(count(own, self.labels, self.members.track, rows_N))
        return pooled_score(self.members.track, parts)
