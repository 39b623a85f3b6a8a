"""The stages of a temporal head: the features of a fold's network, and the head that is trained on them.

What leaks, and what does not: the network of a fold was trained on the fold's training videos, the fold's head trains
on its features of the same videos, and is scored on those of the held-out ones, on which neither was trained. So its
held-out score is honest. But the features that it learns from are of videos that the network knows by heart, clearer
than those of new videos: a head may trust them too much. Each fold has features of its own, by its own network.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from abaw.data.features import read_feature_manifest
from abaw.folds import Folds
from abaw.training.job import Frames, TrainingJob
from experiments.data_stages import LABELLED_SPLITS, labels_of_split
from experiments.run import Run
from experiments.stages import Stage
from experiments.training_stages import weighted


def features_stage(run: Run, slug: str, fold: int, *, labelled: Stage, trained: Stage) -> Stage:
    """The features of all labelled and test frames, by the network of one fold."""

    def action(folder: Path) -> dict[str, Any]:
        from abaw.training.features import write_features  # Ray Data

        manifest = write_features(
            run.path(trained),
            run.data(labelled),
            folder / "data",
            splits=(*LABELLED_SPLITS, "test"),
            resources=run.recipe.resources,
        )
        frames = sum(file.frames for file in manifest.files)
        return {"features": manifest.features, "frames": frames, "videos": len(manifest.files)}

    return Stage(name=f"features/{slug}/fold-{fold}", config={}, inputs=(labelled, trained), action=action)


def temporal_stage(run: Run, slug: str, fold: int, *, labelled: Stage, folds: Stage, features: Stage) -> Stage:
    """The temporal head of one fold, which predicts its held-out and the test frames."""
    recipe, name, inputs = run.recipe, f"temporal/{slug}/fold-{fold}", (labelled, folds, features)
    head, optimisation = recipe.temporal, recipe.temporal_optimisation
    assert head is not None

    def job(folder: Path) -> TrainingJob:
        split = Folds.load(run.path(folds, "folds.json"))
        frames = Frames(shards=run.data(labelled), features=run.path(features, "data"), splits=LABELLED_SPLITS)
        videos = tuple(split.train(fold))
        labels = labels_of_split(frames.shards, LABELLED_SPLITS).filter(pl.col("video").is_in(videos))
        system = replace(head, features=read_feature_manifest(run.path(features, "data")).features)
        return TrainingJob(
            name=name,
            folder=folder,
            system=weighted(system, labels, power=recipe.weight_power, active=recipe.weigh_active),
            optimisation=optimisation,
            seed=recipe.seed,
            train=replace(frames, videos=videos),
            held_out=replace(frames, videos=tuple(split.held_out(fold))),
            predict={"test": replace(frames, splits=("test",))},
            track=recipe.track.name,
            fold=fold,
            inputs=run.names(inputs),
        )

    config = [head, optimisation, recipe.weight_power, recipe.weigh_active, recipe.seed]
    return Stage(name=name, config=config, inputs=inputs, job=job)
