"""`leaderboard ensemble` and `leaderboard soup`: their arguments, and what they do and print."""

import argparse
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from abaw.problems import refuse
from abaw.tracks import TRACKS, get_track
from leaderboard.arguments import number, whole
from leaderboard.checks import check_free, check_once
from leaderboard.tuning import NOT_KNOWN, WAYS, told

if TYPE_CHECKING:
    from leaderboard.recipe import Recipe
    from leaderboard.soup_selection import Chosen

METHODS = ("mean", "ranks", "weighted", "greedy", "stacking")


def add_ensemble(command: argparse.ArgumentParser) -> None:
    """The arguments of `leaderboard ensemble`, beside --track."""
    command.add_argument("files", metavar="TABLE", nargs="+", help="prediction tables (.parquet)")
    command.add_argument("--out", type=Path, metavar="TABLE", required=True, help="prediction table to write")
    command.add_argument("--overwrite", action="store_true", help="replace the outputs if they exist")
    methods = "mean: of probabilities (the default); ranks: mean of ranks; weighted: closed-form weights; greedy: "
    methods += "selection with replacement (Caruana); stacking: ridge regression. The last three choose by labels"
    command.add_argument("--method", choices=METHODS, default="mean", help=methods)
    command.add_argument("--logits", action="store_true", help="average logits and not probabilities")
    per = "what shares one choice of weights (%(default)s); column: each unit, each class, valence and arousal"
    command.add_argument("--per", choices=("track", "task", "column"), default="task", help=per)
    command.add_argument("--picks", type=whole(1), default=25, help="picks of greedy selection (%(default)s)")
    command.add_argument("--bags", type=whole(0), default=0, help="greedy selections, each of a random half; 0: one")
    ridge = "penalty of weighted and stacking, as a share of the members' variance (%(default)s)"
    command.add_argument("--ridge", type=number("a number from 0", lambda share: share >= 0), default=0.01, help=ridge)
    folds = "folds of videos that check a choice (%(default)s)"
    command.add_argument("--folds", type=whole(2), default=5, help=folds)
    command.add_argument("--seed", type=int, default=0, help="of folds and bags (%(default)s)")
    command.add_argument("--recipe", type=Path, metavar="FILE", help="write how it was made (default: OUT.recipe.json)")
    replay = (
        "make the ensemble of a recipe again; a table belongs to the member in its folder; or name each MEMBER=TABLE"
    )
    command.add_argument("--replay", type=Path, metavar="FILE", help=replay)
    command.add_argument("--json", action="store_true", help="print the recipe as one line of JSON")


def ensemble(arguments: Namespace) -> int:
    """`leaderboard ensemble`: make an ensemble and its recipe, or replay one."""
    from abaw.predictions import write_predictions
    from leaderboard.blending import Method
    from leaderboard.ensemble import as_table
    from leaderboard.making import make
    from leaderboard.members import read_members
    from leaderboard.recipe import predict, read_recipe, to_json
    from leaderboard.replay import match_tables
    from leaderboard.tuned import table_tuning

    track, out = get_track(arguments.track), Path(arguments.out)
    if out.suffix != ".parquet":
        raise refuse(out, f"is to be a prediction table; name it {out.with_suffix('.parquet').name}")
    target = None if arguments.replay else arguments.recipe or out.with_name(out.name + ".recipe.json")
    outputs = [path for path in (out, target) if path]
    inputs = [Path(text.rpartition("=")[2]) for text in arguments.files]
    check_once(outputs, "output")
    check_free(outputs, overwrite=arguments.overwrite, inputs=inputs)
    if arguments.replay:
        recipe = read_recipe(arguments.replay, track)
        matched = match_tables(recipe, arguments.files, arguments.replay)
        files = matched.tables
        members = read_members(files, track)
        predicted = predict(recipe, members)
        print("".join(f"{name} <- {path}\n" for name, path in files.items()), end="", file=sys.stderr)
        print("".join(f"not used: {path}: {why}\n" for path, why in matched.unused.items()), end="", file=sys.stderr)
    else:
        check_once(arguments.files, "table")
        fields = ("logits", "per", "picks", "bags", "ridge")
        method = Method(name=arguments.method, **{name: getattr(arguments, name) for name in fields})
        files = {path: Path(path) for path in arguments.files}
        members = read_members(files, track)
        recipe, predicted = make(members, method, folds=arguments.folds, seed=arguments.seed)
    tuned = [name for name, path in files.items() if table_tuning(path, track)]
    recipe = replace(recipe, tuned=tuple(dict.fromkeys([*recipe.tuned, *tuned])))
    # A replay is made of its own tables, and not of those that the recipe was made with.
    names = tuple(map(str, files.values())) if arguments.replay else recipe.members
    table = as_table(members, predicted, names, to_json(recipe))
    write_predictions(table, out)
    if target:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(to_json(recipe), encoding="utf-8")
    if arguments.json:
        print(json.dumps(json.loads(to_json(recipe))))
    else:
        print(f"{out}: {table.num_rows:,} rows, the {_title(recipe)} of {len(recipe.members)} tables")
        if arguments.replay and recipe.scores:
            print("what the recipe scored on the frames that it was made on:")
        _print_scores(recipe)
        if recipe.tuned:
            print(f"tuned one by one: {', '.join(recipe.tuned)}; cross-fitted score of the ensemble: {NOT_KNOWN}")
    return 0


