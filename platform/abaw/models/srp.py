"""Spatial reserve pooling, and the average pooling it replaces (ContraWarping + SRP, section 3.2.3).

Two convolutions take the map (B, C, 7, 7) to (B, 256, 3, 3), which is flattened: every place of the face keeps its own
features. The paper gives the widths, the stride of the second convolution and the shapes, but no kernel sizes; these
are those of the public code: both 2x2 without padding (7 -> 6 -> 3), each with batch norm and ReLU.
Legend: B images, C channels, H and W rows and columns, F features.
"""

from typing import Literal

from torch import Tensor, nn

Pool = Literal["srp", "gap"]


class SpatialReservePooling(nn.Module):
    """Map (B, C, H, W) to features (B, 256 * ((H - 1) // 2) * ((W - 1) // 2)), row by row in each channel."""

    def __init__(self, channels: int, rows: int, columns: int, *, width: int = 256) -> None:
        super().__init__()
        if min(rows, columns) < 3:
            raise ValueError(
                f"spatial reserve pooling needs a map of at least 3x3 places, this one has {rows}x{columns}; "
                "take larger images, another backbone, or pool 'gap'"
            )
        self.features = width * ((rows - 1) // 2) * ((columns - 1) // 2)
        self.reduce = _convolution(channels, width, stride=1)
        self.shrink = _convolution(width, width, stride=2)

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """Both convolutions, then flat."""
        features_BF: Tensor = self.shrink(self.reduce(map_BCHW)).flatten(1)
        return features_BF


class GlobalAveragePooling(nn.Module):
    """Map (B, C, H, W) to features (B, C), the mean over the places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.features = channels

    def forward(self, map_BCHW: Tensor) -> Tensor:
        """The mean over rows and columns."""
        return map_BCHW.mean(dim=(2, 3))


def make_pool(pool: Pool, shape: tuple[int, int, int]) -> SpatialReservePooling | GlobalAveragePooling:
    """The pooling of that name for maps of `shape`: channels, rows, columns."""
    return SpatialReservePooling(*shape) if pool == "srp" else GlobalAveragePooling(shape[0])


def _convolution(channels: int, width: int, *, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(channels, width, kernel_size=2, stride=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
