"""A small world in the organisers' forms: a multi-task template, its truth, and prediction tables that lack crops."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from abaw.annotations import write_mtl_list
from abaw.predictions import schema, write_predictions
from abaw.tracks import TRACKS

if TYPE_CHECKING:
    from leaderboard.entries import Request
    from leaderboard.serving import Served

MTL = TRACKS["mtl"]
AU = MTL.task("au")
Table = Callable[..., pa.Table]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is not there yet, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/board.sqlite"
    url: str = request.getfixturevalue("postgres")()
    return url


def frames() -> list[tuple[str, int]]:
    # `vid` is a substring of `vid_left`: names must be matched by equality.
    return [(video, frame) for video in ("vid", "vid_left", "other") for frame in range(1, 60, 3)]


def labels() -> pl.DataFrame:
    rng = np.random.default_rng(7)
    keys = frames()
    walk_N2 = np.clip(np.cumsum(rng.normal(0, 0.2, (len(keys), 2)), axis=0), -1, 1)
    au_ND = rng.random((len(keys), 12)) < 0.4
    table = pl.DataFrame(
        {
            "video": [video for video, _ in keys],
            "frame": pl.Series([frame for _, frame in keys], dtype=pl.Int32),
            "valence": pl.Series(walk_N2[:, 0], dtype=pl.Float32),
            "arousal": pl.Series(walk_N2[:, 1], dtype=pl.Float32),
            "expression": pl.Series(rng.integers(0, 8, len(keys)), dtype=pl.Int8),
            **{name: pl.Series(au_ND[:, k].astype(np.int8)) for k, name in enumerate(AU.columns)},
        }
    )
    row = pl.int_range(pl.len())
    return table.with_columns(
        pl.when(row % 5 > 0).then("expression"), pl.when(row % 7 > 0).then("valence"), pl.when(row % 6 > 0).then("AU4")
    )


@pytest.fixture
def truth_list(tmp_path: Path) -> Path:
    path = tmp_path / "validation_set_annotations.txt"
    write_mtl_list(path, labels())
    return path


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template.txt"
    rows = "".join(f"{video}/{frame:05d}.jpg,\n" for video, frame in frames())
    path.write_text("image,valence,arousal,expression,aus\n" + rows)
    return path


@pytest.fixture
def make_table() -> Table:
    """Prediction table of the world: noise on the truth, every `gap`-th row absent."""

    def make(seed: int, noise: float = 0.3, gap: int = 4) -> pa.Table:
        rng = np.random.default_rng(seed)
        kept = labels().filter(pl.int_range(pl.len()) % gap > 0)
        n = len(kept)
        full = kept.with_columns(pl.col("expression", "valence", "AU4").fill_null(0))
        va_N2 = full.select("valence", "arousal").to_numpy() + rng.normal(0, noise, (n, 2))
        expr_NC = np.eye(8)[full["expression"].to_numpy()] + rng.random((n, 8)) * noise * 3
        au_ND = np.clip(full.select(AU.columns).to_numpy() * 0.6 + rng.random((n, 12)) * noise, 0, 1)
        scores_NC = np.concatenate([va_N2, expr_NC / expr_NC.sum(axis=1, keepdims=True), au_ND], axis=1)
        columns = {"video": kept["video"].to_list(), "frame": kept["frame"].to_list()}
        columns |= {name: list(scores_NC[:, k]) for k, name in enumerate(MTL.columns)}
        columns |= {f"label_{name}": kept[name].to_list() for name in MTL.label_columns}
        columns |= {"fold": [seed % 5] * n, "checkpoint": [f"seed {seed}"] * n}
        wanted = schema(MTL)
        return pa.table([pa.array(columns[field.name], field.type) for field in wanted], schema=wanted)

    return make


@pytest.fixture
def table_files(tmp_path: Path, make_table: Table) -> list[Path]:
    paths = []
    for seed, noise in enumerate((0.2, 0.4, 0.8)):
        paths.append(tmp_path / f"run{seed}.parquet")
        write_predictions(make_table(seed, noise), paths[-1])
    return paths


@dataclass(frozen=True)
class Team:
    """A team of the server under test, as it makes requests."""

    name: str
    token: str

    @property
    def auth(self) -> tuple[str, str]:
        return self.name, self.token


@pytest.fixture
def request_(tmp_path: Path, template: Path, truth_list: Path, table_files: list[Path]) -> "Request":
    """A submission of the first table to a board of its own."""
    from leaderboard.entries import Request

    return Request(
        files=(table_files[0],),
        track=MTL,
        template=template,
        truth=truth_list,
        name="first",
        author="ann",
        store=f"sqlite:///{tmp_path}/board.sqlite",
        out=tmp_path / "out",
    )


@pytest.fixture
def served(tmp_path: Path, store_url: str, template: Path, truth_list: Path) -> "Served":
    """A server's tracks, of the small world: mtl, and va whose submissions may be folders."""
    from leaderboard.serving import Served, read_challenge
    from leaderboard.store import open_store

    va = tmp_path / "va.txt"
    keys, rows = frames(), labels().select(pl.col("valence", "arousal").fill_null(0.5)).rows()
    lines = [f"{v}/{f:05d}.jpg,{x:.4f},{y:.4f}\n" for (v, f), (x, y) in zip(keys, rows, strict=True)]
    lines += [f"{v}/{f:05d}.jpg,-5,-5\n" for v in ("vid", "vid_left", "other") for f in range(1, 59) if (f - 1) % 3]
    va.write_text("image_location,valence,arousal\n" + "".join(sorted(lines)))
    challenges = {"mtl": read_challenge(MTL, template, truth_list), "va": read_challenge(TRACKS["va"], va, va)}
    files = tmp_path / "served"
    return Served(url=store_url, engine=open_store(store_url, create=True), files=files, challenges=challenges)


@pytest.fixture
def teams(served: "Served") -> tuple[Team, Team]:
    from leaderboard.teams import add_team

    return Team("ann", add_team(served.engine, "ann")), Team("ben", add_team(served.engine, "ben"))


@pytest.fixture
def official(tmp_path: Path, template: Path, table_files: list[Path]) -> Callable[[int], bytes]:
    """The submission file of run 0, 1 or 2: the lower, the better."""
    from leaderboard.export import export

    def make(run: int = 0) -> bytes:
        out = tmp_path / f"official{run}.txt"
        export([table_files[run]], MTL, template, out, overwrite=True)
        return out.read_bytes()

    return make
