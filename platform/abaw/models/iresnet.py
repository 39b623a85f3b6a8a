"""IR-50, the residual network of face recognition (ArcFace: Deng et al., section 3.1 and "improved ResNet").

The comparator of ContraWarping + SRP, Table 5, and the first part of APViT. A block is BN-conv-PReLU-conv-BN beside its
shortcut, the stem keeps the resolution, and each stage halves it: 112 pixels give a map of 512 channels and 7x7 places.
"""

from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)
BLOCKS = (3, 4, 14, 3)


class IResNet50(nn.Module):
    """Normalised images (B, 3, h, w) to a map (B, C, h / 16, w / 16), without what face recognition adds behind it."""

    def __init__(self, stages: int = 4) -> None:
        """The first `stages` of the four stages, each of which halves the image once more."""
        super().__init__()
        width = WIDTHS[0]
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))
        before = [WIDTHS[0], *WIDTHS]
        self.stages = nn.Sequential(*(_stage(before[k], WIDTHS[k], BLOCKS[k]) for k in range(stages)))
        self.width = WIDTHS[stages - 1]
        self.stage_ends = [f"stages.{k}" for k in range(stages)]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """The map of the last stage."""
        map_BCHW: Tensor = self.stages(self.stem(pixels_BCHW))
        return map_BCHW


def _stage(before: int, width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(Block(before, width, stride=2), *(Block(width, width, stride=1) for _ in range(blocks - 1)))


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut; the second one has the stride."""

    def __init__(self, before: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.Conv2d(before, width, 3, padding=1, bias=False),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.MaxPool2d(1, stride)
        if before != width:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Shortcut plus residual."""
        result: Tensor = self.shortcut(map_BCHW) + self.residual(map_BCHW)
        return result
