"""Multi-task learning as stages: files, shards, folds, pre-training, fine-tuning, search, ensemble, board."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from abaw.data.affwild2 import read_affwild2
from abaw.data.frames import Collection
from abaw.data.images import read_images
from abaw.data.manifest import SCHEMA_VERSION, read_manifest
from abaw.data.shards import open_frames, write_shards
from abaw.faces.dataset import write_faces
from abaw.folds import Folds, make_folds, official_fold
from abaw.postprocess.apply import apply_smoothing
from abaw.predictions import read_predictions, write_predictions
from abaw.runs import plain, write_json
from abaw.search.smoothing import search_smoothing
from abaw.systems.mae import MaePretraining
from abaw.systems.multitask import MultiTask
from abaw.tracks import AU, EXPR, get_track
from abaw.training.evaluation import summary_over_workers
from abaw.training.job import Frames, TrainingJob
from abaw.training.workers import Worker
from experiments.board import submit_all
from experiments.inputs import is_shards, pool_of, template_of
from experiments.recipe import Recipe, Start
from experiments.stages import Stage
from leaderboard.ensemble import mean_of

MTL = get_track("mtl")
LABELLED, POOL = "shards/labelled", "shards/pool"


class Line:
    """The stages of one recipe below one run folder; each method makes one stage."""

    def __init__(self, recipe: Recipe, root: Path) -> None:
        self.recipe, self.root = recipe, root

    def stages(self) -> list[Stage]:
        """All stages, each after its inputs."""
        recipe = self.recipe
        prepare = [self.prepare()] if recipe.delivery.root is None else []
        labelled = self.shards(LABELLED, prepare)
        pool = [self.shards(POOL, prepare)] if "mae" in recipe.starts else []
        folds = self.folds(labelled)
        pretrain = [self.pretrain(shards) for shards in pool]
        members = {
            start: [self.finetune(start, fold, labelled, folds, pretrain) for fold in range(max(1, recipe.folds))]
            for start in recipe.starts
        }
        predictions = {start: self.predictions(start, trained) for start, trained in members.items()}
        smoothed = {start: self.search(start, table) for start, table in predictions.items()}
        ensemble = self.ensemble(list(smoothed.values()))
        board = self.board(prepare, labelled, predictions, smoothed, ensemble)
        return [
            *prepare, labelled, *pool, folds, *pretrain, *(stage for trained in members.values() for stage in trained),
            *predictions.values(), *smoothed.values(), ensemble, board,
        ]  # fmt: skip

    def path(self, stage: Stage, *parts: str) -> Path:
        """A file of a stage."""
        return stage.folder(self.root).absolute().joinpath(*parts)

    def data(self, shards: Stage) -> Path:
        """The shards that a stage gave: below its folder, or those that `abaw prepare` wrote before."""
        given = self.recipe.delivery.root if shards.name == LABELLED else self.recipe.delivery.pool
        return given.absolute() if given is not None and is_shards(given) else self.path(shards, "data")

    def delivery(self, prepare: Sequence[Stage]) -> Path:
        """Root of the organisers' files."""
        root = self.recipe.delivery.root
        return root if root is not None else self.path(prepare[0], "faces")

    def prepare(self) -> Stage:
        """The embedded faces in the official layout."""
        faces = self.recipe.faces

        def action(folder: Path) -> dict[str, Any]:
            # The folder's key holds the config: what a killed run left is of this one.
            summary = write_faces(folder / "faces", faces, resume=True)
            return {"summary": plain(summary), "contact_sheet": str(folder / "faces" / "contact_sheet.png")}

        return Stage(name="prepare", config=faces, action=action)

    def shards(self, name: str, prepare: Sequence[Stage]) -> Stage:
        """Parquet shards of the labelled and test videos, or of the unlabelled pool."""
        recipe = self.recipe
        root, given = self.delivery(prepare), recipe.delivery
        source = root if name == LABELLED else pool_of(recipe, root)
        config = {
            "schema": SCHEMA_VERSION,
            "slots": recipe.slots,
            "root": given.root,
            "pool": given.pool,
            "template": given.template,
        }

        def action(folder: Path) -> dict[str, Any]:
            if is_shards(source):
                return {"manifest": plain(read_manifest(source))}
            if name == LABELLED:
                delivery = read_affwild2(root, template=given.template)
                (folder / "coverage.md").write_text(delivery.coverage_markdown())
                found: Collection = delivery
            else:
                found = read_images(source)
            manifest = write_shards(
                found.frames,
                folder / "data",
                slots=recipe.slots,
                resume=True,
                drops=found.drops,
                track=found.track,
                source=str(source),
            )
            return {"manifest": plain(manifest)}

        return Stage(name=name, config=config, inputs=tuple(prepare), action=action)

    def folds(self, labelled: Stage) -> Stage:
        """Which labelled video is in which fold."""
        recipe = self.recipe

        def action(folder: Path) -> dict[str, Any]:
            frames = labels_of_split(self.data(labelled), ("train", "validation"))
            folds = make_folds(frames, k=recipe.folds, seed=recipe.seed) if recipe.folds else official_fold(frames)
            folds.save(folder / "folds.json")
            return {"folds": folds.k, "hash": folds.hash}

        return Stage(
            name="folds", config={"folds": recipe.folds, "seed": recipe.seed}, inputs=(labelled,), action=action
        )

    def pretrain(self, pool: Stage) -> Stage:
        """Masked autoencoding of the pool."""
        recipe = self.recipe
        system = MaePretraining(mae=recipe.mae)

        def job(folder: Path) -> TrainingJob:
            return TrainingJob(
                name="pretrain",
                folder=folder,
                system=system,
                optimisation=recipe.pretrain,
                seed=recipe.seed,
                train=Frames(shards=self.data(pool)),
                inputs=(pool.folder(self.root).name,),
            )

        return Stage(name="pretrain", config=[system, recipe.pretrain, recipe.seed], inputs=(pool,), job=job)

    def finetune(self, start: Start, fold: int, labelled: Stage, folds: Stage, pretrain: Sequence[Stage]) -> Stage:
        """Fine-tuning on all folds but one; predicts that one and the test videos."""
        recipe = self.recipe
        name = f"finetune/{start}/fold-{fold}"
        encoder = replace(recipe.mae.encoder, drop_path=recipe.drop_path)
        system = MultiTask(encoder=encoder, pool=recipe.pool)
        inputs = (labelled, folds, *(pretrain if start == "mae" else ()))

        def job(folder: Path) -> TrainingJob:
            shards = self.data(labelled)
            split = Folds.load(self.path(folds, "folds.json"))
            training = tuple(split.train(fold))
            frames = labels_of_split(shards, ("train", "validation")).filter(pl.col("video").is_in(training))
            return TrainingJob(
                name=name,
                folder=folder,
                system=weighted(system, frames, power=recipe.weight_power),
                optimisation=recipe.finetune,
                seed=recipe.seed,
                train=Frames(shards=shards, videos=training),
                held_out=Frames(shards=shards, videos=tuple(split.held_out(fold))),
                predict={"test": Frames(shards=shards, splits=("test",))},
                track=MTL.name,
                init=self.path(pretrain[0], "checkpoints", "final.safetensors") if start == "mae" else None,
                fold=fold,
                inputs=tuple(stage.folder(self.root).name for stage in inputs),
            )

        config = [system, recipe.finetune, recipe.weight_power, recipe.seed]
        return Stage(name=name, config=config, inputs=inputs, job=job)

    def predictions(self, start: Start, trained: Sequence[Stage]) -> Stage:
        """Out-of-fold predictions of all folds in one table, and the mean of the folds on the test videos."""
        recipe = self.recipe

        def action(folder: Path) -> dict[str, Any]:
            held_out, test = (
                {
                    stage.name: read_predictions(self.path(stage, "predictions", f"{name}.parquet"), MTL)
                    for stage in trained
                }
                for name in ("held_out", "test")
            )
            out_of_fold = pa.concat_tables(held_out.values())
            write_predictions(out_of_fold, folder / "out_of_fold.parquet")
            write_predictions(mean_of(test, MTL), folder / "test.parquet")
            return summary_over_workers(out_of_fold, MTL, Worker(), seed=recipe.seed)

        return Stage(name=f"predict/{start}", config={}, inputs=tuple(trained), action=action)

    def search(self, start: Start, predictions: Stage) -> Stage:
        """Smoothing widths found on the out-of-fold predictions, applied to the test predictions."""
        recipe = self.recipe

        def action(folder: Path) -> dict[str, Any]:
            out_of_fold = read_predictions(self.path(predictions, "out_of_fold.parquet"), MTL)
            found = search_smoothing(
                out_of_fold, MTL, trials=recipe.trials, seed=recipe.seed, storage=(folder / "ray").absolute()
            )
            smoothing = {task: result.smoothing for task, result in found.items()}
            test = read_predictions(self.path(predictions, "test.parquet"), MTL)
            write_predictions(apply_smoothing(test, MTL, smoothing), folder / "test.parquet")
            smoothed = apply_smoothing(out_of_fold, MTL, smoothing)
            write_predictions(smoothed, folder / "out_of_fold.parquet")
            write_json(folder / "smoothing.json", plain(found))
            # In-sample: the widths were chosen on these frames; `cross_fitted` beside it says what they are worth.
            summary = summary_over_workers(smoothed, MTL, Worker(), seed=recipe.seed)
            return {"smoothing": plain(found), "in_sample": True, **summary}

        config = {"trials": recipe.trials, "seed": recipe.seed}
        return Stage(name=f"search/{start}", config=config, inputs=(predictions,), action=action)

    def ensemble(self, smoothed: Sequence[Stage]) -> Stage:
        """Mean of the smoothed predictions of all starts."""

        def action(folder: Path) -> dict[str, Any]:
            tables = {stage.name: read_predictions(self.path(stage, "test.parquet"), MTL) for stage in smoothed}
            write_predictions(mean_of(tables, MTL), folder / "test.parquet")
            return {"members": list(tables)}

        return Stage(name="ensemble", config={}, inputs=tuple(smoothed), action=action)

    def board(
        self,
        prepare: Sequence[Stage],
        labelled: Stage,
        predictions: dict[Start, Stage],
        smoothed: dict[Start, Stage],
        ensemble: Stage,
    ) -> Stage:
        """Official submission files of every entry, and the leaderboard of those with truth."""
        recipe = self.recipe
        named: dict[str, Stage] = {}
        for start, stage in predictions.items():
            named[TITLES[start]] = stage
            named[f"{TITLES[start]}, smoothed"] = smoothed[start]
        named["ensemble of all smoothed"] = ensemble

        def action(folder: Path) -> dict[str, Any]:
            root = self.delivery(prepare)
            template = template_of(recipe, root)
            truth = recipe.delivery.truth or (root / "held_out_truth" / "mtl.txt" if prepare else None)
            training = labels_of_split(self.data(labelled), ("train", "validation"))
            tables = {name: self.path(stage, "test.parquet") for name, stage in named.items()}
            return submit_all(
                tables, training=training, template=template, truth=truth, folder=folder.absolute(), author=recipe.name
            )

        config = {"template": recipe.delivery.template, "truth": recipe.delivery.truth}
        return Stage(name="board", config=config, inputs=(labelled, *named.values()), action=action)


TITLES: dict[Start, str] = {"scratch": "from scratch", "mae": "from MAE"}


LABELS = ("video", "frame", "valence", "arousal", "expression", "au", "split")


def labels_of_split(shards: Path, splits: tuple[str, ...]) -> pl.DataFrame:
    """Labels without images of the frames of these splits."""
    return pl.DataFrame(open_frames(shards, columns=LABELS, splits=splits))


def weighted(system: MultiTask, frames: pl.DataFrame, *, power: float) -> MultiTask:
    """The system with weights from the labels of `frames`.

    Classes: (1 / frames of the class) ** power, scaled to mean 1. Action units: (inactive / active frames) ** power,
    at most 10.
    """
    counts_C = np.bincount(frames["expression"].drop_nulls().to_numpy(), minlength=len(EXPR.columns)).clip(min=1)
    inverse_C = (1.0 / counts_C) ** power
    active_A = np.array([frames["au"].arr.get(unit).mean() or 0.0 for unit in range(len(AU.columns))]).clip(min=1e-3)
    return replace(
        system,
        expression_weight=tuple((inverse_C / inverse_C.mean()).round(4).tolist()),
        au_weight=tuple((((1 - active_A) / active_A) ** power).clip(max=10.0).round(4).tolist()),
    )
