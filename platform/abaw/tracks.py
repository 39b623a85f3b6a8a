"""The challenge tracks: label columns, sentinels, score, decision rule and the organisers' file forms, each said once.

Everything else asks this module. Adding a track is one `Track` in `TRACKS` and one row in `tests/abaw/test_tracks.py`.
Source: the ABAW challenge pages; AffectNet (Mollahosseini et al.); Emo135 (Chen et al.).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    # Imported by what computes: to show a board or `--help`, NumPy would be half of the time.
    import numpy as np
    from numpy.typing import NDArray

Kind = Literal["regression", "classes", "binary"]

AU_THRESHOLD = 0.5
"""Probability from which an action unit counts as active, unless thresholds are given."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One kind of label: its columns, how a file says that it is missing, and how scores become a decision."""

    name: str
    """Short name used in metric keys, loss names and file names: va, expr, au."""
    kind: Kind
    """regression: real values in [-1, 1]; classes: one of C; binary: each column 0 or 1."""
    columns: tuple[str, ...]
    """Columns of a prediction: the two values, the C class probabilities, or the probability of each action unit."""
    sentinel: float
    """What an annotation file writes where a frame is not annotated. Never leaves the readers and writers."""

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Columns of a label: a class is one integer column, `expression`; otherwise the prediction's columns."""
        return ("expression",) if self.kind == "classes" else self.columns

    def decide(self, scores_NC: "NDArray[np.floating]") -> "NDArray[np.float64]":
        """Turn predictions (N, C) into what a submission states, (N, D) with D = len(label_columns).

        Regression is clipped to [-1, 1]; a class is the column with the largest score (the first one on a tie); an
        action unit is active from `AU_THRESHOLD` on.
        """
        import numpy as np

        if scores_NC.ndim != 2 or scores_NC.shape[1] != len(self.columns):
            raise ValueError(
                f"{self.name} predictions must have shape (frames, {len(self.columns)}), not {scores_NC.shape}"
            )
        if self.kind == "classes":
            return np.asarray(scores_NC.argmax(axis=1)[:, None], dtype=np.float64)
        if self.kind == "binary":
            return np.asarray(scores_NC >= AU_THRESHOLD, dtype=np.float64)
        return np.asarray(np.clip(scores_NC, -1.0, 1.0), dtype=np.float64)

    def valid(self, labels_ND: "NDArray[np.floating]") -> "NDArray[np.bool_]":
        """Which entries (N, D) are values that this task allows; sentinels and NaN are not."""
        import numpy as np

        if self.kind == "regression":
            return np.asarray((labels_ND >= -1.0) & (labels_ND <= 1.0))
        high = len(self.columns) - 1 if self.kind == "classes" else 1
        return np.asarray((labels_ND >= 0) & (labels_ND <= high) & (labels_ND == np.floor(labels_ND)))

    @property
    def range_text(self) -> str:
        """The valid values in words, for error messages."""
        if self.kind == "regression":
            return "a number in [-1, 1]"
        return f"an integer from 0 to {len(self.columns) - 1}" if self.kind == "classes" else "0 or 1"

    def format(self, labels_D: "Sequence[float] | NDArray[np.floating]") -> str:
        """One label as an official file writes it: `0.1234,-0.5000`, `4`, or `1,0,0,...`."""
        if self.kind == "regression":
            return ",".join(f"{value:.4f}" for value in labels_D)
        return ",".join(str(int(value)) for value in labels_D)