def add_soup(command: argparse.ArgumentParser) -> None:
    """The arguments of `leaderboard soup`."""
    command.add_argument("files", metavar="WEIGHTS", nargs="+", type=Path, help="checkpoints (.safetensors)")
    command.add_argument("--out", type=Path, metavar="WEIGHTS", required=True, help="checkpoint to write")
    command.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    greedy = "greedy soup: a checkpoint stays only if the score does not fall; COMMAND writes the predictions, with "
    greedy += "labels, of the file put for {} to the table put for {out}, for instance 'sh predict.sh {} {out}', or "
    greedy += "prints a score last ('sh score.sh {}'), which cannot be cross-fitted. Without it: the mean of all"
    command.add_argument("--greedy", metavar="COMMAND", help=greedy)
    track = f"whose score --greedy goes by, needed with {{out}}: one of {', '.join(TRACKS)}"
    command.add_argument("--track", choices=tuple(TRACKS), metavar="TRACK", help=track)


def soup(arguments: Namespace) -> int:
    """`leaderboard soup`: the mean of checkpoints, of all or of those that help."""
    from leaderboard.soup import WEIGHTS_SUFFIX, write_soup

    if arguments.out.suffix != WEIGHTS_SUFFIX:
        raise refuse(arguments.out, f"is to hold weights; name it {arguments.out.with_suffix(WEIGHTS_SUFFIX).name}")
    check_once(arguments.files, "checkpoint")
    check_free([arguments.out], overwrite=arguments.overwrite, inputs=arguments.files)
    files, choice = list(arguments.files), None
    if arguments.greedy:
        chosen = _chosen(files, arguments.greedy, arguments.track)
        for step in chosen.steps:
            print(f"{step.score:.4f}  {'kept' if step.kept else 'left out'}  {step.path}")
        files = chosen.files
        choice = {"track": arguments.track, **{way: getattr(chosen, way) for way in WAYS}}
        print("\n".join(told({arguments.track or "the soup": {way: choice[way] for way in WAYS}})))
        if chosen.cross_fitted is None:
            why = "the command prints scores; give --track, and one that writes predictions to {out}"
            print(f"in-sample: what the soup scores on other videos is not known, since {why}", file=sys.stderr)
    write_soup(files, arguments.out, choice)
    print(f"{arguments.out}: the mean of {len(files)} of {len(arguments.files)} checkpoints")
    return 0


def _chosen(files: Sequence[Path], command: str, track: str | None) -> "Chosen":
    """The greedy soup by what a command predicts or scores."""
    from leaderboard.soup import predict_with, score_with
    from leaderboard.soup_selection import choose, choose_nested

    if "{out}" not in command:
        return choose(files, lambda path: score_with(command, path))
    if track is None:
        raise refuse(command, "writes predictions to {out}; give their --track")
    return choose_nested(files, lambda path, out: predict_with(command, path, out), get_track(track))


def _title(recipe: "Recipe") -> str:
    method = recipe.method
    what = {"mean": "mean", "ranks": "mean of ranks", "weighted": "weighted mean", "greedy": "greedy selection"}
    return what.get(method.name, "stacking") + (" of logits" if method.logits else "")


def _print_scores(recipe: "Recipe") -> None:
    if recipe.scores is None:
        return
    scores, key = recipe.scores, recipe.track.score
    if scores.outer is None:
        print(f"{key} {scores.inner:.4f}; best member {scores.best_single:.4f} ({scores.best_member})")
    else:
        print(f"{key} of the plain mean {scores.mean:.4f}; best member {scores.best_single:.4f} ({scores.best_member})")
        print(f"{key} inner {scores.inner:.4f}, outer (by video) {scores.outer:.4f}, gap {scores.gap:+.4f}")
    for name, value in sorted(scores.leave_one_out.items(), key=lambda pair: -pair[1]):
        shares = [share_MC[recipe.members.index(name)].mean() for share_MC in recipe.weights.share.values()]
        print(f"  weight {sum(shares) / len(shares):.3f}  without it {-value:+.4f}  {name}")
    if recipe.left_out:
        print(f"  no weight: {', '.join(recipe.left_out)}")
