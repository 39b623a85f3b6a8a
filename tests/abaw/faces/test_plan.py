from collections import Counter

import numpy as np
import pytest

from abaw.faces.filming import labels_of
from abaw.faces.plan import TASKS, Clip, plan_pool, plan_videos
from abaw.faces.stills import plan_stills
from abaw.folds import fold_group


def of_split(clips: list[Clip], split: str) -> list[Clip]:
    return [clip for clip in clips if clip.split == split]


@pytest.mark.parametrize("seed", range(6))
def test_every_expression_is_annotated_in_every_split(seed):
    clips = plan_videos(videos=40, test_videos=12, frames=100, seed=seed)
    for split in ("train", "validation", "test"):
        labels = [labels_of(clip, seed)["expr"] for clip in of_split(clips, split) if "expr" in clip.tasks]
        counts = Counter(np.concatenate(labels).ravel().tolist())
        assert all(counts[k] >= 5 for k in range(8)), f"{split}: {counts}"


def test_expressions_are_imbalanced_as_in_the_original():
    clips = plan_videos(videos=80, test_videos=12, frames=120, seed=0)
    labels = np.concatenate([labels_of(clip, 0)["expr"] for clip in clips if "expr" in clip.tasks]).ravel()
    share = np.bincount(labels[~np.isnan(labels)].astype(int), minlength=8) / len(labels)
    neutral, anger, disgust, fear, happiness, sadness, surprise, other = share
    assert neutral > other > surprise
    assert min(happiness, sadness) > surprise > max(disgust, fear) * 0.9
    assert max(anger, disgust, fear) < 0.1


def test_names_are_unique_and_some_are_inside_others():
    names = [clip.name for clip in plan_videos(videos=40, test_videos=12, frames=100, seed=0)]
    assert len(set(names)) == len(names)
    inside = {a for a in names for b in names if a != b and a in b}
    assert {"102", "video45"} <= inside


@pytest.mark.parametrize("videos", [5, 12, 40])
def test_splits_share_neither_people_nor_videos(videos):
    clips = plan_videos(videos=videos, test_videos=6, frames=60, seed=1)
    for key in (lambda clip: clip.person, lambda clip: fold_group(clip.name)):
        groups = [{key(clip) for clip in of_split(clips, split)} for split in ("train", "validation", "test")]
        assert not groups[0] & groups[1]
        assert not groups[0] & groups[2]
        assert not groups[1] & groups[2]
    others = {clip.person for clip in plan_pool(people=5, frames=10, seed=1)}
    others |= {still.clip.person for still in plan_stills(people=5, seed=1)}
    assert len(others) == 10
    assert not others & {clip.person for clip in clips}


def test_left_and_right_are_two_people_in_one_video():
    clips = {clip.name: clip for clip in plan_videos(videos=40, test_videos=12, frames=100, seed=0)}
    pairs = [(clip, clips[name.replace("_left", "_right")]) for name, clip in clips.items() if name.endswith("_left")]
    assert {left.split for left, _ in pairs} == {"train", "test"}
    for left, right in pairs:
        assert (left.camera, left.frames, left.fps, left.split) == (right.camera, right.frames, right.fps, right.split)
        assert left.person != right.person


def test_the_traps_are_there():
    clips = plan_videos(videos=40, test_videos=12, frames=100, seed=0)
    labelled = [clip for clip in clips if clip.split != "test"]
    assert {3, -1} <= {clip.extra_labels for clip in labelled}
    assert {task for clip in labelled for task in clip.gaps} == set(TASKS)
    for split in ("train", "validation", "test"):
        missing = sum(len(clip.missing) for clip in of_split(clips, split))
        assert 0.01 < missing / sum(clip.frames for clip in of_split(clips, split)) < 0.2
    for clip in clips:
        assert all(1 < frame <= clip.frames for frame in clip.missing)
    assert np.mean([clip.tasks == TASKS for clip in clips]) > 0.6
    assert any(clip.tasks != TASKS for clip in of_split(clips, "train"))
    assert any(clip.tasks != TASKS for clip in of_split(clips, "test"))


def test_another_seed_is_another_data_set():
    one, again, other = (plan_videos(videos=8, test_videos=2, frames=50, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert [clip.expressions for clip in one] != [clip.expressions for clip in other]
