"""Temporal heads on the features of MAE-Face: what the recent winners add to a network of single frames.

No paper's own recipe: windows, sizes and optimisation are ours, and none has been run at full size by us. Windows of
300 frames are ten seconds; where a window starts in its video is new in each epoch.
"""

from dataclasses import replace

from abaw.data.sampling import Sampling
from abaw.systems.temporal import Temporal
from abaw.training.optimisation import Optimisation
from experiments.mae_face import mae_face_mtl, mae_face_va
from experiments.recipe import Recipe
from experiments.sizes import ONE_PASS_VA, debug
from experiments.variants import PaperTable, Row

OPTIMISATION = Optimisation(
    epochs=30,
    warmup_epochs=2,
    batch_size=32,
    lr=1e-4,
    clip_norm=1.0,
    sampling=Sampling(window=300, stride=150),
)
"""32 windows of 300 frames a step; those of an epoch overlap by half."""


def _temporal(recipe: Recipe, name: str) -> Recipe:
    head = Temporal(track=recipe.track.name, width=512, depth=4, heads=8)
    return replace(recipe, name=name, temporal=head, temporal_optimisation=OPTIMISATION)


def temporal_va() -> Recipe:
    """MAE-Face for valence and arousal, and a Transformer over time on its features.

    Command: as that of `mae_face_va`; `--temporal.kind tcn --temporal.depth 7` takes a TCN.
    """
    return _temporal(mae_face_va(), "temporal_va")


def temporal_va_debug() -> Recipe:
    """The temporal head for valence and arousal at a size for tests; scores mean nothing."""
    return debug(temporal_va())


def temporal_mtl() -> Recipe:
    """MAE-Face for all three tasks at once, and a Transformer over time on its features.

    Command: as that of `mae_face_mtl`.
    """
    return _temporal(mae_face_mtl(), "temporal_mtl")


def temporal_mtl_debug() -> Recipe:
    """The temporal head for all three tasks at a size for tests; scores mean nothing."""
    return debug(temporal_mtl())


TABLES = (
    PaperTable(
        name="temporal",
        title="A temporal head on frozen features against single frames (no paper's)",
        recipe="temporal_va",
        measure="S_VA",
        beside="none given",
        small=ONE_PASS_VA,
        rows=(
            Row(name="frames", title="single frames", change={"temporal": None}),
            Row(name="transformer", title="Transformer", change={"temporal.kind": "transformer"}),
            Row(name="tcn", title="TCN", change={"temporal.kind": "tcn", "temporal.depth": 7}),
        ),
        remark="The embedded videos have 40 frames; windows have 20.",
    ),
)
