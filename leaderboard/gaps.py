"""Gaps of a prediction table that is scored directly: labelled frames without a prediction, filled as `export` does.

No face was found in such frames, but they have labels, and the organisers' template would ask for them. They are filled
in time from the frames of their own video, before anything is decided; their number is told.
Legend: N frames with a prediction, M frames to fill.
"""

from dataclasses import replace

import numpy as np
import polars as pl

from abaw.postprocess.gaps import fill
from abaw.problems import refuse
from abaw.tracks import Track
from leaderboard.images import as_asked, of_stills, places
from leaderboard.official import check_fillable
from leaderboard.predicted import Predicted
from leaderboard.truth import Truth, within


def without_gaps(predicted: Predicted, truth: Truth, track: Track) -> tuple[Predicted, int]:
    """The predictions of a table with those of labelled frames that had none, and how many (M) these are.

    Labelled lines after the last predicted frame of a video stay as they are (`leaderboard.truth.within`). BadInput
    names every labelled still image and every labelled video that has no prediction at all.
    """
    predicted = replace(predicted, image=as_asked(predicted.image, truth.image, track))
    assert predicted.scores is not None
    truth, _ = within(truth, predicted.image)
    labelled = truth.labelled
    wanted = pl.DataFrame({"image": labelled}).join(pl.DataFrame({"image": predicted.image}), on="image", how="anti")
    if wanted.is_empty():
        return predicted, 0
    if of_stills(track) and len(wanted) == len(labelled) and len(predicted.image):
        names = f"its images are named as {predicted.image[0]}, and those of {truth.path} as {labelled[0]}"
        raise refuse(predicted.path, f"{names}; leave out --truth where the table carries its labels")
    known = places(predicted.image)
    check_fillable(wanted, known["video"], track, predicted.path, f"labelled frames of {truth.path}")
    assert not of_stills(track)
    place = places(wanted["image"])
    where = known["video"], known["frame"], place["video"], place["frame"]
    scores = {name: np.concatenate([own, fill(own, *where)]) for name, own in predicted.scores.items()}
    fold = predicted.fold
    if fold is not None:
        by_video = known.select("video", fold=fold).unique("video", keep="first", maintain_order=True)
        fold = pl.concat([fold, place.join(by_video, on="video", how="left", maintain_order="left")["fold"]])
    filled = replace(
        predicted,
        image=pl.concat([predicted.image, wanted["image"]]),
        decided={task.name: task.decide(scores[task.name]) for task in track.tasks},
        scores=scores,
        fold=fold,
    )
    return filled, len(wanted)
