"""Folds: whole videos, balanced, the same every time, and never overlapping."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw.folds import Folds, _histogram, _shares, check_disjoint, fold_group, make_folds, official_fold
from abaw.problems import BadInput


def frame_table(seed, videos, frames=40):
    """A frame table with every label, some of them missing; videos differ in length and in what they show."""
    rng = np.random.default_rng(seed)
    parts = []
    for video in videos:
        rows = int(rng.integers(frames // 2, frames * 2))
        shown = rng.dirichlet(np.full(8, 0.3))
        expression = pl.Series(rng.choice(8, rows, p=shown).astype(np.int8))
        parts.append(
            pl.DataFrame(
                {
                    "video": [video] * rows,
                    "frame": np.arange(1, rows + 1, dtype=np.int32),
                    "valence": rng.uniform(-1, 1, rows).astype(np.float32),
                    "arousal": rng.uniform(-1, 1, rows).astype(np.float32),
                    "expression": expression.scatter(rng.integers(0, rows, rows // 5), None),
                    "au": pl.Series((rng.random((rows, 12)) < 0.2).astype(np.int8), dtype=pl.Array(pl.Int8, 12)),
                }
            )
        )
    return pl.concat(parts)


def shares(frames, folds, feature):
    """Part of the frames with `feature` that each fold holds out."""
    held = frames.with_columns(folds.fold_of(frames["video"])).filter(feature)
    counts = [held.filter(pl.col("fold") == fold).height for fold in range(folds.k)]
    return np.array(counts) / held.height


@pytest.mark.parametrize(
    ("video", "group"),
    [
        ("10-60-1280x720_left", "10-60-1280x720"),
        ("10-60-1280x720_right", "10-60-1280x720"),
        ("video45_1", "video45_1"),
        ("left_turn", "left_turn"),
        ("x_left_2", "x_left_2"),
        ("102", "102"),
        ("102-30-640x360", "102-30-640x360"),
        ("_left", "_left"),
    ],
)
def test_only_a_trailing_side_is_stripped(video, group):
    assert fold_group(video) == group


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    names=st.lists(
        st.sampled_from(["1", "10", "102", "102-30-640x360", "7", "a_b", "video45_1", "video45_10"]),
        min_size=3,
        unique=True,
    ),
    pairs=st.integers(0, 3),
    k=st.integers(2, 5),
)
def test_every_video_is_held_out_once_and_no_group_is_split(seed, names, pairs, k):
    videos = [
        side for i, name in enumerate(names) for side in ((f"{name}_left", f"{name}_right") if i < pairs else (name,))
    ]
    frames = frame_table(seed, videos, frames=10)
    if k > len(names):
        with pytest.raises(
            ValueError, match=f"k = {k} folds of {len(names)} videos; expected k from 2 to {len(names)}"
        ):
            make_folds(frames, k=k, seed=seed)
        return
    folds = make_folds(frames, k=k, seed=seed)
    held_out = [folds.held_out(fold) for fold in range(k)]
    assert sorted(video for one in held_out for video in one) == sorted(videos)
    for fold in range(k):
        assert held_out[fold], "a fold holds nothing out"
        assert sorted(held_out[fold] + folds.train(fold)) == sorted(videos)
        check_disjoint(folds.train(fold), held_out[fold])
        assert not {fold_group(v) for v in held_out[fold]} & {fold_group(v) for v in folds.train(fold)}


def test_folds_are_balanced_in_frames_and_in_every_label():
    frames = frame_table(0, [f"v{i}" for i in range(120)])
    folds = make_folds(frames, k=5, seed=3)
    assert shares(frames, folds, pl.lit(True)) == pytest.approx(np.full(5, 0.2), abs=0.01)
    for label in range(8):
        assert shares(frames, folds, pl.col("expression") == label) == pytest.approx(np.full(5, 0.2), abs=0.04)
    for unit in range(12):
        assert shares(frames, folds, pl.col("au").arr.get(unit) == 1) == pytest.approx(np.full(5, 0.2), abs=0.03)
    positive = (pl.col("valence") > 0) & (pl.col("arousal") > 0)
    assert shares(frames, folds, positive) == pytest.approx(np.full(5, 0.2), abs=0.02)


def test_rare_labels_are_spread_better_than_by_chance():
    frames = frame_table(1, [f"v{i}" for i in range(60)])
    rng = np.random.default_rng(0)
    made, chance = [], []
    for label in range(8):
        made.append(np.ptp(shares(frames, make_folds(frames, k=4, seed=0), pl.col("expression") == label)))
        random = Folds(k=4, seed=0, assignment={f"v{i}": int(f) for i, f in enumerate(rng.permutation(60) % 4)})
        chance.append(np.ptp(shares(frames, random, pl.col("expression") == label)))
    assert np.mean(made) < np.mean(chance) / 2


def test_each_label_of_a_group_is_counted_and_weighs_by_its_kind():
    frames = pl.DataFrame(
        {
            "video": ["a_left", "a_left", "a_right", "b", "b", "b"],
            "expression": [0, None, 2, 2, 0, 2],
            "au": pl.Series([[1, 0], [1, 1], None, [0, 0], [0, 1], [0, 1]], dtype=pl.Array(pl.Int8, 2)),
            # Octants of the circle from -pi on: the angles are 6, 180, -84, -174, 96 degrees, and none.
            "valence": [0.9, -1.0, 0.1, -0.9, -0.1, None],
            "arousal": [0.1, 0.0, -0.9, -0.1, 0.9, None],
        }
    )
    counted = _histogram(frames)
    assert counted.columns[:6] == ["group", "frames", "expression 0", "expression 2", "au 0", "au 1"]
    assert counted.columns[6:] == [f"va {part}" for part in (-4, -3, -2, -1, 0, 1, 2, 3)]
    assert counted.rows() == [
        ("a", 3, 1, 1, 2, 1, 0, 0, 1, 0, 1, 0, 0, 1),
        ("b", 3, 1, 2, 0, 2, 1, 0, 0, 0, 0, 0, 1, 0),
    ]
    # Kinds: frames once, two classes, two units, five octants that anybody is in.
    weighted = [
        1 / 2,
        *(np.array([1 / 2, 1 / 3, 2 / 2, 1 / 3]) / np.sqrt(2)),
        *(np.array([0, 1, 1, 0, 1]) / np.sqrt(5)),
    ]
    np.testing.assert_allclose(_shares(counted)[0], weighted, rtol=1e-12)


def test_long_videos_are_placed_first_so_that_short_ones_even_out():
    frames = pl.DataFrame(
        {"video": [video for video, n in zip("abcde", (5, 16, 64, 18, 20), strict=True) for _ in range(n)]}
    )
    for seed in range(8):
        folds = make_folds(frames, k=2, seed=seed)
        assert folds.held_out(folds.assignment["c"]) == ["c"]


def test_folds_are_deterministic_whatever_the_order_of_the_rows():
    frames = frame_table(2, [f"v{i}" for i in range(30)])
    folds = make_folds(frames, k=3, seed=5)
    again = make_folds(frames.sample(fraction=1, shuffle=True, seed=1), k=3, seed=5)
    assert again == folds
    assert again.hash == folds.hash
    assert make_folds(frames, k=3, seed=6).hash != folds.hash


def test_labels_may_be_absent():
    frames = frame_table(3, [f"v{i}" for i in range(12)])
    for columns in (["video"], ["video", "expression"], ["video", "au"], ["video", "valence", "arousal"]):
        folds = make_folds(frames.select(columns), k=3, seed=0)
        assert shares(frames, folds, pl.lit(True)) == pytest.approx(np.full(3, 1 / 3), abs=0.1)


def test_wrong_k_and_no_frames_are_refused():
    frames = frame_table(4, ["a", "b_left", "b_right"])
    for k in (0, 1, 3):
        with pytest.raises(ValueError, match=f"k = {k} folds of 2 videos; expected k from 2 to 2"):
            make_folds(frames, k=k, seed=0)
    with pytest.raises(ValueError, match="no frames to make folds of"):
        make_folds(frames.clear(), k=2, seed=0)


def test_the_official_split_is_one_fold():
    split = pl.DataFrame(
        {
            "video": ["102", "102-30-640x360", "7_left", "9", "9"],
            "split": ["train", "validation", "train", "test", "test"],
        }
    )
    folds = official_fold(split)
    assert folds.held_out(0) == ["102-30-640x360"]
    assert folds.train(0) == ["102", "7_left"]
    assert folds.fold_of(split["video"]).to_list() == [None, 0, None, None, None]
    with pytest.raises(ValueError, match="no frames of split validation"):
        official_fold(split.filter(pl.col("split") != "validation"))
    with pytest.raises(BadInput, match="7_right: is held out, but 7_left of the same video is trained on"):
        official_fold(pl.concat([split, pl.DataFrame({"video": ["7_right"], "split": ["validation"]})]))


def test_check_disjoint_lists_every_video_concerned():
    check_disjoint(["102", "7"], ["102-30-640x360", "10"])
    with pytest.raises(BadInput) as refused:
        check_disjoint(["a_left", "b", "c"], ["c", "a_right", "d", "a_right"])
    assert [problem.path for problem in refused.value.problems] == ["a_right", "c"]


def test_folds_that_split_a_group_or_hold_nothing_out_are_refused():
    with pytest.raises(BadInput, match="x_right: is in fold 1, but x_left of the same video is in fold 0"):
        Folds(k=2, seed=0, assignment={"x_left": 0, "x_right": 1})
    with pytest.raises(BadInput, match=r"folds \[2\] are empty or unknown; expected videos in each of 0 to 2"):
        Folds(k=3, seed=0, assignment={"a": 0, "b": 1})
    with pytest.raises(ValueError, match="no fold 2; choose one from 0 to 1"):
        Folds(k=2, seed=0, assignment={"a": 0, "b": 1}).held_out(2)


def test_the_hash_and_the_file_do_not_depend_on_the_order_of_the_videos(tmp_path):
    one, other = (
        Folds(k=2, seed=None, assignment=dict(pairs)) for pairs in ([("b", 1), ("a", 0)], [("a", 0), ("b", 1)])
    )
    assert one.hash == other.hash
    one.save(tmp_path / "folds.json")
    lines = (tmp_path / "folds.json").read_text().splitlines()
    assert lines[2:5] == ['  "assignment": {', '   "a": 0,', '   "b": 1'], "a line a video, to be compared by eye"


def test_saved_folds_are_loaded_and_checked(tmp_path):
    path = tmp_path / "folds.json"
    folds = make_folds(frame_table(5, ["a_left", "a_right", "b", "c"]), k=2, seed=1)
    folds.save(path)
    assert Folds.load(path) == folds
    assert Folds.load(path).hash == folds.hash == json.loads(path.read_text())["hash"]
    assert [file.name for file in tmp_path.iterdir()] == ["folds.json"]

    stored = json.loads(path.read_text())
    stored["content"]["assignment"] = {"a_left": 0, "a_right": 0, "b": 1, "c": 1}
    stored["content"]["seed"] = 9
    path.write_text(json.dumps(stored))
    with pytest.raises(
        BadInput, match=r"folds\.json: its content has hash \w+, but it states \w+; it was edited or damaged"
    ):
        Folds.load(path)
    for text in ("0" * 64, "f" * 64):
        path.write_text(json.dumps({**stored, "hash": text}))
        with pytest.raises(BadInput, match=f"but it states {text}"):
            Folds.load(path)
    stored["content"]["assignment"]["a_right"] = 1
    path.write_text(json.dumps(stored))
    with pytest.raises(BadInput, match=r"folds\.json: a_right: is in fold 1, but a_left"):
        Folds.load(path)
    for text in ("", "[]", '{"content": 3}'):
        path.write_text(text)
        with pytest.raises(BadInput, match="not a folds file"):
            Folds.load(path)
    with pytest.raises(BadInput, match="no such folds file"):
        Folds.load(tmp_path / "missing.json")
