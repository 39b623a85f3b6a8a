"""Weights to start from: put what a source names into networks, and tell exactly what came in and what did not.

Tensors go by name. In our own files a network lies under a prefix (`network.encoder.`, `encoders.0.`), in others under
`module.` or none: the prefix under which most of its names lie is taken. Published layouts: MAE, MAE-Face and timm's
ViT (`pos_embed`, `blocks.0.attn.qkv.weight`), torchvision's and timm's ResNet (`layer1.0.conv1.weight`), DAN
(`features.4.0.conv1.weight`, `cat_head0.sa.conv1x1.0.weight`), the IR-50 of face recognition (`input_layer.0.weight`,
`body.0.res_layer.1.weight`).

Shape legend: N positions, D width.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abaw.models.iresnet import BLOCKS
from abaw.problems import refuse
from abaw.training.sources import read_source

DAN_PARTS = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
"""DAN numbers the parts of its ResNet-18: `features.4.0.conv1.weight` is `layer1.0.conv1.weight` elsewhere."""
IR50_PARTS = {"res_layer": "residual", "shortcut_layer": "shortcut"}
"""Face recognition numbers the 24 blocks of an IR-50 throughout: `body.3.res_layer.1` is `stages.1.0.residual.1`."""
MOST_NAMES = 16
"""Names that are told one by one."""


@dataclass(frozen=True, kw_only=True)
class StartReport:
    """What of a source came into a network. Names are the network's own, those of `left_over` the source's."""

    source: str
    prefix: str
    """What stands before the network's names in the source."""
    also_under: tuple[str, ...]
    """Other prefixes under which as many names lie; of them all the first in the alphabet was taken."""
    loaded: tuple[str, ...]
    """Tensors that came in, the reshaped ones too."""
    reshaped: tuple[str, ...]
    """Position embeddings that were interpolated, with both shapes."""
    missing: tuple[str, ...]
    """Tensors that keep their fresh values: not in the source, or there with another shape, which is told."""
    left_over: tuple[str, ...]
    """Tensors of the source that nothing took."""
    share: float
    """Values that came in, as a share of the network's: a matrix counts by its size, a bias hardly."""

    def lines(self) -> list[str]:
        """The report for a person: a summary, then a line each for what was reshaped, is missing and is left over."""
        tensors, where = len(self.loaded) + len(self.missing), f" from {self.prefix}*" if self.prefix else ""
        came = f"{len(self.loaded)} of {tensors} tensors{where}, {_percent(self.share)} of the network's values"
        others = {
            "as many names lie under": ", ".join(f"{prefix}*" for prefix in self.also_under),
            "reshaped:": _folded(self.reshaped),
            "missing, so fresh:": _folded(self.missing),
            "left over:": _folded(self.left_over),
        }
        return [f"{self.source}: loaded {came}", *(f"{title} {text}" for title, text in others.items() if text)]


@torch.no_grad()
def load_start(trunks: Sequence[nn.Module], source: str, *, at_least: float = 0.9) -> StartReport:
    """Put the weights that `source` names into each of the networks.

    Args:
        trunks: networks of one architecture, such as the encoders of several views.
        source: see `abaw.training.sources.read_source`.
        at_least: share of a network's values (elements of its parameters and buffers) that must come in.

    Raises:
        BadInput: the source cannot be read, or too little came in; then no network is changed.
    """
    weights, report = match(trunks[0].state_dict(), read_source(source), source=source)
    if report.share < at_least:
        refusal = (
            f"only {_percent(report.share)} of the network's values came in, expected {_percent(at_least)} or more"
        )
        told = "; ".join(report.lines()[1:])
        raise refuse(source, f"{refusal}; choose weights of the same network, or set at_least lower. {told}")
    for trunk in trunks:
        trunk.load_state_dict(weights, strict=False)
    return report


