"""From prediction tables to official submission files and, where there is truth, the leaderboard."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from abaw.runs import read_result
from abaw.tracks import AU, Track
from leaderboard import board
from leaderboard.constant import constant_predictions
from leaderboard.entries import Request, submit

CONSTANT = "constant predictor"
STORE, SUBMISSIONS = "leaderboard.sqlite", "submissions"
"""What the stage leaves in its folder."""


def submit_all(
    tables: Mapping[str, Path],
    *,
    track: Track,
    training: pl.DataFrame,
    template: Path,
    truth: Path | None,
    folder: Path,
    author: str,
) -> dict[str, Any]:
    """Write, validate and rank every entry, a constant predictor first; returns the rows and where the files are.

    `tables` are prediction tables by the name of the entry; `training` holds the labels that the constant is made of.
    The store is made anew: a stage that was killed half way leaves entries of its own behind.
    """
    database = folder / STORE
    for leftover in folder.glob(f"{STORE}*"):
        leftover.unlink()
    store = f"sqlite:///{database}"
    submissions = folder / SUBMISSIONS
    constant = submissions / f"{track.name}-constant-predictor.txt"
    constant.unlink(missing_ok=True)
    constant_predictions(flat_labels(training), template, track, constant)
    files = {CONSTANT: constant, **tables}
    for name, file in files.items():
        submit(
            Request(
                files=(file,),
                track=track,
                template=template,
                name=name,
                truth=truth,
                author=author,
                baseline=name == CONSTANT,
                store=store,
                out=None if name == CONSTANT else submissions,
                overwrite=True,
            )
        )
    rows = [row.as_json() for row in board.rows(store, track)]
    return {"track": track.name, "store": store, "submissions": str(submissions), "entries": rows}


def flat_labels(frames: pl.DataFrame) -> pl.DataFrame:
    """The frame table's labels with one column an action unit, as the leaderboard reads them."""
    units = [pl.col("au").arr.get(k).alias(name) for k, name in enumerate(AU.columns)]
    return frames.select("valence", "arousal", "expression", *units)


def print_board(folder: Path, track: Track, *, as_json: bool) -> int:
    """Print the leaderboard of a finished board stage, and where its files are, wherever it was moved.

    Returns the exit code: 1 when an entry is invalid.
    """
    result = read_result(folder)
    if as_json:
        print(json.dumps(result, indent=1))
    else:
        _print_ranks(folder, track)
    return 1 if any(entry["status"] == "invalid" for entry in result["entries"]) else 0


def _print_ranks(folder: Path, track: Track) -> None:
    console = Console(highlight=False)
    store = f"sqlite:///{os.path.relpath(folder / STORE)}"
    rows = board.rows(store, track)
    console.print(board.render(rows, track))
    for line in board.unranked_lines(rows, track):
        console.print(line, soft_wrap=True)
    console.print(f"submission files: {os.path.relpath(folder / SUBMISSIONS)}/", soft_wrap=True)
    console.print(f"the board again:  leaderboard show --track {track.name} --store {store}", soft_wrap=True)
