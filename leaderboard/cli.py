"""The command line, `leaderboard COMMAND`: the arguments of every command.

Data goes to stdout, notes and errors to stderr. Exit codes: 0 done, 1 refused (with every reason), 2 usage. Whatever
takes long to import is imported by the command that needs it, so that `--help` is quick.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from abaw.problems import BadInput
from abaw.tracks import TRACKS
from abaw.version import ShowVersion
from leaderboard import ensemble_command, ledger_command, report_command, serve_command
from leaderboard.arguments import number, printable, whole

STORE = "sqlite:///leaderboard.sqlite"

EXAMPLES = """\
examples:
  leaderboard validate mtl.txt --track mtl --template MTL_test_set_release.txt
  leaderboard score mtl.txt --track mtl --truth validation_set_annotations.txt --json
  leaderboard score fold_0/val.parquet --track expr          (scores the labels that the table carries)
  leaderboard submit fold_*.parquet --track mtl --template MTL_test_set_release.txt --name "MAE, 5 folds"
  leaderboard ensemble a.parquet b.parquet --track mtl --out mean.parquet
  leaderboard ensemble runs/*/val.parquet --track va --method greedy --out val.parquet --recipe best.json
  leaderboard ensemble runs/*/test.parquet --track va --replay best.json --out test.parquet
  leaderboard export test.parquet --track expr --template EXPR_test_set_release.txt --out expr.zip
  leaderboard soup epoch-*.safetensors --out soup.safetensors
  leaderboard soup epoch-*.safetensors --out soup.safetensors --track va --greedy 'sh predict.sh {} {out}'
  leaderboard show --track mtl
  leaderboard compare "MAE, 5 folds" "MAE, smoothed" --track mtl
  leaderboard compare a.txt b.txt --track va --truth VA_Estimation_Challenge/Validation_Set
  leaderboard rules --track mtl --private 0.5 --step 0.002 --limit 5
  leaderboard reveal --track mtl
  leaderboard report --track mtl --truth validation_set_annotations.txt --out board.html
  leaderboard trial add expr.zip --track expr --challenge "ABAW8 EXPR" --validation "MAE, 5 folds"
  leaderboard trial reply 1 --challenge "ABAW8 EXPR" --score 0.4123
  leaderboard team add team-a
  leaderboard serve --challenge mtl MTL_validation_set_release.txt validation_set_annotations.txt

common errors:
  "the header is that of track va, not of expr"   wrong --track, or the wrong file
  "is missing; template.txt:17 asks for it"       the file lacks a row; `export` fills the rows of frames without a crop
  "no prediction for any frame of video v"        nothing to fill it from; check that the table is of these videos
  "holds several sets of track expr"              --truth must name Train_Set or Validation_Set
  "there is an entry of this name"                every entry of a track has its own --name; --overwrite replaces one

