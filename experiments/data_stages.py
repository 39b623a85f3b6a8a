"""The first stages of a recipe: the embedded faces, shards, and which labelled video is in which fold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from abaw.data.affwild2 import read_affwild2
from abaw.data.frames import Collection
from abaw.data.images import read_images
from abaw.data.lsd import read_lsd
from abaw.data.manifest import SCHEMA_VERSION, read_manifest
from abaw.data.shards import open_frames, write_shards
from abaw.faces.dataset import write_faces
from abaw.folds import make_folds, official_fold
from abaw.runs import plain
from experiments.inputs import is_shards, pool_of
from experiments.run import LABELLED, POOL, Run
from experiments.stages import Stage

LABELS = ("video", "frame", "valence", "arousal", "expression", "au", "split")
LABELLED_SPLITS = ("train", "validation")


def prepare_stage(run: Run) -> Stage:
    """The embedded faces in the official layout."""
    faces = run.recipe.faces

    def action(folder: Path) -> dict[str, Any]:
        # The folder's key holds the config: what a killed run left is of this one.
        summary = write_faces(folder / "faces", faces, resume=True)
        return {"summary": plain(summary), "contact_sheet": str(folder / "faces" / "contact_sheet.png")}

    return Stage(name="prepare", config=faces, action=action)


def delivery_of(run: Run, prepare: Sequence[Stage]) -> Path:
    """Root of the organisers' files."""
    root = run.recipe.delivery.root
    return root if root is not None else run.path(prepare[0], "faces")


def shards_stage(run: Run, name: str, prepare: Sequence[Stage]) -> Stage:
    """Parquet shards of the labelled and test frames, or of the unlabelled pool."""
    recipe = run.recipe
    root, given = delivery_of(run, prepare), recipe.delivery
    source = root if name == LABELLED else pool_of(recipe, root)
    # Only what these shards are made of: another pool or template is not to repeat trainings that never see it.
    made_of = {"root": given.root, "template": given.template, "stills": recipe.track.name == "lsd"}
    if name == POOL:
        made_of = {"pool": pool_of(recipe, given.root) if given.root else given.pool}
    config = {"schema": SCHEMA_VERSION, "slots": recipe.slots, **made_of}

    def action(folder: Path) -> dict[str, Any]:
        if is_shards(source):
            return {"manifest": plain(read_manifest(source))}
        found = _read(run, name, source, folder)
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


def _read(run: Run, name: str, source: Path, folder: Path) -> Collection:
    """What the source holds; Aff-Wild2 leaves a coverage report in the folder of the stage."""
    if name == POOL:
        return read_images(source)
    if run.recipe.track.name == "lsd":
        return read_lsd(source / "lsd" if run.recipe.delivery.root is None else source)
    delivery = read_affwild2(source, template=run.recipe.delivery.template)
    (folder / "coverage.md").write_text(delivery.coverage_markdown())
    return delivery


def folds_stage(run: Run, labelled: Stage) -> Stage:
    """Which labelled video is in which fold."""
    recipe = run.recipe

    def action(folder: Path) -> dict[str, Any]:
        frames = labels_of_split(run.data(labelled), LABELLED_SPLITS)
        folds = make_folds(frames, k=recipe.folds, seed=recipe.seed) if recipe.folds else official_fold(frames)
        folds.save(folder / "folds.json")
        return {"folds": folds.k, "hash": folds.hash}

    # The official split has no chance in it.
    seed = recipe.seed if recipe.folds else None
    return Stage(name="folds", config={"folds": recipe.folds, "seed": seed}, inputs=(labelled,), action=action)


def labels_of_split(shards: Path, splits: tuple[str, ...]) -> pl.DataFrame:
    """Labels without images of the frames of these splits."""
    return pl.DataFrame(open_frames(shards, columns=LABELS, splits=splits))
