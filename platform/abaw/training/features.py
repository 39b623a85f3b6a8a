"""Writes a feature cache: a trained network sees every frame once, by Ray Data, on CPUs or GPUs.

Each task makes the file of one video; an actor loads the network once and makes one file after another. The network is
in evaluation mode and sees the views that its own predictions average over; features are averaged in the same way.
What is in a batch follows from the video alone, so the same machine writes the same bytes with any number of actors.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import ray.data
import torch
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy
from rich.console import Console
from rich.progress import track as progress

from abaw.data.augment import views_of
from abaw.data.batches import FrameSource, ahead
from abaw.data.features import (
    OURS,
    FeatureManifest,
    feature_file,
    feature_width,
    is_made_of,
    write_feature_file,
    write_feature_manifest,
)
from abaw.data.manifest import MANIFEST, read_manifest
from abaw.data.shards import open_frames
from abaw.data.storage import as_path, claim_folder, file_sizes, sha256_of
from abaw.problems import refuse
from abaw.runs import plain
from abaw.systems.system import Batch
from abaw.training.resources import Resources, settled
from abaw.training.trained import read_trained

BATCH = 256
"""Frames that the network sees at a time."""
VIDEOS_PER_ACTOR = 16
"""An actor takes seconds to load its network: fewer videos than this do not pay for another one."""


def write_features(
    run: Path, shards: Path, out: Path, *, splits: Sequence[str], resources: Resources
) -> FeatureManifest:
    """Write the features that a finished training gives to the frames of these splits, on the Ray that is connected.

    Goes on where an interrupted run left `out`: files that are there, whole and of the same features are kept.

    Args:
        run: folder of the training.
        shards: the frames; their labels are copied.
        out: folder, local or remote, that all workers see.
        splits: train, validation, test or unlabelled.
        resources: at most `workers` actors, each with its CPUs or GPU.

    Raises:
        BadInput: `run` is no finished training, `shards` hold no such frames, or `out` holds something else.
        ValueError: the system gives no feature of a frame, or a feature does not fit in float16.
    """
    trained, shards, out = read_trained(run), as_path(shards).absolute(), as_path(out).absolute()
    made_of = {
        "weights_sha256": sha256_of(run / "checkpoints" / "final.safetensors"),
        "system": plain(trained.config),
        "augmentation": plain(trained.augmentation),
        "shards_sha256": [file.sha256 for file in read_manifest(shards).files],
        "splits": sorted(splits),
    }
    digest = hashlib.sha256(json.dumps([trained.name, made_of], sort_keys=True).encode()).hexdigest()
    names = pl.DataFrame(open_frames(shards, columns=["video"], splits=splits))["video"].unique().sort()
    if names.is_empty():
        raise refuse(shards, f"holds no frame of the splits {', '.join(splits)}; expected one or more")
    videos = {f"videos/{k:05d}.parquet": video for k, video in enumerate(names)}
    claim_folder(out, OURS, go_on=True)
    (out / MANIFEST).unlink(missing_ok=True)
    for name in file_sizes(out):
        if not (name in videos and is_made_of(out / name, digest)):
            (out / name).unlink()
    extractor = {"run": run.absolute(), "shards": shards, "out": out, "splits": splits, "made_of": digest}
    resources = settled(resources)
    missing = [{"path": path, "video": video} for path, video in videos.items() if not (out / path).is_file()]
    _extract(missing, {**extractor, "resources": resources}, resources)
    manifest = FeatureManifest(
        features=feature_width(out / next(iter(videos))),
        system=trained.name,
        made_of=made_of,
        files=tuple(feature_file(out, path, video) for path, video in videos.items()),
    )
    write_feature_manifest(out, manifest)
    return manifest


def _extract(videos: list[dict[str, str]], extractor: dict[str, Any], resources: Resources) -> None:
    """Make the files of these videos."""
    if not videos:
        return
    # The bar below says what is written; Ray Data's own bars and notes would cut through it.
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    made = ray.data.from_items(videos, override_num_blocks=len(videos)).map(
        Extractor,
        fn_constructor_kwargs=extractor,
        compute=ActorPoolStrategy(size=min(resources.workers, -(-len(videos) // VIDEOS_PER_ACTOR))),
        num_cpus=resources.cpus_per_worker,
        num_gpus=resources.gpus_per_worker,
    )
    for _ in progress(made.iter_rows(), "writing features", total=len(videos), console=Console(stderr=True)):
        pass


class Extractor:
    """A network that is loaded once and makes one file after another."""

    def __init__(
        self, *, run: Path, shards: Path, out: Path, splits: Sequence[str], made_of: str, resources: Resources
    ) -> None:
        self.device = torch.device("cuda" if resources.gpus_per_worker else "cpu")
        if self.device.type == "cpu":
            torch.set_num_threads(resources.threads)
        self.trained = read_trained(run)
        self.system = self.trained.system.to(self.device)
        self.source = FrameSource(shards, splits=splits)
        self.out, self.made_of, self.loading = out, made_of, resources.loading.resolved()

    def __call__(self, job: dict[str, str]) -> dict[str, str]:
        """Make the file at `path` of the features of `video`."""
        rows_N = (self.source.table["video"] == job["video"]).arg_true().to_numpy().astype(np.int64)
        parts = (rows_N[start : start + BATCH] for start in range(0, len(rows_N), BATCH))
        features = [self.features(batch) for batch in ahead(self.source.batch, parts, self.loading)]
        labels = self.source.table[rows_N]
        write_feature_file(np.concatenate(features), labels, self.out / job["path"], self.made_of)
        return {"path": job["path"]}

    @torch.no_grad()
    def features(self, batch: Batch) -> NDArray[np.float32]:
        """The features (B, F) of a batch of frames: the mean over their views."""
        views = views_of(batch["image"].to(self.device), self.trained.augmentation)
        mean_BF = torch.stack([self.system.features({"image": view}) for view in views]).mean(dim=0)
        features_BF: NDArray[np.float32] = mean_BF.float().cpu().numpy()
        return features_BF
