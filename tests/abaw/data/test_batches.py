from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import simplejpeg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from abaw.data.affwild2 import read_affwild2
from abaw.data.batches import FrameSource, Sampling, batches, epoch_order, evaluation_batches, steps_per_epoch
from abaw.data.shards import open_frames, write_shards
from abaw.problems import BadInput
from abaw.tracks import ACTION_UNITS

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def shards(two_cpus: None, tmp_path_factory: pytest.TempPathFactory, write_delivery: Callable[[Path], Any]) -> Path:
    """The delivery of the conftest and a video of 60 larger crops, as shards."""
    tree = write_delivery(tmp_path_factory.mktemp("batches") / "delivery")
    tree.crops("cropped_aligned/large", list(range(1, 61)), size=48)
    out = tree.root.parent / "shards"
    write_shards(read_affwild2(tree.root).frames, out, slots=3, rows_per_file=16)
    return out


def rows_of(parts: list[dict[str, Tensor]]) -> list[int]:
    return [row for part in parts for row in part["index"].tolist()]


def frames_of(lengths: list[int]) -> pl.DataFrame:
    names = [name for k, length in enumerate(lengths) for name in [f"v{k}"] * length]
    frames = [frame for length in lengths for frame in range(1, length + 1)]
    return pl.DataFrame({"video": names, "frame": frames}, schema={"video": pl.String, "frame": pl.Int32})


def test_a_batch_holds_pixels_labels_and_masks_of_its_rows(shards: Path) -> None:
    source = FrameSource(shards, videos=["102", "102-30-640x360"])
    rows = np.array([14, 0, 3, 9])
    batch = source.batch(rows)
    assert batch["index"].tolist() == rows.tolist()
    assert source.table["video"].to_list() == ["102"] * 9 + ["102-30-640x360"] * 6
    table = pl.DataFrame(open_frames(shards)).filter(pl.col("video").is_in(["102", "102-30-640x360"]))
    for place, row in enumerate(rows):
        true = table.row(int(row), named=True)
        pixels = torch.from_numpy(simplejpeg.decode_jpeg(true["image"])).permute(2, 0, 1)[None].float()
        resized = torch.nn.functional.interpolate(pixels, size=(48, 48), mode="bilinear", antialias=True)[0]
        assert (batch["image"][place].float() - resized).abs().max() <= 1
        va = [true["valence"], true["arousal"]]
        assert batch["va_mask"][place].item() is (None not in va)
        assert batch["va"][place].tolist() == [value or 0.0 for value in va]
        assert batch["expression_mask"][place].item() is (true["expression"] is not None)
        assert batch["expression"][place].item() == (true["expression"] or 0)
        assert batch["au_mask"][place].tolist() == [unit is not None for unit in true["au"]]
        assert batch["au"][place].tolist() == [unit or 0 for unit in true["au"]]


def test_shapes_and_types_are_those_that_systems_expect(shards: Path) -> None:
    batch = FrameSource(shards).batch(np.arange(5))
    assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items()} == {
        "image": ((5, 3, 48, 48), torch.uint8),
        "va": ((5, 2), torch.float32),
        "va_mask": ((5,), torch.bool),
        "expression": ((5,), torch.int64),
        "expression_mask": ((5,), torch.bool),
        "au": ((5, 12), torch.float32),
        "au_mask": ((5, 12), torch.bool),
        "index": ((5,), torch.int64),
    }


def test_images_of_the_usual_size_are_not_touched(shards: Path) -> None:
    source = FrameSource(shards, videos=["large"])
    stored = open_frames(shards, columns=["video", "image"]).to_pylist()
    jpegs = [row["image"] for row in stored if row["video"] == "large"]
    image = source.batch(np.arange(60))["image"]
    for k, jpeg in enumerate(jpegs):
        np.testing.assert_array_equal(image[k].permute(1, 2, 0).numpy(), simplejpeg.decode_jpeg(jpeg))


def test_frames_are_chosen_by_equal_names_splits_and_labels(shards: Path) -> None:
    assert set(FrameSource(shards, videos=["102"]).table["video"]) == {"102"}
    assert set(FrameSource(shards, splits=["test"]).table["video"]) == {"t1"}
    labelled = FrameSource(shards, labelled=True)
    assert labelled.table.group_by("video").len().sort("video").rows() == [
        ("102", 9),
        ("102-30-640x360", 4),
        ("new", 1),
    ]
    labels = labelled.labels()
    assert [name for name in labels.column_names if name.startswith("AU")] == list(ACTION_UNITS)
    assert labels["AU4"].to_pylist()[9:] == [1, 1, 1, 1, 1]
    assert labels["expression"].to_pylist()[:3] == [0, 1, 3]
    with pytest.raises(BadInput, match=r"holds no video 10, 2; 2 of 3 are missing"):
        FrameSource(shards, videos=["102", "2", "10"])


