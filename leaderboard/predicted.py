"""What is scored: the decisions of a submission file or a prediction table, frame by frame.

Legend: N rows (frames), C prediction columns and D label columns of a task.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from abaw.tracks import Track
from leaderboard.images import plain_names

if TYPE_CHECKING:
    # As in `leaderboard.scoring`: clean files need none of it.
    import polars as pl


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Decisions by frame; the keys of the mappings are the names of the track's tasks."""

    path: Path
    image: "pl.Series"
    """Names (N,), each once."""
    decided: Mapping[str, NDArray[np.float64]]
    """What a submission states, (N, D) a task."""
    scores: Mapping[str, NDArray[np.float64]] | None = None
    """Probabilities (N, C) a task, where they are known: the top-k accuracies need them."""
    fold: "pl.Series | None" = None
    """Folds (N,) in which the frames were held out, where they are known."""


def predicted_of_rows(rows: "pl.DataFrame", track: Track, path: Path) -> Predicted:
    """The decisions that the rows of a submission file state."""
    decided = {task.name: rows.select(task.label_columns).to_numpy() for task in track.tasks}
    return Predicted(path=path, image=plain_names(rows["image"], track), decided=decided)
