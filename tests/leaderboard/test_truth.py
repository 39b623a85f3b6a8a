"""Truth: the sets of the three challenges together, and the labelled lines that no frame of a video belongs to."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from leaderboard.truth import Truth, read_truth, within

MTL, VA = TRACKS["mtl"], TRACKS["va"]
LABELS = {
    "VA_Estimation_Challenge": ("valence,arousal", "0.5,-0.5\n-5,-5\n"),
    "EXPR_Recognition_Challenge": (",".join(TRACKS["expr"].columns), "3\n-1\n7\n"),
    "AU_Detection_Challenge": (",".join(TRACKS["au"].columns), ",".join("1" * 12) + "\n"),
}


def challenge(root: Path, name: str, *sets: str, videos: tuple[str, ...] = ("v",)) -> None:
    header, text = LABELS[name]
    for one in sets:
        folder = root / name / one
        folder.mkdir(parents=True)
        for video in videos:
            (folder / f"{video}.txt").write_text(f"{header}\n{text}")


def test_one_set_of_each_challenge_is_found_below_their_folder(tmp_path: Path) -> None:
    challenge(tmp_path, "VA_Estimation_Challenge", "Validation_Set")
    challenge(tmp_path, "EXPR_Recognition_Challenge", "Validation_Set", videos=("v", "u"))
    challenge(tmp_path, "AU_Detection_Challenge", "Test_Set")
    truth = read_truth(tmp_path, MTL)
    assert truth.by_line
    # A video that one challenge alone has is there, before the others by name; its other labels are not annotated.
    assert truth.image.to_list() == [f"{video}/0000{frame}.jpg" for video in "uv" for frame in (1, 2, 3)]
    assert truth.true["expr"][:, 0].tolist() == pytest.approx([3, np.nan, 7, 3, np.nan, 7], nan_ok=True)
    assert {name: np.flatnonzero(mask_N).tolist() for name, mask_N in truth.mask.items()} == {
        "va": [3], "expr": [0, 2, 3, 5], "au": [3]
    }  # fmt: skip


def test_a_set_is_named_by_itself_where_each_challenge_has_several(tmp_path: Path) -> None:
    for name in LABELS:
        challenge(tmp_path, name, "Train_Set", "Validation_Set")
    with pytest.raises(BadInput) as refused:
        read_truth(tmp_path, MTL)
    sets = f"{tmp_path}/Train_Set, {tmp_path}/Validation_Set"
    assert str(refused.value) == f"{tmp_path}: holds several sets of track va; name one: {sets}"
    assert read_truth(tmp_path / "Train_Set", MTL).image.len() == 3
    with pytest.raises(BadInput, match="no such file or folder; expected the truth of track mtl"):
        read_truth(tmp_path / "Test_Set", MTL)


def test_two_of_the_three_challenges_are_no_multi_task_truth(tmp_path: Path) -> None:
    for name in list(LABELS)[:2]:
        challenge(tmp_path, name, "Validation_Set")
    with pytest.raises(BadInput) as refused:
        read_truth(tmp_path, MTL)
    assert str(refused.value) == (
        f"{tmp_path}: track mtl is scored against a list *_set_annotations.txt or the folders of all three challenges; "
        "this folder holds none"
    )


def lines(**labels: list[float | None]) -> Truth:
    """Truth of valence and arousal with one line a frame, by video."""
    image = [f"{video}/{frame:05d}.jpg" for video, own in labels.items() for frame in range(1, len(own) + 1)]
    value_N = np.array([np.nan if one is None else one for own in labels.values() for one in own])
    true = {"va": np.stack([value_N, -value_N], axis=1)}
    return Truth(path=Path("t"), image=pl.Series(image), true=true, mask={"va": ~np.isnan(value_N)}, by_line=True)


def test_labels_after_the_last_predicted_frame_of_a_video_are_counted_and_left_out() -> None:
    truth = lines(v=[0.1, None, 0.3, 0.4, None, 0.6], w=[0.7, 0.8])
    shorter, beyond = within(truth, pl.Series(["v/00003.jpg", "v/00001.jpg"]))
    assert beyond == 2, "frames 4 and 6; frame 5 has no label"
    assert shorter.image.to_list() == [*(f"v/0000{frame}.jpg" for frame in (1, 2, 3)), "w/00001.jpg", "w/00002.jpg"]
    assert shorter.true["va"][:, 0].tolist() == pytest.approx([0.1, np.nan, 0.3, 0.7, 0.8], nan_ok=True)
    assert shorter.mask["va"].tolist() == [True, False, True, True, True]
    assert within(shorter, pl.Series(["v/00002.jpg"]))[1] == 1, "what is left is still told by lines"


def test_truth_without_such_lines_stays_as_it_is() -> None:
    truth = lines(v=[0.1, 0.2])
    for image in (truth.image, pl.Series(["v/00002.jpg"]), pl.Series(["v/00007.jpg", "w/00001.jpg"])):
        assert within(truth, image) == (truth, 0)
    rows = Truth(path=truth.path, image=truth.image, true=truth.true, mask=truth.mask)
    assert within(rows, pl.Series(["v/00001.jpg"])) == (rows, 0), "a file in submission form lists what counts"
