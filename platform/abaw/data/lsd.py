"""The synthetic faces of the LSD challenge (ABAW4): class folders of still images, by split.

Layout: `<train|val|test>.../<CLASS>/**/*.jpg`; the class folders are in upper case and one of them was delivered as
`ANGRER`. Test images lie in no class folder and have no label.
"""

from pathlib import Path

import polars as pl

from abaw.annotations import CLASS_FOLDERS
from abaw.data.files import list_jpegs
from abaw.data.frames import Collection
from abaw.data.stills import collect, leave_out, split_named


def read_lsd(root: Path) -> Collection:
    """The delivery below `root`; images outside the splits, and outside the classes but in test, are drops."""
    images, drops = list_jpegs(root)
    named = pl.col("folder").str.to_uppercase().str.extract(rf"(?:^|/)({'|'.join(CLASS_FOLDERS)})(?:/|$)")
    expression = named.replace_strict(CLASS_FOLDERS, default=None, return_dtype=pl.Int16)
    images = images.with_columns(split=split_named(pl.col("folder")), expression=expression)
    images, outside = leave_out(images, pl.col("split").is_null(), "lies in no folder named train, val or test")
    unlabelled = pl.col("expression").is_null() & (pl.col("split") != "test")
    images, unclear = leave_out(
        images, unlabelled, f"lies in no class folder; expected one of {', '.join(CLASS_FOLDERS)}"
    )
    return collect(images, [*drops, *outside, *unclear], source=root, track="lsd")
