"""Folds of whole videos: grouped, stratified by labels and frame count, deterministic, stored with a hash.

Neighbouring frames are alike, so a video is never split; `x_left` and `x_right` are two people of one video and stay
together. Videos are matched by equal names: many names are a substring of another.
MAE-Face, section 4, and most entries of the challenge train five such folds.

Legend: G groups (videos, both people together), F features of the label histogram, K folds.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from abaw.intervals import fold_group as fold_group
from abaw.problems import BadInput, Problem, refuse


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Which fold holds each video out. Raises BadInput when a group is in two folds or a fold holds nothing out."""

    k: int
    """Number of folds; they are numbered from 0."""
    seed: int | None
    """Seed of `make_folds`; None for the organisers' split."""
    assignment: Mapping[str, int | None]
    """Fold of each video; None for one that is always trained on."""

    def __post_init__(self) -> None:
        problems = _overlap_problems(self.assignment)
        if wrong := {fold for fold in self.assignment.values() if fold is not None} ^ set(range(self.k)):
            message = f"folds {sorted(wrong)} are empty or unknown; expected videos in each of 0 to {self.k - 1}"
            problems.append(Problem(path="folds", message=message))
        if problems:
            raise BadInput(problems)

    @property
    def hash(self) -> str:
        """sha256 of k, seed and the assignment, whatever the order of the videos."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def held_out(self, fold: int) -> list[str]:
        """Videos that the fold holds out, by name."""
        self._check(fold)
        return sorted(video for video, own in self.assignment.items() if own == fold)

    def train(self, fold: int) -> list[str]:
        """Videos that are trained on when the fold is held out, by name: all the others."""
        self._check(fold)
        return sorted(video for video, own in self.assignment.items() if own != fold)

    def fold_of(self, video_N: pl.Series) -> pl.Series:
        """The fold column (Int8) of a column of videos: null for one that is never held out or is unknown here."""
        names, folds = list(self.assignment), pl.Series(list(self.assignment.values()), dtype=pl.Int8)
        return video_N.replace_strict(names, folds, default=None, return_dtype=pl.Int8).alias("fold")

    def save(self, path: Path) -> None:
        """Write as JSON with the hash; the file appears whole or not at all."""
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps({**self._content(), "hash": self.hash}, indent=1, sort_keys=True) + "\n")
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Folds":
        """Read what `save` wrote; BadInput when it is not such a file, was edited, or splits a group."""
        if not path.is_file():
            raise refuse(path, "no such folds file; write one with Folds.save")
        try:
            stored = json.loads(path.read_text())
            content, expected = stored["content"], stored["hash"]
            folds = cls(k=content["k"], seed=content["seed"], assignment=content["assignment"])
        except BadInput as error:
            raise BadInput([Problem(path=str(path), message=str(problem)) for problem in error.problems]) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise refuse(path, f"not a folds file ({error!r}); write one with Folds.save") from None
        if folds.hash != expected:
            raise refuse(path, f"its content has hash {folds.hash}, but it states {expected}; it was edited or damaged")
        return folds

    def _content(self) -> dict[str, object]:
        return {"content": {"k": self.k, "seed": self.seed, "assignment": dict(self.assignment)}}

    def _check(self, fold: int) -> None:
        if fold not in range(self.k):
            raise ValueError(f"no fold {fold}; choose one from 0 to {self.k - 1}")


def make_folds(frames: pl.DataFrame, *, k: int, seed: int) -> Folds:
    """K folds of the videos of a frame table, each near 1/K of the frames and of every label's frames.

    Greedy: the largest group first, each to the fold where the shares then deviate least from 1/K. The seed shuffles
    groups of similar size (within a factor of two), so other seeds give other folds of like balance. The order of the
    rows does not matter. Hand in only the frames that are to be folded, for instance without the test videos.

    Args:
        frames: has `video` and any of `expression`, `au`, and `valence` with `arousal`, as in a frame table.
        k: number of folds, from 2 to the number of groups.
        seed: any integer.

    Raises:
        ValueError: k does not fit, or there are no frames.
    """
    histogram = _histogram(frames)
    groups = histogram["group"].to_list()
    if not groups:
        raise ValueError("no frames to make folds of; expected at least one labelled video a fold")
    if not 2 <= k <= len(groups):
        raise ValueError(f"k = {k} folds of {len(groups)} videos; expected k from 2 to {len(groups)}")
    folds_G = _assign(_shares(histogram), histogram["frames"].to_numpy(), k, seed)
    fold_of_group = dict(zip(groups, folds_G.tolist(), strict=True))
    videos = frames["video"].unique().sort().to_list()
    return Folds(k=k, seed=seed, assignment={video: fold_of_group[fold_group(video)] for video in videos})


def official_fold(frames: pl.DataFrame) -> Folds:
    """The organisers' split as one fold: `validation` videos are held out, `train` videos are trained on.

    Other splits are left aside. Raises ValueError when a split has no frames, BadInput when the two share a video.
    """
    videos = {name: frames.filter(pl.col("split") == name)["video"].unique().sort() for name in ("train", "validation")}
    if empty := [name for name, found in videos.items() if found.is_empty()]:
        raise ValueError(f"no frames of split {' and '.join(empty)}; the official fold needs train and validation")
    check_disjoint(videos["train"], videos["validation"])
    return Folds(k=1, seed=None, assignment=dict.fromkeys(videos["train"]) | dict.fromkeys(videos["validation"], 0))


def check_disjoint(train: Iterable[str], held_out: Iterable[str]) -> None:
    """Refuse videos on both sides, also as `_left` and `_right` of one: BadInput lists every held-out one concerned."""
    trained = {fold_group(video): video for video in sorted(set(train))}
    problems = [
        Problem(path=video, message=f"is held out, but {trained[fold_group(video)]} of the same video is trained on")
        for video in sorted(set(held_out))
        if fold_group(video) in trained
    ]
    if problems:
        raise BadInput(problems)


def _overlap_problems(assignment: Mapping[str, int | None]) -> list[Problem]:
    """One problem for each video whose fold is not that of its group's first video."""
    first: dict[str, str] = {}
    problems = []
    for video, fold in sorted(assignment.items()):
        other = first.setdefault(fold_group(video), video)
        if assignment[other] != fold:
            message = (
                f"is in fold {fold}, but {other} of the same video is in fold {assignment[other]}; keep them together"
            )
            problems.append(Problem(path=video, message=message))
    return problems


