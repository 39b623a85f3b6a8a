from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import simplejpeg
import torch
from torch import Tensor

from abaw.data.affwild2 import read_affwild2
from abaw.data.augment import Augmentation
from abaw.data.batches import FrameSource, Loading, batches, evaluation_batches, steps_per_epoch
from abaw.data.jpegs import copies_folder
from abaw.data.sampling import OUTSIDE, Sampling, epoch_order
from abaw.data.shards import open_frames, write_shards
from abaw.data.storage import as_path
from abaw.problems import BadInput
from abaw.tracks import ACTION_UNITS, TRACKS


@pytest.fixture(scope="module")
def shards(local_ray: None, tmp_path_factory: pytest.TempPathFactory, write_delivery: Callable[[Path], Any]) -> Path:
    """The delivery of the conftest and a video of 60 larger crops, 40 of them labelled, as shards."""
    tree = write_delivery(tmp_path_factory.mktemp("batches") / "delivery")
    tree.crops("cropped_aligned/large", list(range(1, 61)), size=48)
    tree.labels("EXPR_Classification_Challenge", "Train_Set/large", [str(k % 3) for k in range(40)])
    out = tree.root.parent / "shards"
    write_shards(read_affwild2(tree.root).frames, out, slots=3, rows_per_file=16)
    return out


def rows_of(parts: list[dict[str, Tensor]]) -> list[int]:
    return [row for part in parts for row in part["index"].tolist()]


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
        "frame": ((5,), torch.int64),
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
    labelled = FrameSource(shards, tasks=TRACKS["mtl"].tasks)
    assert labelled.table.group_by("video").len().sort("video").rows() == [
        ("102", 9),
        ("102-30-640x360", 4),
        ("large", 40),
        ("new", 1),
    ]
    labels = labelled.labels()
    assert [name for name in labels.column_names if name.startswith("AU")] == list(ACTION_UNITS)
    assert labels["AU4"].to_pylist()[9:13] == [1, 1, 1, 1]
    assert labels["expression"].to_pylist()[:3] == [0, 1, 3]
    with pytest.raises(BadInput, match=r"holds no video 10, 2; 2 of 3 are missing"):
        FrameSource(shards, videos=["102", "2", "10"])


SAMPLINGS = {
    "all": Sampling(),
    "one of three": Sampling(one_of=3),
    "per class": Sampling(per_class=9),
    "balanced": Sampling(balanced=True),
    "windows": Sampling(window=4, stride=3),
}


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("name", SAMPLINGS)
def test_global_batches_are_the_same_for_any_number_of_workers(shards: Path, world: int, name: str) -> None:
    source, sampling = FrameSource(shards), SAMPLINGS[name]
    common = {"global_batch": 8, "seed": 7, "epoch": 2, "sampling": sampling}
    common["augmentation"] = Augmentation(colour=0.2, rand_augment=9.0)
    order = epoch_order(source.table, seed=7, epoch=2, sampling=sampling)
    parts = [list(batches(source, rank=rank, world=world, **common)) for rank in range(world)]
    alone = list(batches(source, rank=0, world=1, **common))
    assert len(alone) == steps_per_epoch(source, global_batch=8, sampling=sampling) > 1
    for step, whole in enumerate(alone):
        rows = order[step * 8 : (step + 1) * 8]
        assert torch.equal(whole["index"][whole["mask"]] if "mask" in whole else whole["index"], rows_in(rows))
        for rank in range(world):
            part = parts[rank][step]
            for column in whole:
                assert torch.equal(part[column], whole[column][rank::world])


def rows_in(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows[rows != OUTSIDE])


@pytest.mark.parametrize("name", SAMPLINGS)
def test_resuming_at_a_step_gives_what_an_unbroken_epoch_gives(shards: Path, name: str) -> None:
    common = {"global_batch": 4, "rank": 1, "world": 2, "seed": 1, "epoch": 4, "sampling": SAMPLINGS[name]}
    common["augmentation"] = Augmentation(erase=0.5, saturation=0.3)
    whole = list(batches(FrameSource(shards), **common))
    resumed = list(batches(FrameSource(shards), start_step=2, **common))
    assert len(resumed) == len(whole) - 2 > 0
    for first, second in zip(whole[2:], resumed, strict=True):
        assert all(torch.equal(first[column], second[column]) for column in first)


@pytest.mark.parametrize("loading", [Loading(decoders=1, prefetch=1), Loading(decoders=5, prefetch=2), Loading()])
def test_how_images_are_loaded_changes_no_batch(shards: Path, loading: Loading) -> None:
    source = FrameSource(shards)
    common = {"global_batch": 8, "rank": 0, "world": 1, "seed": 1, "epoch": 4, "augmentation": Augmentation()}
    for one, other in zip(batches(source, **common), batches(source, loading=loading, **common), strict=True):
        assert all(torch.equal(one[column], other[column]) for column in one)


def test_decoders_share_the_cpus_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for cpus, workers, decoders in [(2, 1, 2), (2, 2, 1), (2, 4, 1), (64, 8, 8), (64, 1, 16)]:
        monkeypatch.setattr("os.cpu_count", lambda cpus=cpus: cpus)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(workers))
        assert Loading().resolved() == Loading(decoders=decoders, prefetch=decoders + 1)
    assert Loading(decoders=3).resolved() == Loading(decoders=3, prefetch=4)
    assert Loading(prefetch=9).resolved().prefetch == 9


