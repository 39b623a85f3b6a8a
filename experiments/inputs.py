"""What a recipe reads from outside: where it lies, and whether it is there before the first stage runs."""

import re
from dataclasses import replace
from pathlib import Path

import torch

from abaw.data.manifest import DROPS, MANIFEST, check_track, load_manifest
from abaw.problems import BadInput, Problem
from abaw.systems.distillation import Distillation
from abaw.systems.system import System
from experiments.recipe import PRETRAINED, SCRATCH, START, Finetuning, Recipe, track_of
from leaderboard.images import of_stills

CHALLENGES = ("expr", "au", "va", "mtl")
"""Tracks whose template lies at `test_templates/<track>.txt` of a delivery."""


def check_recipe(recipe: Recipe) -> None:
    """Refuse before the first stage what a later one would trip over: BadInput lists every path that is not there."""
    delivery, problems = recipe.delivery, []
    if (root := delivery.root) is not None:
        needed = {"root": root}
        needed |= {"template": template_of(recipe, root)} if has_board(recipe) else {}
        needed |= {"pool": pool_of(recipe, root)} if PRETRAINED in recipe.starts else {}
        needed |= {"truth": delivery.truth} if delivery.truth is not None else {}
        problems = [
            Problem(path=str(path), message=f"no such file or folder; give --delivery.{name}")
            for name, path in needed.items()
            if not path.exists()
        ]
    problems += [
        Problem(path=str(one.shards), message=f"no shards; `abaw prepare` writes those of the pass {one.name}")
        for one in recipe.used_passes
        if one.shards is not None and not is_shards(one.shards)
    ]
    if recipe.folds == 1 or recipe.folds < 0:
        message = f"is {recipe.folds}; expected 2 or more, or 0 for the official split"
        problems.append(Problem(path="--folds", message=message))
    problems += [Problem(path="recipe", message=message) for message in check_names(recipe)]
    problems += _other_classes(recipe)
    problems += [Problem(path=path, message=message) for path, message in check_networks(recipe)]
    problems += [Problem(path="--temporal", message=message) for message in check_temporal(recipe)]
    if problems:
        raise BadInput(problems)


def check_networks(recipe: Recipe) -> list[tuple[str, str]]:
    """Where it was said, and what is wrong with it: unknown networks, files that are not there, frozen ones at random.

    Weights are not opened yet.
    """
    wrong: list[tuple[str, str]] = []
    passes = {one.name: (one.system, one.init) for one in recipe.passes}
    for name, (system, init) in {**passes, "": (recipe.system, recipe.init)}.items():
        where = f"passes {name}: init" if name else "--init"
        with torch.device("meta"):  # shapes without values: a large network costs no memory and no time
            trunks = system.build().trunks()
        unknown = sorted(init.keys() - trunks.keys())
        wrong += [(where, f"no network is called {network!r}; there are {', '.join(trunks)}") for network in unknown]
        for network, modules in trunks.items():
            source = init.get(network, SCRATCH)
            frozen = not any(value.requires_grad for module in modules for value in module.parameters())
            at_random = source == SCRATCH or (source == START and SCRATCH in recipe.starts)
            if frozen and at_random:
                wrong.append((where, f"{network} is frozen and would stay random; give it trained weights"))
        wrong += [
            (where, f"{network}: no such file {source}")
            for network, source in init.items()
            if source not in (SCRATCH, START, *passes) and is_file_name(source) and not Path(source).exists()
        ]
    starts = [start for start in recipe.starts if start not in (SCRATCH, PRETRAINED) and is_file_name(start)]
    return wrong + [("--starts", f"no such file {start}") for start in starts if not Path(start).exists()]