@pytest.mark.parametrize("world", [1, 2, 4])
def test_global_batches_are_the_same_for_any_number_of_workers(shards: Path, world: int) -> None:
    source = FrameSource(shards)
    order = epoch_order(source.table, seed=7, epoch=2, sampling=Sampling())
    parts = [
        list(batches(source, global_batch=16, rank=rank, world=world, seed=7, epoch=2, flip=True, crop_scale=0.8))
        for rank in range(world)
    ]
    alone = list(batches(source, global_batch=16, rank=0, world=1, seed=7, epoch=2, flip=True, crop_scale=0.8))
    assert len(alone) == steps_per_epoch(source, global_batch=16, sampling=Sampling()) == 5
    for step, whole in enumerate(alone):
        assert whole["index"].tolist() == order[step * 16 : (step + 1) * 16].tolist()
        for rank in range(world):
            part = parts[rank][step]
            for name in whole:
                assert torch.equal(part[name], whole[name][rank::world])


def test_resuming_at_a_step_gives_what_an_unbroken_epoch_gives(shards: Path) -> None:
    source = FrameSource(shards, videos=["large"])
    settings = {"global_batch": 8, "rank": 1, "world": 2, "seed": 1, "epoch": 4, "flip": True, "crop_scale": 0.7}
    whole = list(batches(source, **settings))
    resumed = list(batches(source, start_step=4, **settings))
    assert len(whole) == 7
    assert len(resumed) == 3
    for first, second in zip(whole[4:], resumed, strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_epochs_and_seeds_differ(shards: Path) -> None:
    table = FrameSource(shards).table
    orders = [
        epoch_order(table, seed=seed, epoch=epoch, sampling=Sampling()) for seed, epoch in [(0, 0), (0, 1), (1, 0)]
    ]
    assert all(sorted(order) == list(range(table.height)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_workers_that_cannot_share_a_batch_are_refused(shards: Path) -> None:
    with pytest.raises(ValueError, match="global_batch 9 is not a multiple of the 2 workers"):
        next(batches(FrameSource(shards), global_batch=9, rank=0, world=2, seed=0, epoch=0))


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_evaluation_sees_every_row_once(shards: Path, world: int) -> None:
    source = FrameSource(shards, splits=["train", "validation"])
    seen = [rows_of(list(evaluation_batches(source, batch=4, rank=rank, world=world))) for rank in range(world)]
    assert [row for part in seen for row in part] == list(range(len(source)))


def test_more_workers_than_rows_and_no_rows_at_all(shards: Path) -> None:
    source = FrameSource(shards, videos=["t1"])
    seen = [rows_of(list(evaluation_batches(source, batch=4, rank=rank, world=5))) for rank in range(5)]
    assert sorted(row for part in seen for row in part) == [0, 1]
    empty = FrameSource(shards, videos=["t1"], labelled=True)
    assert len(empty) == 0
    assert steps_per_epoch(empty, global_batch=1, sampling=Sampling()) == 0
    assert list(evaluation_batches(empty, batch=4, rank=0, world=1)) == []


@settings(deadline=None, max_examples=30)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    one_of=st.integers(1, 12),
    seed=st.integers(0, 1000),
    cycle=st.integers(0, 5),
)
def test_k_epochs_of_one_in_k_see_every_frame_once(lengths: list[int], one_of: int, seed: int, cycle: int) -> None:
    table, sampling = frames_of(lengths), Sampling(one_of=one_of)
    epochs = range(cycle * one_of, (cycle + 1) * one_of)
    orders = [epoch_order(table, seed=seed, epoch=epoch, sampling=sampling) for epoch in epochs]
    assert sorted(np.concatenate(orders)) == list(range(table.height))
    for order in orders:
        for (_,), rows in table[order].group_by("video"):
            assert (rows["frame"].sort().diff().drop_nulls() == one_of).all()


def test_offsets_are_fresh_for_each_video_and_epoch() -> None:
    table, sampling = frames_of([100] * 20), Sampling(one_of=10)
    first_frames = []
    for epoch in range(40):
        rows = table[epoch_order(table, seed=0, epoch=epoch, sampling=sampling)]
        first_frames.append(tuple(rows.group_by("video").agg(pl.col("frame").min()).sort("video")["frame"]))
    assert all(len(set(frames)) > 3 for frames in first_frames)
    cycles = [tuple(first_frames[start : start + 10]) for start in range(0, 40, 10)]
    assert len(set(cycles)) == 4
    with pytest.raises(ValueError, match="one_of is 0; expected 1"):
        Sampling(one_of=0)


def test_an_epoch_of_one_slot_opens_the_files_of_one_slot_only(shards: Path) -> None:
    cache = shards / ".arrow"
    for path in cache.glob("*"):
        path.unlink()
    source = FrameSource(shards, videos=["large"])
    seen = rows_of(
        list(batches(source, global_batch=20, rank=0, world=1, seed=0, epoch=0, sampling=Sampling(one_of=3)))
    )
    assert len(seen) == 20
    slots = {path.name for path in cache.glob("*.arrow")}
    assert len(slots) <= 2  # the 30 or so frames of one slot lie in two files of 16 rows


def test_batches_are_decoded_only_a_few_ahead(shards: Path) -> None:
    begun: list[int] = []

    class Watched(FrameSource):
        def batch(self, rows_B: np.ndarray) -> dict[str, Tensor]:
            begun.append(len(rows_B))
            return super().batch(rows_B)

    stream = batches(Watched(shards, videos=["large"]), global_batch=4, rank=0, world=1, seed=0, epoch=0)
    assert begun == []
    next(stream)
    assert len(begun) <= 4
    stream.close()
    assert len(begun) <= 4
