"""Breaks what trains, at 20 random moments, and compares what comes out with a run that nothing disturbed.

    python benchmarks/chaos.py                 all faults and 20 fits, prints; about an hour on two cores
    python benchmarks/chaos.py --only node     one fault, once
    python benchmarks/chaos.py --write         all of it, also to docs/chaos.md

A Ray head and three nodes run on this machine; `abaw run` drives a small recipe on them. Each time: the run ends, its
weights, predictions and scores equal those of the undisturbed run bit for bit, nothing is left half-written, and the
log says what happened. The full disk is a small tmpfs, which only root can mount.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import polars as pl
from account import commit
from chaos_faults import FAULTS, Seen, finish, small_disk
from chaos_fits import fits_table, measure_fits
from chaos_machines import Machines, Run, fresh
from safetensors.numpy import load_file

from abaw.runs import is_complete, read_result

ROOT = Path(__file__).parent.parent
RECIPE = (
    "demo_debug", "--starts", "scratch", "--folds", "0", "--trials", "2", "--finetune.epochs", "10",
    "--finetune.save_every", "2", "--resources.cpus-per-worker", "1",
)  # fmt: skip
"""100 steps of two workers, a checkpoint after every other one."""
DATA_STAGES = ("prepare", "shards-labelled", "folds")
WHAT = """
A Ray head and three nodes on one machine of two cores, `abaw run demo_debug` with two workers on two of the nodes, and
a fault at a random moment. Equal means: the run ended, its weights, predictions and scores are those of the run that
nothing disturbed, bit for bit, nothing was left half-written, and the log said what had happened. A checkpoint is taken
every other step. Steps repeated are those that the files of the run show: they tell where it stands at each checkpoint
and each second.
"""
Rows = dict[str, list[Seen | str]]
"""What each fault saw, or what was wrong, a moment each."""
DISK = 16 * 2**20
"""Bytes of the small disk: three checkpoints fit."""


def undisturbed(machines: Machines, runs: Path) -> Run:
    """The run that the others are compared with."""
    run = Run(machines=machines, runs=runs, arguments=RECIPE)
    run.start()
    finish(run)
    return run


def disturbed(name: str, seed: int, reference: Run, runs: Path) -> Seen:
    """One fault at one random moment, checked."""
    fault, _ = FAULTS[name]
    stages = DATA_STAGES[:1] if name == "data-worker" else DATA_STAGES
    run = fresh(reference, runs, stages=stages, machines=reference.machines, rng=random.Random(f"{name}-{seed}"))
    assert reference.training is not None
    disk = run.folder / reference.training.name / "checkpoints"
    with small_disk(disk, DISK) if name == "full-disk" else nullcontext():
        run.start()
        try:
            seen = fault(run)
            finish(run)
        finally:
            run.driver.kill()
        wrong = [*differences(reference, run), *leftovers(run)]
    if seen.log not in run.log():
        wrong.append(f"the log does not hold {seen.log!r}")
    if wrong:
        raise SystemExit("\n".join([f"{name}, seed {seed}:", *wrong, run.log()]))
    return seen


def differences(reference: Run, run: Run) -> list[str]:
    """What two runs do not have in common, of weights, tables and scores."""
    wrong = []
    for folder in sorted(path for path in reference.folder.iterdir() if is_complete(path)):
        other = run.folder / folder.name
        if not is_complete(other):
            wrong.append(f"{other} is not complete")
            continue
        ours, theirs = read_result(folder), read_result(other)
        wrong += [f"{other}: {key}" for key in ("metrics", "interval", "entries") if not same(ours, theirs, key)]
        for file in folder.rglob("predictions/*.parquet"):
            if not pl.read_parquet(file).equals(pl.read_parquet(other / file.relative_to(folder))):
                wrong.append(f"{other / file.relative_to(folder)} differs")
        for file in folder.rglob("final.safetensors"):
            weights, others = load_file(file), load_file(other / file.relative_to(folder))
            wrong += [f"{other}: {name} differs" for name in weights if (weights[name] != others[name]).any()]
    return wrong


def same(ours: dict, theirs: dict, key: str) -> bool:
    """Whether a result is the same, whatever the run folder and the time."""
    values = [
        value if key != "entries" else [entry["metrics"] for entry in value]
        for value in (ours.get(key, []), theirs.get(key, []))
    ]
    return values[0] == values[1]


def leftovers(run: Run) -> list[str]:
    """What should not be in a finished run."""
    found = [path for pattern in ("*.partial", "*.tmp", ".ray", ".driver.json") for path in run.folder.rglob(pattern)]
    found += [path for path in run.folder.iterdir() if path.is_dir() and not is_complete(path)]
    return [f"left over: {path}" for path in found]


def table(rows: Rows) -> list[str]:
    """A Markdown row a fault; a moment at which something was wrong is a string."""
    lines = ["| fault | times | found after | resumed after | steps repeated | equal |", "|---|---|---|---|---|---|"]
    for name, seen in rows.items():
        good = [one for one in seen if isinstance(one, Seen)]
        cells = [
            name,
            str(len(seen)),
            span([one.found_s for one in good if one.found_s is not None], " s"),
            span([one.resumed_s for one in good], " s"),
            span([one.repeated for one in good if one.repeated is not None]),
            f"{len(good)} of {len(seen)}" if seen else "not run",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def span(values: Sequence[float], unit: str = "") -> str:
    """From the least to the greatest."""
    if not values:
        return "-"
    ends = sorted({f"{value:.1f}" if unit else str(value) for value in (min(values), max(values))}, key=float)
    return " to ".join(ends) + unit


def break_all(reference: Run, folder: Path, chosen: dict[str, int], seed: int, tell: Callable[[Rows], None]) -> Rows:
    """Every chosen fault once, then those that come again; what was wrong is printed and kept.

    `tell` gets what is known after each.
    """
    rows: Rows = {name: [] for name in chosen}
    for name, k in sorted(((name, k) for name, times in chosen.items() for k in range(times)), key=lambda one: one[1]):
        started = time.time()
        try:
            rows[name].append(disturbed(name, seed + k, reference, folder / f"{name}-{k}"))
        except (SystemExit, Exception) as error:
            rows[name].append(str(error))
        reference.machines.mend()
        print(f"{name} {k}, {time.time() - started:.0f} s: {rows[name][-1]}", flush=True)
        tell(rows)
    return rows


def main() -> int:
    """The exit code: 0 where all was equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=[*FAULTS, "fits"], help="these faults, at one moment each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="write docs/chaos.md, anew after each fault")
    arguments = parser.parse_args()
    chosen = {name: times for name, (_, times) in FAULTS.items()}
    if arguments.only:
        chosen = {name: 1 for name in chosen if name in arguments.only}
    folder, machines = Path(tempfile.mkdtemp(prefix="chaos-")), Machines()
    code = commit()

    def tell(rows: Rows, *more: str) -> None:
        if arguments.write:
            write(ROOT / "docs" / "chaos.md", [*summary(rows, arguments.seed, code), *table(rows), *more])

    try:
        reference = undisturbed(machines, folder / "undisturbed")
        print("undisturbed: done", flush=True)
        rows = break_all(reference, folder, chosen, arguments.seed, tell)
        fits = fits_table(measure_fits(reference)) if not arguments.only or "fits" in arguments.only else []
    finally:
        machines.close()
        shutil.rmtree(folder, ignore_errors=True)
    orphans = machines.orphans()
    fits += ["", f"Of {len(machines.seen)} processes {len(orphans)} outlived the cluster."]
    print("\n".join([*summary(rows, arguments.seed, code), *table(rows), "", *fits]))
    tell(rows, "", *fits)
    return 1 if orphans or any(isinstance(one, str) for seen in rows.values() for one in seen) else 0


def summary(rows: Rows, seed: int, code: str) -> list[str]:
    """How many faults there were, of how many, and from which state of the code."""
    seen = [one for moments in rows.values() for one in moments]
    equal, planned = sum(isinstance(one, Seen) for one in seen), sum(times for _, times in FAULTS.values())
    return [
        f"{len(seen)} of {planned} faults at random moments, seed {seed}, commit {code}: {equal} ended equal.",
        "",
    ]


def write(path: Path, lines: list[str]) -> None:
    """The page: what each fault is, and the figures."""
    about = [f"- **{name}**: {fault.__doc__}" for name, (fault, _) in FAULTS.items()]
    head = ["# Faults, tested for real", "", "`python benchmarks/chaos.py --write` wrote this page.", WHAT]
    path.write_text("\n".join([*head, *about, "", *lines]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
