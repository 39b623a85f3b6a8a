"""The `abaw` command: list, plan, run and show recipes; export what they trained; prepare data.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 refused or failed, 2 usage, 3 `prepare` is
done and left something out, which its drop table names.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from abaw.version import ShowVersion
from experiments.tune_command import add_arguments
from leaderboard.terminal import print_table

EPILOG = """examples:
  abaw list                                    the recipes
  abaw plan demo                               the stages, what is there and what will run
  abaw run demo                                run what is missing
  abaw run demo --seed 1 --pretrain.epochs 4   the same with fields replaced
  abaw run emma_mtl_debug-vit_celeba           a row of a paper's table, at the size for tests
  abaw run demo --address http://HEAD:8265 --runs /shared/runs   as a job of a cluster; docs/cluster.md
  abaw status                                  runs, trials, nodes, and what waits for what
  abaw show runs/demo                          what a run gave
  abaw tune mae_face_mtl --search finetune     search over a recipe's fields; docs/search.md
  abaw table srp                               a paper's table on the embedded faces, over three seeds
  abaw export runs/demo/finetune-... OUT       weights, model card and TorchScript of a training
  abaw prepare faces OUT --videos 40           the embedded data set in the official layout
  abaw prepare affwild2 DELIVERY OUT           the organisers' files to shards, with a coverage report
  abaw prepare --help                          the other sources
  abaw data verify SHARDS                      whether every image is there as it was written
  abaw data report SHARDS OUT                  what shards hold: a page with pictures

common errors:
  "unknown recipe": `abaw list` has the names
  "Unrecognized options": `abaw run RECIPE --help` lists every field of the recipe
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Entry of the console script; exits with the code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # The name of a file may hold what the stream cannot show.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:] if argv is None else list(argv)))


