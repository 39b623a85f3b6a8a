"""Backbones by name: image to feature map, its stages, and the freezing of the first of them.

ContraWarping + SRP (Xue et al. 2023), sections 3.2.1-3.2.2 and Tables 4-5. A stage is what a network does at one
resolution; the stem counts to the first stage, so that a ResNet has four. In a ViT each block is a stage, and the
embeddings count to the first. Legend: B images, C channels, H and W rows and columns of a map.
"""

import bisect
from dataclasses import dataclass
from typing import Any, Literal, get_args

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from abaw.models.apvit import ApVit
from abaw.models.iresnet import IResNet50
from abaw.models.vit import Size, VitConfig


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """A network that turns images into feature maps."""

    name: str = "resnet18"
    """A name of timm, such as resnet18 or resnet50; ir50 or apvit; vit-micro, vit-tiny, vit-base or vit-large, the
    encoders of masked autoencoding; or resnet-micro, a ResNet of four narrow stages for two cores."""
    image_size: int = 224
    """Side of the square input, in pixels. ir50 and apvit were published at 112."""
    frozen_stages: int = 0
    """How many stages keep their weights and their batch norm's statistics, counted from the input; 0 trains all."""
    vit_stem: Literal["patch", "conv"] = "patch"
    """Stem of the names vit-..., as in `VitConfig`."""

    def build(self) -> nn.Module:
        """The network with fresh weights, without classifier; its tensors are named as in timm.

        Raises:
            ValueError: The name is unknown, it has no feature maps, or it has fewer stages than shall be frozen.
        """
        network: nn.Module = self._network()
        freeze(network, self.frozen_stages)
        return network

    def _network(self) -> Any:
        if self.name == "ir50":
            return IResNet50()
        if self.name == "apvit":
            return ApVit(image_size=self.image_size)
        if self.name == "resnet-micro":
            return _timm_network("resnet18", layers=(1, 1, 1, 1), channels=(24, 48, 96, 192), output_stride=8)
        sizes = {f"vit-{size}": size for size in get_args(Size)}
        if self.name in sizes:
            return VitConfig(size=sizes[self.name], image_size=self.image_size, stem=self.vit_stem).build()
        if not timm.is_model(self.name):
            own = ", ".join(["ir50", "apvit", "resnet-micro", *sizes])
            raise ValueError(f"unknown backbone {self.name!r}; choose {own} or a name that timm.list_models() gives")
        network = _timm_network(self.name)
        if hasattr(network, "set_input_size"):
            network.set_input_size(img_size=(self.image_size, self.image_size))
        return network


def _timm_network(name: str, **shape: Any) -> Any:
    network = timm.create_model(name, num_classes=0, global_pool="", **shape)
    if isinstance(network, VisionTransformer):
        return network
    if not hasattr(network, "prune_intermediate_layers"):
        raise ValueError(f"timm's {name} gives no feature maps; choose a network that has forward_intermediates")
    # What comes after the last map would get no gradient, which training on several workers does not allow.
    network.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
    return network


def feature_map(network: Any, pixels_BCHW: Tensor) -> Tensor:
    """The last feature map (B, C, H, W) of normalised images (B, 3, h, w); of a ViT its patches in their places."""
    if isinstance(network, VisionTransformer):
        patches_BND = network.forward_features(pixels_BCHW)[:, network.num_prefix_tokens :]
        rows = round(int(patches_BND.shape[1]) ** 0.5)
        map_BCHW: Tensor = patches_BND.transpose(1, 2).unflatten(2, (rows, rows))
    elif isinstance(network, IResNet50 | ApVit):
        map_BCHW = network(pixels_BCHW)
    else:
        last_of = {"indices": 1, "norm": False, "output_fmt": "NCHW", "intermediates_only": True}
        map_BCHW = network.forward_intermediates(pixels_BCHW, **last_of)[0]
    return map_BCHW


def map_shape(network: nn.Module, image_size: int) -> tuple[int, int, int]:
    """Channels, rows and columns of the feature map for images of that side, found by a pass of zeros."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    with torch.no_grad():
        channels, rows, columns = feature_map(network, torch.zeros(1, 3, image_size, image_size)).shape[1:]
    for module, training in modes.items():
        module.training = training
    return channels, rows, columns


def stages(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Of each module by name, the first and the last stage, from 0, that it takes part in."""
    leaves = [name for name, module in network.named_modules() if not list(module.children())]
    ends = [max(k for k, leaf in enumerate(leaves) if f"{leaf}.".startswith(f"{end}.")) for end in _stage_ends(network)]
    stage_of = {leaf: min(bisect.bisect_left(ends, k), len(ends) - 1) for k, leaf in enumerate(leaves)}
    spans = {}
    for name, _ in network.named_modules():
        inside = [stage for leaf, stage in stage_of.items() if not name or f"{leaf}.".startswith(f"{name}.")]
        spans[name] = (min(inside), max(inside))
    return spans


def _stage_ends(network: Any) -> Any:
    """Names of the modules that the stages end with; in timm, half of the image's side or more is the stem."""
    if isinstance(network, IResNet50 | ApVit):
        return network.stage_ends
    return [info["module"] for info in network.feature_info if info["reduction"] > 2]


def parameter_stage(spans: dict[str, tuple[int, int]], parameter: str) -> int:
    """The stage of a parameter, from 0; what a whole network shares, as a position embedding, is at the input."""
    return spans[parameter.rpartition(".")[0]][0]


def freeze(network: nn.Module, count: int) -> None:
    """Take the first `count` stages out of training: no gradients, and batch norm and drop-out as in evaluation.

    To be called again after each `train()`, which puts every module into training.
    """
    if count == 0:
        return
    spans = stages(network)
    total = spans[""][1] + 1
    if not 0 < count <= total:
        raise ValueError(
            f"frozen_stages is {count}, but {type(network).__name__} has {total} stages; give 0 to {total}"
        )
    for name, module in network.named_modules():
        if spans[name][1] < count:
            module.training = False
    for name, parameter in network.named_parameters():
        if parameter_stage(spans, name) < count:
            parameter.requires_grad_(False)