def test_the_caller_computes_with_as_many_threads_as_before(shards: Path) -> None:
    before = torch.get_num_threads()
    list(evaluation_batches(FrameSource(shards), batch=8, rank=0, world=1))
    assert torch.get_num_threads() == before


def test_windows_hold_frames_in_order_and_say_where_they_reach_beyond_the_video(shards: Path) -> None:
    source = FrameSource(shards, videos=["102"])
    rows = np.array([[OUTSIDE, OUTSIDE, 0, 1], [2, 3, 4, 5], [7, 8, OUTSIDE, OUTSIDE]])
    batch = source.batch(rows)
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "image": (3, 4, 3, 48, 48), "va": (3, 4, 2), "va_mask": (3, 4), "expression": (3, 4),
        "expression_mask": (3, 4), "au": (3, 4, 12), "au_mask": (3, 4, 12), "frame": (3, 4), "index": (3, 4),
        "mask": (3, 4),
    }  # fmt: skip
    assert torch.equal(batch["mask"], torch.from_numpy(rows != OUTSIDE))
    assert batch["frame"].tolist() == [[1, 1, 1, 2], [4, 5, 6, 7], [9, 10, 10, 10]]
    singles = source.batch(np.array([0, 1]))
    for column in singles:
        assert torch.equal(batch[column][0, 2:], singles[column])
    assert torch.equal(batch["image"][0, 0], singles["image"][0])
    for column in ("va_mask", "expression_mask", "au_mask"):
        assert not batch[column][~batch["mask"]].any()
    assert singles["va_mask"].all()


def test_frames_of_a_window_are_changed_alike(shards: Path) -> None:
    source = FrameSource(shards, videos=["large"])
    source.batch = lambda rows: {"image": torch.arange(48, dtype=torch.uint8).expand(*rows.shape, 3, 48, 48)}  # type: ignore[method-assign]
    settings = {"global_batch": 3, "rank": 0, "world": 1, "seed": 0, "epoch": 0}
    for batch in batches(source, sampling=Sampling(window=5), augmentation=Augmentation(crop_scale=0.5), **settings):
        assert (batch["image"] == batch["image"][:, :1]).all()
        assert not torch.equal(batch["image"][0], batch["image"][1])


@pytest.mark.parametrize("one_of", [1, 3])
@pytest.mark.parametrize("world", [1, 2, 5])
def test_evaluation_by_windows_sees_every_row_once_as_far_apart_as_in_training(
    shards: Path, world: int, one_of: int
) -> None:
    source, sampling = FrameSource(shards), Sampling(window=7, one_of=one_of)
    seen: list[int] = []
    for rank in range(world):
        for batch in evaluation_batches(source, batch=4, rank=rank, world=world, sampling=sampling):
            seen += batch["index"][batch["mask"]].tolist()
            both = batch["mask"][:, 1:] & batch["mask"][:, :-1]
            assert (batch["frame"].diff(dim=1)[both] % one_of == 0).all()
    assert sorted(seen) == list(range(len(source)))
    assert (seen == sorted(seen)) == (one_of == 1)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_evaluation_sees_every_row_once(shards: Path, world: int) -> None:
    source = FrameSource(shards, splits=["train", "validation"])
    seen = [rows_of(list(evaluation_batches(source, batch=4, rank=rank, world=world))) for rank in range(world)]
    assert [row for part in seen for row in part] == list(range(len(source)))


def test_more_workers_than_rows_and_no_rows_at_all(shards: Path) -> None:
    source = FrameSource(shards, videos=["t1"])
    seen = [rows_of(list(evaluation_batches(source, batch=4, rank=rank, world=5))) for rank in range(5)]
    assert sorted(row for part in seen for row in part) == [0, 1]
    empty = FrameSource(shards, videos=["t1"], tasks=TRACKS["mtl"].tasks)
    assert len(empty) == 0
    for sampling in (Sampling(), Sampling(one_of=10), Sampling(window=7)):
        assert steps_per_epoch(empty, global_batch=1, sampling=sampling) == 0
        assert list(evaluation_batches(empty, batch=4, rank=0, world=1, sampling=sampling)) == []


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


def test_copies_lie_beside_the_shards_or_in_a_cache_where_those_are_not_ours(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert copies_folder(shards) == shards / ".arrow"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    assert copies_folder(as_path("memory://bucket/shards")) == tmp_path / "user" / "abaw" / "images"
    monkeypatch.setenv("ABAW_CACHE", str(tmp_path / "cache"))
    assert copies_folder(as_path("memory://bucket/shards")) == tmp_path / "cache" / "images"


def test_shards_on_another_file_system_give_the_same_batches(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABAW_CACHE", str(tmp_path / "cache"))
    remote = as_path("memory://bucket/shards")
    for path in shards.rglob("*"):
        if path.is_file() and ".arrow" not in path.parts:
            (remote / path.relative_to(shards).as_posix()).write_bytes(path.read_bytes())
    ours, theirs = FrameSource(shards), FrameSource(remote)
    assert ours.table.equals(theirs.table)
    rows = np.arange(0, len(ours), 3)
    one, other = ours.batch(rows), theirs.batch(rows)
    assert all(torch.equal(one[column], other[column]) for column in one)
    copies = sorted((tmp_path / "cache" / "images").iterdir())
    assert [path.suffix for path in copies] == [".arrow"] * len(copies)
    for path in copies:
        path.chmod(0o400)
    again = FrameSource(remote).batch(rows)
    assert torch.equal(again["image"], one["image"])
