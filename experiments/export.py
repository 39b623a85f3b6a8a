"""`abaw export`: a finished training as files for others: weights, a model card, and a form that needs torch alone.

That form is TorchScript: of the forms that torch writes without a further package it is the one that runs without this
library and without Python. (torch calls it deprecated in favour of `torch.export`, whose files need Python; ONNX
needs the package onnxscript.) It is kept only after it gave the network's own numbers, see `recording.py`.

A system of single images takes images. A temporal head takes windows of features, and the card says whose they are.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import yaml

from abaw.data.features import FeatureManifest, read_feature_manifest
from abaw.data.storage import as_path
from abaw.problems import refuse
from abaw.runs import plain
from abaw.tracks import Track, get_track
from abaw.training.checkpoints import save_weights
from abaw.training.trained import Trained, read_trained
from experiments.recording import (
    CHECKED,
    TOLERANCE,
    Form,
    ImagePredictor,
    Images,
    WindowPredictor,
    Windows,
    write_script,
)

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

    BadInput when `run` is no finished training with a track, when its feature cache is gone, when `out` holds files and
    `overwrite` is not set, or when the TorchScript form does not give the network's numbers.
    """
    trained = read_trained(run)
    track, cache = _track(trained, run), feature_cache(trained)
    form = _form(trained, cache, run)
    if out.exists() and not overwrite and (out.is_file() or any(out.iterdir())):
        raise refuse(out, "is not empty; give another folder, or --overwrite")
    out.mkdir(parents=True, exist_ok=True)
    predictor = (
        WindowPredictor(trained.system) if cache else ImagePredictor(trained.system, trained.augmentation, track)
    )
    difference = write_script(predictor.eval().requires_grad_(False), out / SCRIPT, form)
    save_weights(trained.system, out / WEIGHTS, metadata(trained, track, cache), preprocessing=trained.preprocessing)
    (out / CARD).write_text(model_card(trained, track, form, cache, difference=difference), encoding="utf-8")
    return [out / WEIGHTS, out / SCRIPT, out / CARD]


def _track(trained: Trained, run: Path) -> Track:
    """The track that a training predicts."""
    if trained.settings["track"] is None:
        raise refuse(run, f"learns without labels ({trained.name}) and predicts no track; export a fine-tuning")
    return get_track(trained.settings["track"])


def feature_cache(trained: Trained) -> FeatureManifest | None:
    """What the features are that a training learnt from, and whose; None where it learnt from images."""
    return read_feature_manifest(as_path(trained.settings["train"]["features"])) if trained.system.windows else None


def _form(trained: Trained, cache: FeatureManifest | None, run: Path) -> Form:
    """What a training takes."""
    if cache:
        return Windows(features=cache.features, window=trained.settings["optimisation"]["sampling"]["window"])
    if trained.preprocessing is None or trained.preprocessing.size is None:
        raise refuse(run, "its weights do not say how large their images were; train again on shards that say it")
    return Images(size=trained.preprocessing.size)


def metadata(trained: Trained, track: Track, cache: FeatureManifest | None) -> dict[str, str]:
    """What `model.safetensors` says of itself, beside how its images were made."""
    made_by = {"features_of": cache.system, "features_weights_sha256": cache.made_of["weights_sha256"]} if cache else {}
    return made_by | {
        "format": "pt",
        "system": trained.name,
        "config": json.dumps(plain(trained.config)),
        "track": track.name,
        "columns": json.dumps({task.name: task.columns for task in track.tasks}),
        "config_hash": str(trained.result["config_hash"]),
        "commit": trained.result["commit"] or "unknown",
        "licence": "Frames and labels of Aff-Wild2 must not be shared; weights may.",
    }


def model_card(trained: Trained, track: Track, form: Form, cache: FeatureManifest | None, *, difference: float) -> str:
    """The model card as Markdown."""
    loader = jinja2.PackageLoader("experiments")
    templates = jinja2.Environment(
        loader=loader,
        autoescape=jinja2.select_autoescape(),  # HTML alone; the card is Markdown
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return templates.get_template("model_card.md.j2").render(
        title=f"{trained.name}: {trained.result['name']}",
        system=trained.name,
        track=track,
        files={"weights": WEIGHTS, "script": SCRIPT},
        ranges=RANGES,
        form=form,
        cache=cache and _told(cache),
        views=VIEWS[trained.augmentation.views],
        checked=CHECKED,
        difference=f"{difference:.1e}",
        tolerance=f"{TOLERANCE:.0e}",
        preprocessing=asdict(trained.preprocessing) if trained.preprocessing else {},
        result=trained.result,
        videos=len(trained.settings["train"]["videos"] or ()),
        starts=_starts(trained.settings.get("init")),
        config=yaml.safe_dump({"system": plain(trained.config)}, sort_keys=False),
    )


def _told(cache: FeatureManifest) -> dict[str, str]:
    """What the card says of the network that wrote a feature cache."""
    return {
        "system": cache.system,
        "sha256": cache.made_of["weights_sha256"],
        "views": VIEWS[cache.made_of["augmentation"]["views"]],
        "config": yaml.safe_dump({"system": cache.made_of["system"]}, sort_keys=False),
    }


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