def match(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], *, source: str
) -> tuple[dict[str, Tensor], StartReport]:
    """The tensors of `found` that fit a network's by name and shape, under the network's names, and the report."""
    places = _places(wanted, found)
    prefix, *also_under = _prefixes(wanted, places)
    weights: dict[str, Tensor] = {}
    missing, reshaped = [], []
    for name, ours in wanted.items():
        if prefix + name not in places:
            missing.append(name)
            continue
        theirs = found[places[prefix + name]]
        shapes = f"{name} {tuple(theirs.shape)} to {tuple(ours.shape)}"
        if theirs.shape == ours.shape:
            weights[name] = theirs
        elif name.endswith("pos_embed") and theirs.ndim == 3 and theirs.shape[-1] == ours.shape[-1]:
            weights[name] = resized_positions(theirs, ours)
            reshaped.append(shapes)
        else:
            missing.append(f"{shapes} does not fit")
    taken = {places[prefix + name] for name in weights}
    report = StartReport(
        source=source,
        prefix=prefix,
        also_under=tuple(also_under),
        loaded=tuple(weights),
        reshaped=tuple(reshaped),
        missing=tuple(missing),
        left_over=tuple(name for name in found if name not in taken),
        share=sum(wanted[name].numel() for name in weights) / sum(ours.numel() for ours in wanted.values()),
    )
    return weights, report


def resized_positions(theirs_1ND: Tensor, ours_1ND: Tensor) -> Tensor:
    """Position embeddings of a square of patches for a network with another number of them, of the shape of `ours`.

    The patches' are interpolated (bicubic, antialiased when they become fewer). What stands before them, the class
    token's, is taken as it is, or left as it is in `ours` where the source has none.
    """
    (before, rows), (our_before, our_rows) = _square(theirs_1ND), _square(ours_1ND)
    square = theirs_1ND[:, before:].float().reshape(1, rows, rows, -1).permute(0, 3, 1, 2)
    size = (our_rows, our_rows)
    resized = F.interpolate(square, size=size, mode="bicubic", antialias=True, align_corners=False)
    first = theirs_1ND[:, :before] if before == our_before else ours_1ND[:, :our_before]
    return torch.cat([first.to(resized), resized.flatten(2).transpose(1, 2)], dim=1)


def _square(positions_1ND: Tensor) -> tuple[int, int]:
    """Number of positions before the patches', and rows of the square of patches."""
    positions = positions_1ND.shape[1]
    rows = math.isqrt(positions)
    return positions - rows * rows, rows


def _places(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, str]:
    """Where the source keeps each name, in the words of the network that wants it."""
    if any(name.startswith("layer1.") for name in wanted):
        return {_as_resnet(name): name for name in found}
    if any(name.startswith("stages.") for name in wanted):
        return {_as_ir50(name): name for name in found}
    return {name: name for name in found}


def _as_resnet(name: str) -> str:
    pattern = rf"(?:^|(?<=\.))features\.([{''.join(DAN_PARTS)}])\."
    return re.sub(pattern, lambda part: f"{DAN_PARTS[part[1]]}.", name)


def _as_ir50(name: str) -> str:
    def block(part: re.Match[str]) -> str:
        number = int(part[1])
        stage = max(k for k in range(len(BLOCKS)) if sum(BLOCKS[:k]) <= number)
        return f"stages.{stage}.{number - sum(BLOCKS[:stage])}.{IR50_PARTS[part[2]]}."

    name = re.sub(r"(?:^|(?<=\.))input_layer\.", "stem.", name)
    return re.sub(rf"(?:^|(?<=\.))body\.(\d+)\.({'|'.join(IR50_PARTS)})\.", block, name)


def _prefixes(wanted: Mapping[str, Tensor], places: Iterable[str]) -> list[str]:
    """The prefixes under which most of the wanted names lie, in the order of the alphabet; one empty one for none."""
    counts: Counter[str] = Counter()
    for place in places:
        parts = place.split(".")
        for k in range(len(parts)):
            if ".".join(parts[k:]) in wanted:
                counts["".join(f"{part}." for part in parts[:k])] += 1
    most = max(counts.values(), default=0)
    return sorted(prefix for prefix, count in counts.items() if count == most) or [""]


def _folded(names: Iterable[str]) -> str:
    """Names in a short form: those that differ only in a block's number as one, and long lists by their first part."""
    counts = Counter(re.sub(r"(?<=\.)\d+(?=\.)", "*", name) for name in names)
    if len(counts) > MOST_NAMES:
        parts = Counter[str]()
        for name, count in counts.items():
            parts[name if "." not in name else name.partition(".")[0] + ".*"] += count
        counts = parts
    return ", ".join(name if count == 1 else f"{name} ({count})" for name, count in counts.items())


def _percent(share: float) -> str:
    """A share as a percentage that reads 100 % only where nothing is missing."""
    return "100 %" if share == 1 else f"{math.floor(share * 1000) / 10:.1f} %"
