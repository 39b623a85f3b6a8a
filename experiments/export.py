"""`abaw export`: a finished training as files for others: weights, a model card, and a form that needs torch alone.

That form is TorchScript: of the forms that torch writes without a further package it is the one that runs without this
library and without Python. (torch calls it deprecated in favour of `torch.export`, whose files need Python; ONNX
needs the package onnxscript.) It is kept only after it gave the network's own numbers.
"""

import argparse
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import torch
import yaml
from torch import Tensor, nn

from abaw.data.augment import Augmentation, views_of
from abaw.problems import refuse
from abaw.runs import plain
from abaw.systems.system import System
from abaw.tracks import Track, get_track
from abaw.training.checkpoints import save_weights
from abaw.training.trained import Trained, read_trained

TOLERANCE = 1e-5
"""Largest difference between the exported form and the network, on values in [-1, 1] and probabilities."""
BATCHES = (1, 2, 5)
"""Sizes of the batches on which the two are compared; the form is recorded with another one."""
WEIGHTS, SCRIPT, CARD = "model.safetensors", "model.pt", "README.md"
RANGES = {
    "regression": "in (-1, 1)",
    "classes": "probabilities that sum to 1; the largest one is the class",
    "binary": "a probability each; active from 0.5 on",
}


def export(arguments: Sequence[str]) -> int:
    """The command `abaw export`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="abaw export", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of a finished training, such as runs/demo/finetune-...")
    parser.add_argument("out", type=Path, help="folder for the files")
    parser.add_argument("--overwrite", action="store_true", help="replace the files that are in OUT")
    options = parser.parse_args(arguments)
    for path in export_run(options.run, options.out, overwrite=options.overwrite):
        print(path)
    return 0


def export_run(run: Path, out: Path, *, overwrite: bool = False) -> list[Path]:
    """Write weights, TorchScript and model card of a training into `out`; returns their paths.

    BadInput when `run` is no finished training with a track, when `out` holds files and `overwrite` is not set, or when
    the TorchScript form does not give the network's numbers.
    """
    trained = read_trained(run)
    track, size = _exportable(trained, run)
    if out.exists() and not overwrite and (out.is_file() or any(out.iterdir())):
        raise refuse(out, "is not empty; give another folder, or --overwrite")
    out.mkdir(parents=True, exist_ok=True)
    predictor = Predictor(trained.system, trained.augmentation, track).eval().requires_grad_(False)
    difference = write_script(predictor, out / SCRIPT, size=size)
    save_weights(trained.system, out / WEIGHTS, metadata(trained, track), preprocessing=trained.preprocessing)
    (out / CARD).write_text(model_card(trained, track, size=size, difference=difference), encoding="utf-8")
    return [out / WEIGHTS, out / SCRIPT, out / CARD]


def _exportable(trained: Trained, run: Path) -> tuple[Track, int]:
    """The track that a training predicts and the side of its images."""
    track, window = trained.settings["track"], trained.settings["optimisation"]["sampling"]["window"]
    if track is None:
        raise refuse(run, f"learns without labels ({trained.name}) and predicts no track; export a fine-tuning")
    if window:
        raise refuse(run, f"predicts windows of {window} frames; only systems of single images can be exported")
    if trained.preprocessing is None or trained.preprocessing.size is None:
        raise refuse(run, "its weights do not say how large their images were; train again on shards that say it")
    return get_track(track), trained.preprocessing.size


class Predictor(nn.Module):
    """Images, uint8 (B, 3, S, S), to what a run predicts of them: the mean over its views, by task name."""

    def __init__(self, system: System, augmentation: Augmentation, track: Track) -> None:
        super().__init__()
        self.system, self.augmentation, self.track = system, augmentation, track

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predictions (B, C)."""
        views = [self.system.predict({"image": view}) for view in views_of(image, self.augmentation)]
        return {task.name: torch.stack([view[task.name] for view in views]).mean(dim=0) for task in self.track.tasks}