@dataclass(frozen=True, kw_only=True)
class Track:
    """A challenge track: its tasks, its score and its submission file."""

    name: str
    """What `--track` takes."""
    title: str
    tasks: tuple[Task, ...]
    score: str
    """Key of the ranking score in the metrics of `abaw.metrics`."""
    higher_is_better: bool = True
    folders: tuple[str, ...] = ()
    """Names that the deliveries gave to this track's annotation folder, newest first."""
    submission_header: tuple[str, ...]
    """First line of the organisers' file; for MTL it has fewer names than the rows have values."""
    top_k: tuple[int, ...] = ()
    """k of the top-k accuracies that are reported beside the score."""

    def task(self, name: str) -> Task:
        """The task of that name, or a ValueError naming the ones this track has."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise ValueError(f"track {self.name} has no task {name!r}; it has {', '.join(t.name for t in self.tasks)}")

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a prediction table for this track."""
        return tuple(column for task in self.tasks for column in task.columns)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Columns of a submission row after the image, one value each."""
        return tuple(column for task in self.tasks for column in task.label_columns)

    def format_row(self, image: str, labels_D: "Sequence[float] | NDArray[np.floating]") -> str:
        """One line of the submission file, without its line end: `video/00001.jpg,0.1000,-0.2000,4,0,...`."""
        parts, start = [image], 0
        for task in self.tasks:
            stop = start + len(task.label_columns)
            parts.append(task.format(labels_D[start:stop]))
            start = stop
        return ",".join(parts)


EXPRESSIONS = ("Neutral", "Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Other")
ACTION_UNITS = ("AU1", "AU2", "AU4", "AU6", "AU7", "AU10", "AU12", "AU15", "AU23", "AU24", "AU25", "AU26")


def _classes(*names: str) -> Task:
    return Task(name="expr", kind="classes", columns=names, sentinel=-1)


VA = Task(name="va", kind="regression", columns=("valence", "arousal"), sentinel=-5)
EXPR = _classes(*EXPRESSIONS)
AU = Task(name="au", kind="binary", columns=ACTION_UNITS, sentinel=-1)
EXPR_2020 = _classes(*EXPRESSIONS[:-1])
AU_2020 = Task(
    name="au", kind="binary", columns=("AU1", "AU2", "AU4", "AU6", "AU12", "AU15", "AU20", "AU25"), sentinel=-1
)
LSD = _classes(*EXPRESSIONS[1:-1])
CEXPR = _classes(
    "Fearfully_Surprised",
    "Happily_Surprised",
    "Sadly_Surprised",
    "Disgustedly_Surprised",
    "Angrily_Surprised",
    "Sadly_Fearful",
    "Sadly_Angry",
)
_AFFECTNET = ("Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt")

_PLAIN_HEADER = ("image", "expression")

TRACKS: dict[str, Track] = {
    track.name: track
    for track in (
        Track(
            name="expr",
            title="Expression classification",
            tasks=(EXPR,),
            score="S_EXPR",
            folders=("EXPR_Recognition_Challenge", "EXPR_Classification_Challenge"),
            submission_header=("image_location", *EXPR.columns),
        ),
        Track(
            name="au",
            title="Action unit detection",
            tasks=(AU,),
            score="S_AU",
            folders=("AU_Detection_Challenge",),
            submission_header=("image_location", *AU.columns),
        ),
        Track(
            name="va",
            title="Valence-arousal estimation",
            tasks=(VA,),
            score="S_VA",
            folders=("VA_Estimation_Challenge", "VA_Set"),
            submission_header=("image_location", *VA.columns),
        ),
        Track(
            name="mtl",
            title="Multi-task learning",
            tasks=(VA, EXPR, AU),
            score="P_MTL",
            submission_header=("image", "valence", "arousal", "expression", "aus"),
        ),
        Track(
            name="lsd",
            title="Learning from synthetic data",
            tasks=(LSD,),
            score="P_LSD",
            submission_header=_PLAIN_HEADER,
        ),
        Track(
            name="cexpr",
            title="Compound expression recognition",
            tasks=(CEXPR,),
            score="S_CEXPR",
            submission_header=("image_location", *CEXPR.columns),
        ),
        Track(
            name="affectnet8",
            title="AffectNet, eight classes",
            tasks=(_classes(*_AFFECTNET),),
            score="top1",
            submission_header=_PLAIN_HEADER,
            top_k=(1,),
        ),
        Track(
            name="affectnet7",
            title="AffectNet, seven classes",
            tasks=(_classes(*_AFFECTNET[:-1]),),
            score="top1",
            submission_header=_PLAIN_HEADER,
            top_k=(1,),
        ),
        Track(
            name="emo135",
            title="Emo135, 135 emotions",
            tasks=(_classes(*(f"emotion_{k:03d}" for k in range(135))),),
            score="S_EMO135",
            submission_header=_PLAIN_HEADER,
            top_k=(1, 5, 10),
        ),
        Track(
            name="expr2020",
            title="Expression classification of ABAW 2020, seven classes",
            tasks=(EXPR_2020,),
            score="S_EXPR",
            folders=("EXPR_Set",),
            submission_header=("image_location", *EXPR_2020.columns),
        ),
        Track(
            name="au2020",
            title="Action unit detection of ABAW 2020, eight units",
            tasks=(AU_2020,),
            score="S_AU",
            folders=("AU_Set",),
            submission_header=("image_location", *AU_2020.columns),
        ),
    )
}


def get_track(name: str) -> Track:
    """The track of that name, or a ValueError that lists the valid ones."""
    try:
        return TRACKS[name]
    except KeyError:
        raise ValueError(f"unknown track {name!r}; choose one of {', '.join(TRACKS)}") from None
