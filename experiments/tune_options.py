"""How to search: budgets, where the study lies, and what becomes of one that is there."""

from dataclasses import dataclass

from abaw.problems import BadInput, Problem
from abaw.search.searcher import Budget
from experiments.search import SMOOTHING


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `abaw tune` takes beside the recipe and the search."""

    budget: Budget
    storage: str = ""
    """Address of the database; empty for SQLite in the folder of the search."""
    resume: bool = False
    overwrite: bool = False
    workers: int | None = None
    """Of a trial; None for one without GPUs, and for as many as the recipe asks for with some."""
    address: str | None = None


def check_options(search: str, options: Options) -> None:
    """Refuse what cannot be meant; BadInput names everything."""
    budget, problems = options.budget, list[Problem]()

    def refuse(flag: str, message: str) -> None:
        problems.append(Problem(path=flag, message=message))

    if budget.trials < 1:
        refuse("--trials", f"is {budget.trials}; expected 1 or more")
    for flag, value in (("--hours", budget.hours), ("--device-hours", budget.device_hours)):
        if value is not None and not value > 0:
            refuse(flag, f"is {value:g}; expected more than 0")
    if options.resume and options.overwrite:
        refuse("--resume", "and --overwrite exclude each other; give the one that you mean")
    if options.workers is not None and options.workers < 1:
        refuse("--workers", f"is {options.workers}; expected 1 or more processes of a trial")
    if search == SMOOTHING and (budget.device_hours is not None or options.workers is not None):
        refuse("--search smoothing", "trains nothing; give --trials or --hours, not --device-hours or --workers")
    if problems:
        raise BadInput(problems)
