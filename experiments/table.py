"""A paper's table on the embedded faces: every row over several seeds, beside the paper's figures, as Markdown.

Trainings that rows share, such as a pre-training, run once. All that are ready share one worker group.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from abaw.postprocess.apply import apply_smoothing
from abaw.predictions import read_predictions
from abaw.runs import provenance, read_result
from abaw.tracks import Track
from abaw.training.evaluation import statistics_of
from experiments.line import Line
from experiments.lock import driving
from experiments.progress import Progress
from experiments.ray_session import ray_session
from experiments.recipe import Recipe
from experiments.registry import get_recipe, get_table
from experiments.sizes import small
from experiments.stages import Stage, in_waves, run_stages
from experiments.variants import PaperTable, Row, with_fields
from leaderboard.ensemble import mean_of


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One row with our scores, one a seed."""

    row: Row
    scores: tuple[float, ...]
    """Empty where the row needs what the embedded faces do not have."""


def variant_of(table: PaperTable, row: Row) -> Recipe:
    """The recipe of a row at the paper's size."""
    return get_recipe(f"{table.recipe}-{row.name}")


def small_variant(table: PaperTable, row: Row, *, seed: int) -> Recipe:
    """The recipe of a row on the embedded faces."""
    tiny = with_fields(small(variant_of(table, row)), {**table.small, **(row.small or {})})
    return replace(tiny, seed=seed, name="tables")


def run_table(name: str, *, seeds: int, runs: Path, address: str | None, out: Path | None) -> int:
    """`abaw table`: measure, and print as Markdown, also to the file `out`; returns the exit code."""
    table, progress, root = get_table(name), Progress(), runs / "tables"
    if seeds < 1:
        raise ValueError(f"--seeds is {seeds}; expected 1 or more")
    _trained_rows(table)  # before Ray starts
    with driving(root), ray_session(address):
        rows = measure_table(table, seeds=seeds, root=root, progress=progress)
    text = markdown(table, rows, seeds=seeds)
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
    print(text)
    return 0


def measure_table(table: PaperTable, *, seeds: int, root: Path, progress: Progress) -> list[Measured]:
    """Run what is missing of all rows and seeds below `root`; returns the rows with our scores."""
    rows = _trained_rows(table)
    pairs = [(row, seed) for row in rows for seed in range(seeds)]
    lines = {(row.name, seed): Line(small_variant(table, row, seed=seed), root) for row, seed in pairs}
    stages = {stage.key: stage for line in lines.values() for stage in line.trainings()}
    resources = next(iter(lines.values())).recipe.resources
    run_stages(in_waves(list(stages.values())), root=root, resources=resources, progress=progress)
    measured: list[Measured] = []
    for row in table.rows:
        runs = [seed for seed in range(seeds) if row.small is not None]
        predictions = [_predictions(table, row, seed, lines, root) for seed in runs]
        track = next(iter(lines.values())).recipe.track
        scores = tuple(statistics_of(one, track).compute()[table.measure] for one in predictions)
        measured.append(Measured(row=row, scores=scores))
    return measured


def _trained_rows(table: PaperTable) -> list[Row]:
    """The rows that trainings of their own make; ValueError where the embedded faces serve none."""
    rows = [row for row in table.rows if row.small is not None and not row.members]
    if not rows:
        first = f"`abaw run {table.recipe}-{table.rows[0].name}`"
        raise ValueError(f"table {table.name} has no row that the embedded faces serve; run its rows, such as {first}")
    return rows


def _predictions(table: PaperTable, row: Row, seed: int, lines: dict[tuple[str, int], Line], root: Path) -> pa.Table:
    """The out-of-fold predictions of a row, after what the row does to them."""
    if row.members:
        rows = {one.name: one for one in table.rows}
        members = {name: _predictions(table, rows[name], seed, lines, root) for name in row.members}
        track = lines[row.members[0], seed].recipe.track
        return mean_of(members, track)
    line = lines[row.name, seed]
    track, (trained,) = line.recipe.track, line.last_trainings().values()
    found = pa.concat_tables(_held_out(stage, root, track, epochs=row.epochs) for stage in trained)
    if row.smoothing is None:
        return found
    return apply_smoothing(found, track, {task.name: row.smoothing for task in track.tasks})


def _held_out(stage: Stage, root: Path, track: Track, *, epochs: bool) -> pa.Table:
    """The predictions of the held-out frames, or their mean over the kept epochs and the last one."""
    folder = stage.folder(root)
    last = read_predictions(folder / "predictions" / "held_out.parquet", track)
    if not epochs:
        return last
    kept = read_result(folder)["kept"]
    members = {one: read_predictions(folder / "predictions" / one / "held_out.parquet", track) for one in kept}
    return mean_of({"last": last, **members}, track)


def markdown(table: PaperTable, measured: Sequence[Measured], *, seeds: int) -> str:
    """The table for a page: ours with its spread, the paper's, and whether each effect has the same sign."""
    reference = next(one for one in measured if one.scores)
    made = provenance()
    lines = [
        f"# {table.title}",
        "",
        f"Written by `abaw table {table.name} --seeds {seeds}` at commit `{str(made['commit'])[:12]}`"
        f"{' with changes' if made['dirty'] else ''}: tiny networks on the embedded faces, people who are not trained "
        "on; mean ± standard deviation over seeds. The paper's figures are of other data and other sizes: only the "
        f"signs of the effects can be compared. Effects are differences from the row *{reference.row.title}*.",
        "",
        f"| row | ours, {table.measure} | effect | paper, {table.beside} | effect | sign |",
        "|---|---|---|---|---|---|",
        *(_line(one, reference) for one in measured),
        "",
        "Sign: an effect smaller than twice its standard error over the seeds is called unclear.",
    ]
    if table.remark:
        lines += ["", table.remark]
    return "\n".join(lines) + "\n"


def _line(one: Measured, reference: Measured) -> str:
    paper = "" if one.row.paper is None else f"{one.row.paper:g}"
    their, their_text = _their_effect(one.row, reference.row)
    if not one.scores:
        return f"| {one.row.title} | not run: needs other data | | {paper} | {their_text} | |"
    ours = f"{statistics.mean(one.scores):.3f} ± {_spread(one.scores):.3f}"
    if one is reference:
        return f"| {one.row.title} | {ours} | | {paper} | | |"
    differences = [a - b for a, b in zip(one.scores, reference.scores, strict=True)]
    effect = statistics.mean(differences)
    error = _spread(differences) / len(differences) ** 0.5
    if their is None:
        sign = ""
    elif abs(effect) <= 2 * error or len(differences) == 1:
        sign = "unclear"
    else:
        sign = "agrees" if effect * their > 0 else "**disagrees**"
    return f"| {one.row.title} | {ours} | {effect:+.3f} ± {error:.3f} | {paper} | {their_text} | {sign} |"


def _their_effect(row: Row, reference: Row) -> tuple[float | None, str]:
    """The paper's effect, its sign at least, and how the table shows it."""
    if row is reference:
        return None, ""
    if row.paper is not None and reference.paper is not None:
        return row.paper - reference.paper, f"{row.paper - reference.paper:+.4g}"
    return (1.0, "better") if row.claimed == "better" else (None, "")


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