def _histogram(frames: pl.DataFrame) -> pl.DataFrame:
    """Each group with its number of frames and of frames of each label: (G, 2 + F), sorted by name."""
    counts = [pl.len().alias("frames")]
    if "expression" in frames.columns:
        classes = frames["expression"].drop_nulls().unique().sort().to_list()
        counts += [(pl.col("expression") == value).sum().alias(f"expression {value}") for value in classes]
    if "au" in frames.columns:
        units = frames.schema["au"].shape[0]  # type: ignore[attr-defined]
        counts += [(pl.col("au").arr.get(unit) == 1).sum().alias(f"au {unit}") for unit in range(units)]
    if {"valence", "arousal"} <= set(frames.columns):
        octant = (pl.arctan2("arousal", "valence") / (np.pi / 4)).floor().clip(-4, 3)
        counts += [(octant == part).sum().alias(f"va {part}") for part in range(-4, 4)]
    names = frames["video"].unique().sort()
    groups = pl.Series([fold_group(video) for video in names], dtype=pl.String)
    group = pl.col("video").replace_strict(names, groups, return_dtype=pl.String).alias("group")
    return frames.group_by(group).agg(counts).sort("group")


def _shares(histogram: pl.DataFrame) -> NDArray[np.float64]:
    """Part (G, F) of each feature that a group holds, weighted so that frames and each kind of label count alike."""
    features = [name for name in histogram.columns if name != "group" and histogram[name].sum() > 0]
    kinds = [name.split()[0] for name in features]
    counts_GF = histogram.select(features).to_numpy().astype(np.float64)
    weight_F = np.array([1 / np.sqrt(kinds.count(kind)) for kind in kinds])
    return np.asarray(counts_GF / counts_GF.sum(axis=0) * weight_F)


def _assign(shares_GF: NDArray[np.float64], frames_G: NDArray[np.integer], k: int, seed: int) -> NDArray[np.int64]:
    """Fold of each group. The sum over folds of squared shares is least when all are 1/K; each step adds the least."""
    shuffled_G = np.random.default_rng(seed).permutation(len(frames_G))
    order_G = shuffled_G[np.argsort(-np.floor(np.log2(frames_G[shuffled_G])), kind="stable")]
    held_KF = np.zeros((k, shares_GF.shape[1]))
    folds_G = np.zeros(len(frames_G), dtype=np.int64)
    for group in order_G:
        folds_G[group] = np.argmin(held_KF @ shares_GF[group])
        held_KF[folds_G[group]] += shares_GF[group]
    return folds_G
