"""Every track as the organisers write it: columns, sentinels, submission header and rows byte for byte, decisions."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from abaw.tracks import ACTION_UNITS, AU, EXPR, TRACKS, VA, Track, get_track

CEXPR_NAMES = (
    "Fearfully_Surprised,Happily_Surprised,Sadly_Surprised,Disgustedly_Surprised,Angrily_Surprised,"
    "Sadly_Fearful,Sadly_Angry"
)

# name, submission header, image, labels of one row, that row, score
FILES = [
    (
        "expr",
        "image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise,Other",
        "14-30-1920x1080/00001.jpg",
        [0],
        "14-30-1920x1080/00001.jpg,0",
        "S_EXPR",
    ),
    (
        "va",
        "image_location,valence,arousal",
        "2-30-640x360/00001.jpg",
        [0.5, -0.5],
        "2-30-640x360/00001.jpg,0.5000,-0.5000",
        "S_VA",
    ),
    (
        "au",
        "image_location,AU1,AU2,AU4,AU6,AU7,AU10,AU12,AU15,AU23,AU24,AU25,AU26",
        "7-60-1920x1080/00012.jpg",
        [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1],
        "7-60-1920x1080/00012.jpg,1,0,0,0,0,0,0,0,0,0,1,1",
        "S_AU",
    ),
    (
        "mtl",
        "image,valence,arousal,expression,aus",
        "video45_1/00001.jpg",
        [0.7118, 0.3147, 7, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        "video45_1/00001.jpg,0.7118,0.3147,7,0,0,1,0,0,0,0,0,0,0,1,0",
        "P_MTL",
    ),
    ("lsd", "image,expression", "0.jpg", [3], "0.jpg,3", "P_LSD"),
    ("cexpr", f"image_location,{CEXPR_NAMES}", "01/00001.jpg", [0], "01/00001.jpg,0", "S_CEXPR"),
    ("affectnet8", "image,expression", "1.jpg", [7], "1.jpg,7", "top1"),
    ("affectnet7", "image,expression", "1.jpg", [6], "1.jpg,6", "top1"),
    ("emo135", "image,expression", "1.jpg", [134], "1.jpg,134", "S_EMO135"),
    (
        "expr2020",
        "image_location,Neutral,Anger,Disgust,Fear,Happiness,Sadness,Surprise",
        "v/00001.jpg",
        [6],
        "v/00001.jpg,6",
        "S_EXPR",
    ),
    (
        "au2020",
        "image_location,AU1,AU2,AU4,AU6,AU12,AU15,AU20,AU25",
        "v/00001.jpg",
        [0, 0, 1, 0, 0, 0, 0, 1],
        "v/00001.jpg,0,0,1,0,0,0,0,1",
        "S_AU",
    ),
]


@pytest.mark.parametrize(("name", "header", "image", "labels", "row", "score"), FILES, ids=[file[0] for file in FILES])
def test_submission_file_and_score_of_each_track(name, header, image, labels, row, score):
    track = get_track(name)
    assert ",".join(track.submission_header) == header
    assert track.format_row(image, labels) == row
    assert track.format_row(image, np.array(labels, dtype=np.float64)) == row
    assert len(labels) == len(track.label_columns)
    assert track.score == score
    assert track.higher_is_better


def test_every_track_has_a_row_here():
    assert [file[0] for file in FILES] == [*dict.fromkeys(file[0] for file in FILES)]
    assert {file[0] for file in FILES} == set(TRACKS)
    assert all(track.name == name for name, track in TRACKS.items())


def test_label_columns_and_sentinels_of_the_annotation_files():
    assert (VA.label_columns, VA.sentinel) == (("valence", "arousal"), -5)
    assert (EXPR.label_columns, EXPR.sentinel) == (("expression",), -1)
    assert (AU.label_columns, AU.sentinel) == (ACTION_UNITS, -1)
    mtl = get_track("mtl")
    assert mtl.label_columns == ("valence", "arousal", "expression", *ACTION_UNITS)
    assert mtl.columns == ("valence", "arousal", *EXPR.columns, *ACTION_UNITS)
    assert [len(get_track(name).columns) for name in ("lsd", "cexpr", "affectnet8", "affectnet7")] == [6, 7, 8, 7]
    assert get_track("emo135").columns == tuple(f"emotion_{k:03d}" for k in range(135))
    assert [get_track(name).top_k for name in ("affectnet8", "affectnet7", "emo135")] == [(1,), (1,), (1, 5, 10)]
    assert {task.sentinel for track in TRACKS.values() for task in track.tasks if task.kind != "regression"} == {-1}


def test_no_sentinel_is_a_valid_label():
    for track in TRACKS.values():
        for task in track.tasks:
            labels = np.full((1, len(task.label_columns)), task.sentinel, dtype=np.float64)
            assert not task.valid(labels).any()
            assert not task.valid(np.full_like(labels, np.nan)).any()


@pytest.mark.parametrize(
    ("task", "labels", "valid"),
    [
        (VA, [-1.0, 1.0], [True, True]),
        (VA, [-1.0001, 1.0001], [False, False]),
        (EXPR, [7.0], [True]),
        (EXPR, [8.0], [False]),
        (EXPR, [2.5], [False]),
        (get_track("lsd").tasks[0], [6.0], [False]),
        (AU, [1.0, 0.0, 2.0, 0.5, *[0.0] * 8], [True, True, False, False, *[True] * 8]),
    ],
)
def test_which_labels_are_valid(task, labels, valid):
    assert task.valid(np.array([labels])).tolist() == [valid]


def test_messages_say_which_labels_are_valid():
    assert [task.range_text for task in get_track("mtl").tasks] == [
        "a number in [-1, 1]", "an integer from 0 to 7", "0 or 1"
    ]  # fmt: skip
    assert get_track("affectnet7").tasks[0].range_text == "an integer from 0 to 6"


def test_a_track_gives_its_tasks_by_name_and_writes_their_values_one_after_the_other():
    assert [get_track("mtl").task(name) for name in ("au", "va", "expr")] == [AU, VA, EXPR]
    partner = replace(VA, name="partner", columns=("partner_valence", "partner_arousal"))
    two = Track(name="two", title="Two people", tasks=(VA, partner, EXPR), score="", submission_header=("image",))
    assert two.format_row("a.jpg", [0.1, 0.2, 0.3, 0.4, 5]) == "a.jpg,0.1000,0.2000,0.3000,0.4000,5"


def test_tracks_are_told_without_importing_numpy():
    code = "import sys, abaw.tracks; print('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_tie_of_classes_goes_to_the_first_column():
    scores_NC = np.array([[0.1, 0.3, 0.3, 0.0, 0.0, 0.3, 0.0, 0.0], [0.125] * 8, [0, 0, 0, 0, 0, 0, 0, 1.0]])
    assert EXPR.decide(scores_NC).tolist() == [[1.0], [0.0], [7.0]]


def test_an_action_unit_is_active_from_one_half_on():
    scores_NC = np.array([[0.5, np.nextafter(0.5, 0), 1.0, 0.0, 0.51, 0.49, *[0.0] * 6]])
    assert AU.decide(scores_NC).tolist() == [[1.0, 0.0, 1.0, 0.0, 1.0, 0.0, *[0.0] * 6]]


def test_valence_and_arousal_are_clipped():
    assert VA.decide(np.array([[1.7, -0.2], [-3.0, 1.0]])).tolist() == [[1.0, -0.2], [-1.0, 1.0]]


def test_a_decision_is_a_valid_label_and_float64():
    rng = np.random.default_rng(0)
    for track in TRACKS.values():
        for task in track.tasks:
            decided_ND = task.decide(rng.normal(size=(50, len(task.columns))).astype(np.float32))
            assert decided_ND.shape == (50, len(task.label_columns))
            assert decided_ND.dtype == np.float64
            assert task.valid(decided_ND).all()


def test_wrong_names_and_shapes_list_what_is_valid():
    with pytest.raises(
        ValueError, match=r"unknown track 'exp'; choose one of expr, au, va, mtl, lsd, cexpr"
    ) as refused:
        get_track("exp")
    assert all(name in str(refused.value) for name in TRACKS)
    with pytest.raises(ValueError, match="track lsd has no task 'au'; it has expr"):
        get_track("lsd").task("au")
    for shape in ((3,), (3, 7)):
        with pytest.raises(ValueError, match=r"expr predictions must have shape \(frames, 8\), not \(3"):
            EXPR.decide(np.zeros(shape))