exit codes: 0 done, 1 refused (every reason is printed), 2 usage
"""
HELP = {
    "score": "score a submission file or prediction table",
    "validate": "check a submission file against the organisers' template",
    "submit": "write, validate, score and store a submission, and rank it",
    "show": "show the board",
    "compare": "tell whether an entry is better than others: paired bootstrap over videos",
    "rules": "set the rules of a track before its first entry (private videos, Ladder, limit), or say them",
    "reveal": "rank a track by its private videos from now on",
    "report": "write the store as one HTML file that opens from disk",
    "ensemble": "make one prediction table of many: means, chosen weights, greedy selection, stacking",
    "soup": "average the weights of checkpoints",
    "serve": "serve the board to several teams: its page, and an API that takes submissions",
    "trial": "note official trials, five a challenge, after the rules guard; and the organisers' replies",
    "team": "add the teams of a server, give them tokens, and read its log",
    "export": "write the organisers' file, folder or zip from prediction tables",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `argv` without the program's name. Usage errors exit with 2."""
    arguments = _parser().parse_args(argv)
    module = importlib.import_module(f"leaderboard.{COMMANDS[arguments.command][0]}")
    try:
        return int(getattr(module, arguments.command)(arguments))
    except BadInput as error:
        print(error, file=sys.stderr)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): what is still buffered goes nowhere, without a complaint.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        where = error.filename2 or error.filename
        told = f"{where}: {error.strerror}" if where and error.strerror else error
        print(f"leaderboard {arguments.command}: {told}", file=sys.stderr)
    except ValueError as error:
        print(f"leaderboard {arguments.command}: {error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leaderboard",
        description="Score, validate, submit and rank entries of the ABAW challenges, on this machine, at once.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=ShowVersion)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, add_arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=HELP[name], description=HELP[name], epilog=_examples_of(name))
        command.formatter_class = argparse.RawDescriptionHelpFormatter
        add_arguments(command)
    return parser


def _examples_of(command: str) -> str:
    lines = [line for line in EXAMPLES.splitlines() if line.strip().startswith(f"leaderboard {command} ")]
    return "\n".join(["examples:", *lines])


def _score(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", type=Path, help="submission file, or prediction table (.parquet)")
    _track(command, required=True)
    command.add_argument("--truth", type=Path, metavar="PATH", help=f"{TRUTH}; may be left out for a table with labels")
    command.add_argument("--videos", action="store_true", help="print the scores of each video too (--json has them)")
    _json(command)


def _validate(command: argparse.ArgumentParser) -> None:
    file = "submission file, ABAW3's folder of <video>.txt, or a zip of either"
    command.add_argument("file", metavar="FILE", type=Path, help=file)
    _track(command, required=True)
    command.add_argument("--template", type=Path, metavar="PATH", required=True, help=TEMPLATE)
    command.add_argument("--all", action="store_true", help="print every reason, and not the first 100 of each kind")
    _training(command)
    against = "earlier submission files: warn where this one states the same"
    command.add_argument("--against", type=Path, metavar="FILE", nargs="+", default=[], help=against)
    store = f"warn where the file is that of an entry of this store ({STORE}, where it is there)"
    command.add_argument("--store", metavar="URL", help=store)


def _export(command: argparse.ArgumentParser) -> None:
    tables = "prediction tables (.parquet), of which the mean is written"
    command.add_argument("files", metavar="TABLE", nargs="+", type=Path, help=tables)
    _track(command, required=True)
    command.add_argument("--template", type=Path, metavar="PATH", required=True, help=TEMPLATE)
    out = "file to write; with abaw3 a folder; a name that ends in .zip packs either; a manifest is written beside it"
    command.add_argument("--out", type=Path, metavar="PATH", required=True, help=out)
    form = "file: one file in the template's order; abaw3: one <video>.txt a video (default: by the template)"
    command.add_argument("--form", choices=("file", "abaw3"), help=form)
    command.add_argument("--overwrite", action="store_true", help="replace the outputs if they exist")


def _submit(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        type=Path,
        help="one submission file, or prediction tables (.parquet), of which the mean is written as a submission file",
    )
    _track(command, required=True)
    command.add_argument("--template", type=Path, metavar="PATH", required=True, help=TEMPLATE)
    command.add_argument("--truth", type=Path, metavar="PATH", help=f"{TRUTH}; without it the entry is not ranked")
    command.add_argument("--name", required=True, type=printable, help="name of the entry, its own in the track")
    command.add_argument("--author", default="", help="who submits")
    command.add_argument("--baseline", action="store_true", help="flag the entry as a baseline")
    command.add_argument("--note", default="", metavar="TEXT", help="anything worth remembering")
    out = "folder of the official file and its manifest (a submission file stays where it is; tables: submissions)"
    command.add_argument("--out", type=Path, metavar="FOLDER", help=out)
    command.add_argument("--overwrite", action="store_true", help="replace the entry of this name and its files")
    tuning = "what a search wrote (found beside a table as smoothing.json), or a greedy soup: untuned, in-sample and "
    tuning += "cross-fitted scores"
    command.add_argument("--tuning", type=Path, metavar="FILE", help=tuning)
    _training(command)
    _store(command)
    _json(command)


def _show(command: argparse.ArgumentParser) -> None:
    _track(command, required=False)
    _top(command)
    _store(command)
    _json(command)


def _compare(command: argparse.ArgumentParser) -> None:
    command.add_argument("first", metavar="A", help="an entry by name, a submission file or a prediction table")
    command.add_argument("others", metavar="B", nargs="+", help="what it is compared with, one after the other")
    _track(command, required=True)
    command.add_argument("--truth", type=Path, metavar="PATH", help=f"{TRUTH}; for files and tables without labels")
    _store(command)
    _json(command)


def _rules(command: argparse.ArgumentParser) -> None:
    _track(command, required=True)
    share = number("a number above 0 and below 1, such as 0.5", lambda share: 0 < share < 1)
    command.add_argument("--private", type=share, metavar="SHARE", help="share of the videos that are private")
    command.add_argument("--seed", type=int, metavar="N", help="decides which videos are private (0)")
    step = "Ladder rule: show a score only if it beats its author's best by more than this"
    least = number("a score of 0 or more, such as 0.002", lambda step: step >= 0)
    command.add_argument("--step", type=least, metavar="SCORE", help=step)
    command.add_argument("--limit", type=whole(1), metavar="N", help="valid entries that an author may submit")
    _store(command)


def _reveal(command: argparse.ArgumentParser) -> None:
    _track(command, required=True)
    _top(command)
    _store(command)
    _json(command)


def _report(command: argparse.ArgumentParser) -> None:
    _track(command, required=False)
    report_command.add_report(command)
    _store(command)


def _ensemble(command: argparse.ArgumentParser) -> None:
    _track(command, required=True)
    ensemble_command.add_ensemble(command)


def _serve(command: argparse.ArgumentParser) -> None:
    serve_command.add_serve(command)
    _store(command)


def _trial(command: argparse.ArgumentParser) -> None:
    for one in ledger_command.add_trial(command):
        _store(one)
        _json(one)


def _team(command: argparse.ArgumentParser) -> None:
    serve_command.add_team(command)
    _store(command)
    _json(command)


COMMANDS = {
    "score": ("commands", _score),
    "validate": ("commands", _validate),
    "submit": ("commands", _submit),
    "show": ("board_command", _show),
    "ensemble": ("ensemble_command", _ensemble),
    "soup": ("ensemble_command", ensemble_command.add_soup),
    "export": ("commands", _export),
    "compare": ("board_command", _compare),
    "rules": ("board_command", _rules),
    "reveal": ("board_command", _reveal),
    "report": ("report_command", _report),
    "serve": ("serve_command", _serve),
    "team": ("serve_command", _team),
    "trial": ("ledger_command", _trial),
}
"""The module whose function of that name does a command, and what adds the command's arguments."""
TRUTH = "annotation folder, multi-task list, class folders (lsd), or labels in submission form"
TEMPLATE = "the organisers' list of rows, of which only the first field counts; or ABAW3's list of video names"


def _track(command: argparse.ArgumentParser, *, required: bool) -> None:
    choices = f"one of {', '.join(TRACKS)}" + ("" if required else "; left out: every track with entries")
    command.add_argument("--track", required=required, choices=tuple(TRACKS), metavar="TRACK", help=choices)


def _training(command: argparse.ArgumentParser) -> None:
    training = "training labels: warn where the rates of classes and units or the spread of values are far from theirs"
    command.add_argument("--training", type=Path, metavar="PATH", help=training)


def _top(command: argparse.ArgumentParser) -> None:
    top = "entries to show of each track, ranked ones and as many others (20; with --json all)"
    command.add_argument("--top", type=whole(1), metavar="N", help=top)


def _store(command: argparse.ArgumentParser) -> None:
    command.add_argument("--store", default=STORE, metavar="URL", help="where entries are kept (%(default)s)")


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print the result as one line of JSON")
