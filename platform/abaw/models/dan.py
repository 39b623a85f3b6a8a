"""DAN, "Distract your attention" (Wen et al.): a ResNet-18 and four attention heads that look at different places.

The tensors have the names and shapes of the published weights (`affecnet8_*.pth`, under `model_state_dict`): the
ResNet's stages are `features.0` to `features.7`, the heads `cat_head0` to `cat_head3`. Only the forward pass is here:
EMMA takes the network trained, so the affinity and partition losses of its training are not needed.

Shape legend: B images, D = 512 channels, H and W cells of the last feature map, K heads, C classes.
"""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

WIDTH = 512
"""Channels of ResNet-18's last feature map."""


class Dan(nn.Module):
    """Image (B, 3, h, w), normalised, to the scores (B, C) of the expressions, before softmax."""

    def __init__(self, *, classes: int = 8, heads: int = 4) -> None:
        super().__init__()
        trunk = resnet18(weights=None)
        stem = (trunk.conv1, trunk.bn1, trunk.relu, trunk.maxpool)
        self.features = nn.Sequential(*stem, trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4)
        self.head_names = [f"cat_head{k}" for k in range(heads)]
        for name in self.head_names:
            self.add_module(name, CrossAttention())
        self.fc = nn.Linear(WIDTH, classes)
        self.bn = nn.BatchNorm1d(classes)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Scores. The heads compete for each channel: what is summed is the log of their softmax over the heads."""
        map_BDHW = self.features(pixels_BCHW)
        heads_BKD = torch.stack([self.get_submodule(name)(map_BDHW) for name in self.head_names], dim=1)
        if len(self.head_names) > 1:
            heads_BKD = heads_BKD.log_softmax(dim=1)
        scores_BC: Tensor = self.bn(self.fc(heads_BKD.sum(dim=1)))
        return scores_BC


class CrossAttention(nn.Module):
    """One head: feature map (B, D, H, W) to (B, D), weighed by place and then by channel."""

    def __init__(self) -> None:
        super().__init__()
        self.sa = SpatialAttention()
        self.ca = ChannelAttention()

    def forward(self, map_BDHW: Tensor) -> Tensor:
        """The weighed features."""
        features_BD: Tensor = self.ca(self.sa(map_BDHW))
        return features_BD


class SpatialAttention(nn.Module):
    """Multiplies every cell by one weight of at least 0, seen through 3x3, 1x3 and 3x1 convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1x1 = _convolve(WIDTH, WIDTH // 2, (1, 1))
        self.conv_3x3 = _convolve(WIDTH // 2, WIDTH, (3, 3))
        self.conv_1x3 = _convolve(WIDTH // 2, WIDTH, (1, 3))
        self.conv_3x1 = _convolve(WIDTH // 2, WIDTH, (3, 1))

    def forward(self, map_BDHW: Tensor) -> Tensor:
        """The weighed map, of the same shape."""
        narrow = self.conv1x1(map_BDHW)
        seen_BDHW = (self.conv_3x3(narrow) + self.conv_1x3(narrow) + self.conv_3x1(narrow)).relu()
        weighed_BDHW: Tensor = map_BDHW * seen_BDHW.sum(dim=1, keepdim=True)
        return weighed_BDHW


class ChannelAttention(nn.Module):
    """Averages each channel over the map, then multiplies it by a weight in (0, 1) that all channels decide."""

    def __init__(self) -> None:
        super().__init__()
        squeeze = WIDTH // 16
        self.attention = nn.Sequential(
            nn.Linear(WIDTH, squeeze), nn.BatchNorm1d(squeeze), nn.ReLU(), nn.Linear(squeeze, WIDTH), nn.Sigmoid()
        )

    def forward(self, map_BDHW: Tensor) -> Tensor:
        """The weighed averages (B, D)."""
        mean_BD = map_BDHW.mean(dim=(2, 3))
        weighed_BD: Tensor = mean_BD * self.attention(mean_BD)
        return weighed_BD


def _convolve(before: int, after: int, kernel: tuple[int, int]) -> nn.Sequential:
    """A convolution that keeps the size of the map, then batch norm."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(nn.Conv2d(before, after, kernel, padding=padding), nn.BatchNorm2d(after))
