"""The best checkpoints of a training by its held-out score, for ensembles over epochs (EMMA section 4.4)."""

import json
from pathlib import Path

from abaw.runs import write_json
from abaw.systems.system import System
from abaw.training.checkpoints import save_weights

INDEX = "kept.json"
"""Scores by name, written when the weights of all of them are there."""
WEIGHTS = ".safetensors"


class Kept:
    """Weights of the `most` epochs with the highest scores, as `epoch-012.safetensors` beside `kept.json`."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most

    @property
    def scores(self) -> dict[str, float]:
        """Score by the name of the checkpoint, best first; the earlier one of equal scores comes first."""
        return _scores(self.folder)

    def path(self, name: str) -> Path:
        """The weights of a kept checkpoint."""
        return self.folder / f"{name}{WEIGHTS}"

    def offer(self, system: System, *, epoch: int, score: float) -> None:
        """Keep the weights after this epoch (from 0), unless as many others are better."""
        name = f"epoch-{epoch + 1:03d}"
        ranked = sorted((self.scores | {name: score}).items(), key=lambda item: (-item[1], item[0]))
        kept = dict(ranked[: self.most])
        if name in kept:
            save_weights(system, self.path(name), {"epoch": str(epoch + 1), "score": repr(score)})
        write_json(self.folder / INDEX, kept)
        for left_out, _ in ranked[self.most :]:
            self.path(left_out).unlink(missing_ok=True)


def kept_files(folder: Path) -> list[Path]:
    """The weights that are kept in a folder or URL and, last, their index; empty where none are."""
    return [*(folder / f"{name}{WEIGHTS}" for name in scores), folder / INDEX] if (scores := _scores(folder)) else []


def _scores(folder: Path) -> dict[str, float]:
    index = folder / INDEX
    scores: dict[str, float] = json.loads(index.read_text()) if index.is_file() else {}
    return scores