def check_temporal(recipe: Recipe) -> list[str]:
    """What is wrong with a temporal head, which would show only after all fine-tunings."""
    head, window = recipe.temporal, recipe.temporal_optimisation.sampling.window
    if head is None:
        return []
    wrong = [f"track is {head.track}; expected {recipe.track.name}, that of the system"]
    wrong = wrong if head.track != recipe.track.name else []
    if of_stills(recipe.track):
        wrong.append(f"{recipe.track.name} is a track of single images, without time; give --temporal None")
    if not window:
        wrong.append("it sees windows of frames; give --temporal_optimisation.sampling.window, such as 300")
    with torch.device("meta"):
        replace(head, features=1).build()
        if type(recipe.system.build()).features is System.features:
            wrong.append(f"{type(recipe.system).__name__} gives no feature of a frame; choose another system")
    return wrong


def is_file_name(source: str) -> bool:
    """Whether weights are named by a path, and not as timm:NAME or torchvision:NAME."""
    return not source.startswith(("timm:", "torchvision:"))


def _other_classes(recipe: Recipe) -> list[Problem]:
    """Shards whose expressions are not those that are learnt from them."""
    read = [(recipe.delivery.root, recipe.track.name)]
    read += [(one.shards, track_of(one.system).name) for one in recipe.used_passes]
    problems: list[Problem] = []
    for shards, track in read:
        if shards is not None and is_shards(shards):
            try:
                check_track(load_manifest(shards), track)
            except BadInput as error:
                problems += error.problems
    return problems


def check_names(recipe: Recipe) -> list[str]:
    """What is wrong with the names that a recipe's passes, `init` and `teacher` use."""
    wrong, names = [], list[str]()
    called = {one.name for one in recipe.passes}
    for one in recipe.passes:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", one.name) or one.name in (*names, "finetune", START):
            wrong.append(f"passes: the name {one.name!r}; expected a new lower-case word, not finetune or {START}")
        if late := sorted(set(one.init.values()) & called - {*names}):
            wrong.append(f"passes {one.name}: starts from {', '.join(late)}; expected a pass that stands before it")
        if _takes_cached(one.system):
            wrong.append(f"passes {one.name}: only the last fine-tuning has a cached teacher; set its own to live")
        names.append(one.name)
    if _takes_cached(recipe.system) and not recipe.teacher:
        wrong.append("teacher: the system learns from the predictions of a pass; name one, or set its teacher to live")
    if recipe.teacher and not _takes_cached(recipe.system):
        wrong.append(f"teacher: the system takes no predictions of {recipe.teacher}; leave it empty")
    if recipe.teacher and recipe.teacher not in names:
        wrong.append(f"teacher: no pass is called {recipe.teacher!r}; there are {', '.join(names) or 'none'}")
    taught = next((one for one in recipe.passes if one.name == recipe.teacher), None)
    if taught is not None and track_of(taught.system) != recipe.track:
        wrong.append(f"teacher: {recipe.teacher} learns {track_of(taught.system).name}, not {recipe.track.name}")
    return wrong


def _takes_cached(system: Finetuning) -> bool:
    return isinstance(system, Distillation) and system.teacher == "cached"


def has_board(recipe: Recipe) -> bool:
    """Whether the organisers say which rows a submission of this track has: else the line ends in scores of folds."""
    return recipe.delivery.template is not None or recipe.track.name in CHALLENGES


def template_of(recipe: Recipe, root: Path) -> Path:
    """The rows that a submission must have."""
    return recipe.delivery.template or root / "test_templates" / f"{recipe.track.name}.txt"


def truth_of(recipe: Recipe, root: Path) -> Path | None:
    """The held-out truth: as given, or that of the embedded faces."""
    if recipe.delivery.truth is not None or recipe.delivery.root is not None:
        return recipe.delivery.truth
    held_out = root / "held_out_truth"
    folders = [held_out / name / "Test_Set" for name in recipe.track.folders]
    return next((folder for folder in folders if folder.is_dir()), held_out / "mtl.txt")


def pool_of(recipe: Recipe, root: Path) -> Path:
    """The unlabelled images."""
    return recipe.delivery.pool or root / "pool"


def is_shards(folder: Path) -> bool:
    """Whether `abaw prepare` has written this folder."""
    return (folder / MANIFEST).is_file() and (folder / DROPS).is_file()
