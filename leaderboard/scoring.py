"""The one scorer, shared by `score` and `submit`: all frames of all videos pooled, then one score (ABAW's rules).

Every annotated frame must have a prediction. Frames without truth do not count; they are reported. Frames are counted
video by video (`leaderboard.per_video`), which gives the interval of every metric and the scores of videos and folds.
Legend: N rows (frames), C prediction columns and D label columns of a task.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abaw.intervals import Interval
from abaw.problems import refuse
from abaw.tracks import Track
from leaderboard.clean_counts import count_clean, read_both
from leaderboard.images import of_stills
from leaderboard.per_video import Counted, count, fold_scores, intervals, pooled
from leaderboard.predicted import Predicted, predicted_of_rows
from leaderboard.reasons import Reasons

if TYPE_CHECKING:
    # Polars takes a fifth of a second to import, and clean files need none of it.
    import polars as pl

    from leaderboard.truth import Truth

TABLE_SUFFIX = ".parquet"


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a submission is worth."""

    track: str
    score: float
    """The ranking score of the track."""
    metrics: Mapping[str, float]
    """Every metric of the track, the ranking score among them."""
    frames: int
    """Frames that have a label of at least one task."""
    videos: int
    """Videos of these frames; 0 where the images are stills."""
    ignored: int
    """Predictions for frames without truth; they did not count."""
    beyond: int = 0
    """Labelled lines of annotation files after the last predicted frame of a video; they did not count."""
    filled: int | None = None
    """Frames without a prediction of their own, filled from their neighbours; None where nothing tells."""
    labelled: Mapping[str, int]
    """Frames that have a label, by task."""
    intervals: Mapping[str, Interval]
    """95 % interval of each metric, by a bootstrap over videos; empty for stills and for a single video."""
    folds: Mapping[int, float]
    """The ranking score of each fold, where the predictions know their folds."""
    counted: Sequence[Counted] = field(repr=False, compare=False)
    """What each video adds."""

    def as_json(self) -> dict[str, Any]:
        """The form that `leaderboard score --json` prints."""
        return {
            "track": self.track,
            "score": self.score,
            "metrics": dict(self.metrics),
            "frames": self.frames,
            "videos": self.videos,
            "ignored": self.ignored,
            "beyond": self.beyond,
            "filled": self.filled,
            "coverage": None if self.filled is None else (self.frames - self.filled) / self.frames,
            "labelled": dict(self.labelled),
            "intervals": {name: [one.low, one.high] for name, one in self.intervals.items()},
            "folds": dict(self.folds),
            "per_video": [
                {"video": one.video, "fold": one.fold, "frames": one.frames, "metrics": one.metrics()}
                for one in self.counted
            ],
        }


def score_file(path: Path, track: Track, truth_path: Path | None = None) -> Score:
    """Score a submission file or a prediction table (`.parquet`).

    Without `truth_path` a prediction table is scored against the labels it carries. With it, the labelled frames that
    the table lacks are filled from their neighbours (`leaderboard.gaps`). BadInput holds every reason.
    """
    if truth_path is not None and (both := read_both(path, truth_path, track)):
        counted = count_clean(*both, track)
        if counted is not None:
            ignored = len(both[0].frame_N) - sum(one.frames for one in counted)
            return summary(track, counted, ignored=ignored)
    from leaderboard.submissions import read_submission
    from leaderboard.truth import read_truth
    from leaderboard.video_lists import check_lengths
    from leaderboard.zips import holds_videos

    if path.suffix == TABLE_SUFFIX:
        # Arrow takes a tenth of a second to import, and a submission file needs none of it.
        from abaw.predictions import read_predictions
        from leaderboard.gaps import without_gaps
        from leaderboard.tables import predicted_of_table, truth_of_table

        table = read_predictions(path, track)
        predicted = predicted_of_table(table, track, path)
        if truth_path is None:
            return score(predicted, truth_of_table(table, track, path), track)
        truth = read_truth(truth_path, track)
        predicted, filled = without_gaps(predicted, truth, track)
        return replace(score(predicted, truth, track), filled=filled)
    if truth_path is None:
        raise refuse(path, "a submission file holds no labels to score against; give --truth")
    rows, reasons = read_submission(path, track)
    reasons.raise_any()
    assert rows is not None
    truth = read_truth(truth_path, track)
    if holds_videos(path):
        check_lengths(rows, path, truth, reasons)
        reasons.raise_any()
    return score(predicted_of_rows(rows, track, path), truth, track)


def score(predicted: Predicted, truth: "Truth", track: Track) -> Score:
    """Pool all frames that have a label and compute the metrics of the track once. BadInput holds every reason."""
    counted, beyond = counts(predicted, truth, track)
    frames = sum(one.frames for one in counted)
    return replace(summary(track, counted, ignored=len(predicted.image) - frames), beyond=beyond)


def counts(predicted: Predicted, truth: "Truth", track: Track) -> tuple[list[Counted], int]:
    """What each video adds to the score, and the labelled lines that come after the last predicted frame of theirs."""
    from leaderboard.truth import within

    truth, beyond = within(truth, predicted.image)
    labelled_N, images = truth.labelled_N, truth.labelled
    rows = _rows_of(images, predicted, truth, track)
    counted = count(
        track,
        images,
        {name: values[rows] for name, values in predicted.decided.items()},
        {name: values[labelled_N] for name, values in truth.true.items()},
        {name: values[labelled_N] for name, values in truth.mask.items()},
        None if predicted.scores is None else {name: values[rows] for name, values in predicted.scores.items()},
        None if predicted.fold is None else predicted.fold[rows],
    )
    return counted, beyond


def summary(track: Track, counted: Sequence[Counted], *, ignored: int = 0) -> Score:
    """The score of these videos. ValueError where a task has no labelled frame."""
    whole = pooled(track, counted)
    found = whole.compute()
    return Score(
        track=track.name,
        score=found[track.score],
        metrics=found,
        frames=sum(one.frames for one in counted),
        videos=0 if of_stills(track) else len({one.video for one in counted}),
        ignored=ignored,
        labelled={task.name: whole.parts[task.name].n for task in track.tasks},
        intervals=intervals(track, counted),
        folds=fold_scores(track, counted),
        counted=tuple(counted),
    )


def _rows_of(images: "pl.Series", predicted: Predicted, truth: "Truth", track: Track) -> NDArray[np.int64]:
    """Rows of the predictions, in the order of the images; every image without one is a reason to refuse."""
    import polars as pl

    reasons = Reasons()
    for task in track.tasks:
        if not truth.mask[task.name].any():
            message = f"no frame is annotated for task {task.name}; track {track.name} cannot be scored against it"
            reasons.add("nothing to score", truth.path, message)
    if images.equals(predicted.image):
        rows = np.arange(len(images))
    else:
        numbered = pl.DataFrame({"image": predicted.image}).with_row_index("row")
        joined = pl.DataFrame({"image": images}).join(numbered, on="image", how="left", maintain_order="left")
        for image in joined.filter(pl.col("row").is_null())["image"]:
            message = f"no prediction for {image}, which {truth.path} has a label for"
            reasons.add("missing row", predicted.path, message)
        rows = joined["row"].fill_null(0).to_numpy().astype(np.int64)
    reasons.raise_any()
    return rows