class Checked(nn.Module):
    """A recorded predictor that refuses images of another type or size: it would give wrong numbers."""

    def __init__(self, recorded: nn.Module, size: int) -> None:
        super().__init__()
        self.recorded, self.size = recorded, size

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predictions (B, C)."""
        if image.dtype != torch.uint8 or image.dim() != 4 or list(image.shape[1:]) != [3, self.size, self.size]:
            raise ValueError(f"images must be uint8 (B, 3, {self.size}, {self.size})")
        predictions: dict[str, Tensor] = self.recorded(image)
        return predictions


@torch.no_grad()
def write_script(predictor: nn.Module, path: Path, *, size: int) -> float:
    """Write a predictor as TorchScript for images of that side; returns its largest difference from the predictor."""
    generator = torch.Generator().manual_seed(0)
    example = random_images(3, size, generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated, and that sizes become fixed: Checked guards them
        try:
            recorded = torch.jit.trace(predictor, (example,), strict=False, check_trace=False)  # type: ignore[no-untyped-call]
        except (TypeError, RuntimeError) as error:
            raise refuse(path, f"the system cannot be recorded as TorchScript: {error}") from error
        script = torch.jit.script(Checked(recorded, size).eval())
        partial = path.with_name(path.name + ".partial")
        script.save(str(partial))  # type: ignore[no-untyped-call]
        written = torch.jit.load(str(partial))  # type: ignore[no-untyped-call]
    images = [random_images(batch, size, generator) for batch in BATCHES]
    difference = float(torch.stack([largest_difference(written(image), predictor(image)) for image in images]).max())
    if not difference <= TOLERANCE:
        partial.unlink()
        problem = f"TorchScript differs from the network by {difference:.1e}, allowed are {TOLERANCE:.0e}"
        raise refuse(path, f"{problem}; the system does something that cannot be recorded, such as a choice by value")
    partial.replace(path)
    return difference


def random_images(batch: int, size: int, generator: torch.Generator) -> Tensor:
    """uint8 images (B, 3, S, S) of coarse and fine structure."""
    coarse = torch.rand(batch, 3, 5, 5, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    noise = torch.rand(batch, 3, size, size, generator=generator)
    return (255 * (0.8 * smooth + 0.2 * noise)).to(torch.uint8)


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> Tensor:
    """Over all tasks and images; not a number where a prediction is none."""
    return torch.stack([(one[name] - other[name]).abs().max() for name in other]).max()


def metadata(trained: Trained, track: Track) -> dict[str, str]:
    """What `model.safetensors` says of itself, beside how its images were made."""
    return {
        "format": "pt",
        "system": trained.name,
        "config": json.dumps(plain(trained.config)),
        "track": track.name,
        "columns": json.dumps({task.name: task.columns for task in track.tasks}),
        "config_hash": str(trained.result["config_hash"]),
        "commit": trained.result["commit"] or "unknown",
        "licence": "Frames and labels of Aff-Wild2 must not be shared; weights may.",
    }


def model_card(trained: Trained, track: Track, *, size: int, difference: float) -> str:
    """The model card as Markdown."""
    loader = jinja2.PackageLoader("experiments")
    templates = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return templates.get_template("model_card.md.j2").render(
        title=f"{trained.name}: {trained.result['name']}",
        system=trained.name,
        track=track,
        files={"weights": WEIGHTS, "script": SCRIPT},
        ranges=RANGES,
        size=size,
        views=VIEWS[trained.augmentation.views],
        checked=sum(BATCHES),
        difference=f"{difference:.1e}",
        tolerance=f"{TOLERANCE:.0e}",
        preprocessing=asdict(trained.preprocessing) if trained.preprocessing else {},
        result=trained.result,
        videos=len(trained.settings["train"]["videos"] or ()),
        starts=_starts(trained.settings.get("init")),
        config=yaml.safe_dump({"system": plain(trained.config)}, sort_keys=False),
    )


def _starts(init: Any) -> str:
    """What the networks started from, without the folders of this machine."""
    sources = init.items() if isinstance(init, dict) else [("encoder", init)] if init else []
    return (
        ", ".join(f"{name} from `{'/'.join(Path(source).parts[-3:])}`" for name, source in sources) or "fresh weights"
    )


VIEWS = {
    "one": "One view of each image.",
    "flip": "The mean of each image and its mirror image.",
    "five": "The mean of five crops of each image.",
    "ten": "The mean of five crops of each image and their mirror images.",
}