def run(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code. User errors are printed, not raised."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if rest and arguments.command in ("list", "show", "status", "table"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        code: int = arguments.action(arguments, rest)
        return code
    except Exception as error:
        mistake = mistake_behind(error)
        if mistake is None:
            raise
        return refused(mistake)


def mistake_behind(error: BaseException) -> ValueError | None:
    """The user's mistake that an error tells of, wherever it was raised; None where the error is something else.

    Ray wraps what a task raised (`cause`), and Ray Train what its workers and its controller raised.
    """
    inner = [getattr(error, "cause", None), getattr(error, "controller_failure", None)]
    inner += getattr(error, "worker_failures", {}).values()
    wrapped = [cause for cause in inner if isinstance(cause, BaseException)]
    if wrapped:
        return next(filter(None, map(mistake_behind, wrapped)), None)
    return error if isinstance(error, ValueError) else None


def refused(mistake: ValueError) -> int:
    """Print every problem on a line of stderr; returns the exit code."""
    for problem in getattr(mistake, "problems", [mistake]):
        print(f"abaw: {problem}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="abaw", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action=ShowVersion)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, action: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=text, description=text, add_help=name not in ("plan", "run", "tune", "export", "prepare", "data")
        )
        command.set_defaults(action=action)
        return command

    listing = add("list", _list, "list the recipes")
    listing.add_argument("--rows", action="store_true", help="list the rows of the papers' tables instead")
    listing.add_argument("--json", action="store_true", help="print JSON")
    folder = os.environ.get("ABAW_RUNS", "runs")
    for name, action, text in (
        ("plan", _plan, "print a recipe's stages: what is there and what will run"),
        ("run", _run, "run what is missing of a recipe"),
        ("tune", _tune, "search over a recipe's fields, or over what is done with its predictions"),
    ):
        command = add(name, action, text)
        command.add_argument("recipe", nargs="?", help="name of a recipe, see `abaw list`; it comes first")
        command.add_argument("--runs", type=Path, default=Path(folder), help=f"where run folders lie; now {folder}")
        command.add_argument("--json", action="store_true", help="print JSON")
        command.epilog = f"`abaw {name} RECIPE --help` lists the fields of the recipe, each of which can be set"
        command.set_defaults(usage=command.format_help)
        if name == "run":
            command.add_argument(
                "--address",
                help="http://HEAD:8265 runs it as a job of that cluster and follows it; HEAD:6379 drives that cluster "
                "from here; a private local Ray without it",
            )
        if name == "tune":
            add_arguments(command)
    table = add("table", _table, "run a paper's table on the embedded faces and print it as Markdown")
    table.add_argument("table", help="name of the table, such as srp; an unknown name lists them")
    table.add_argument("--seeds", type=int, default=3, help="trainings of each row; 3 without it")
    table.add_argument("--runs", type=Path, default=Path(folder), help=f"where run folders lie; now {folder}")
    table.add_argument("--address", help="a Ray cluster; a private local Ray without it")
    table.add_argument("--out", type=Path, help="also write the table to this file")
    status = add("status", _status, "what runs, where it stands, and on a cluster what waits for what")
    status.add_argument("--runs", type=Path, default=Path(folder), help=f"where run folders lie; now {folder}")
    status.add_argument("--address", help="a cluster to ask too: http://HEAD:8265, or HEAD:6379")
    status.add_argument("--json", action="store_true", help="print JSON")
    show = add("show", _show, "print what a run or a stage gave")
    show.add_argument("run", type=Path, help="folder of a run or of a stage")
    show.add_argument("--json", action="store_true", help="print JSON")
    add("export", _export, "write a finished training for others: weights, model card, TorchScript")
    prepare = add("prepare", _prepare, "turn a source into files that training reads")
    prepare.add_argument("source", nargs="?")
    add("data", _data, "check, list and describe shards: verify, ls, report")
    return parser


def _list(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments.catalogue import describe_recipes

    if arguments.rows:
        from experiments.registry import variants  # imports torch, which takes seconds

        described = variants()
    else:
        described = describe_recipes()
    if arguments.json:
        print(json.dumps(described, indent=1))
    else:
        table = Table("recipe", "what it does", box=None)
        for name, text in described.items():
            table.add_row(name, text)
        print_table(table)
    return 0


def _stages(arguments: argparse.Namespace, rest: Sequence[str]) -> tuple[Any, list[Any], Path]:
    """The recipe with its overrides, its stages, and its run folder."""
    import tyro

    from experiments.line import Line
    from experiments.registry import get_recipe

    if arguments.recipe is None:
        asked = bool({"-h", "--help"} & set(rest))
        print(arguments.usage(), file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)
    recipe = get_recipe(arguments.recipe)
    prog = f"abaw {arguments.command} {arguments.recipe}"
    recipe = tyro.cli(
        type(recipe),
        default=recipe,
        args=list(rest),
        prog=prog,
        description=arguments.usage(),
        config=(tyro.conf.AvoidSubcommands,),
    )
    root = arguments.runs / recipe.name
    return recipe, Line(recipe, root).stages(), root


def _plan(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from abaw.runs import is_complete

    _, stages, root = _stages(arguments, rest)
    rows = [
        {
            "stage": stage.name,
            "key": stage.key,
            "state": "complete" if is_complete(stage.folder(root)) else "will run",
            "folder": str(stage.folder(root)),
        }
        for stage in stages
    ]
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        table = Table("stage", "key", "state", "folder", box=None)
        for row in rows:
            table.add_row(*row.values())
        print_table(table)
    return 0


def _run(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from abaw.runs import is_complete, read_result
    from experiments.inputs import check_recipe
    from experiments.progress import Progress
    from experiments.ray_session import is_job_address
    from experiments.stages import run_stages

    recipe, stages, root = _stages(arguments, rest)
    address = arguments.address or os.environ.get("RAY_ADDRESS")
    if is_job_address(address):
        from experiments.jobs import run_as_job

        return run_as_job(address, arguments.recipe, rest, runs=arguments.runs, as_json=arguments.json)
    check_recipe(recipe)
    progress = Progress()
    if all(is_complete(stage.folder(root)) for stage in stages):
        progress.say(f"{recipe.name}: all {len(stages)} stages are complete; nothing runs")
    else:
        from experiments.changes import note_recipe
        from experiments.lock import driving
        from experiments.ray_session import ray_session

        with driving(root), ray_session(arguments.address) as dashboard:
            progress.say(f"Ray is up; dashboard at http://{dashboard}")
            if changed := note_recipe(recipe, root):
                progress.say(f"since the last run: {'; '.join(changed)}; what depends on it runs anew, beside the old")
            run_stages(stages, root=root, resources=recipe.resources, progress=progress)
    if stages[-1].name == "board":
        from experiments.board import print_board

        return print_board(stages[-1].folder(root), recipe.track, as_json=arguments.json)
    from experiments.show import print_results

    return print_results({stage.name: read_result(stage.folder(root)) for stage in stages}, as_json=arguments.json)


def _tune(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments.tune_command import tune

    recipe, _, _ = _stages(arguments, rest)
    return tune(arguments, recipe)


def _table(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments.table import run_table

    return run_table(
        arguments.table, seeds=arguments.seeds, runs=arguments.runs, address=arguments.address, out=arguments.out
    )


def _status(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments.status import show_status

    return show_status(arguments.runs, arguments.address or os.environ.get("RAY_ADDRESS"), as_json=arguments.json)


def _show(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments.show import show

    return show(arguments.run, as_json=arguments.json)


def _export(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments.export import export

    return export(rest)


def _prepare(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments.prepare import prepare

    return prepare(arguments.source, rest)


def _data(arguments: argparse.Namespace, rest: Sequence[str]) -> int:
    from experiments.data_commands import data

    return data(rest)
