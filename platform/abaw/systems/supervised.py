"""Frame-wise recognition: a backbone, spatial reserve pooling and a linear layer (ContraWarping + SRP, section 3.2).

Equations 1-3 for expressions; other tasks have their own losses. Published training: SGD at 5e-3 with cosine decay,
8000 steps of 128 frames, one frame of ten with a new offset each epoch, random crops and mirroring; ResNet-18 in the
ablations and ResNet-50 for the test set, from ContraWarping's weights, the first three stages frozen.
"""

from dataclasses import dataclass

from torch import Tensor

from abaw.models.backbones import BackboneConfig
from abaw.models.srp import Pool, make_pool
from abaw.systems.backbone import BackboneSystem
from abaw.systems.heads import Heads, TaskSystem
from abaw.systems.system import Batch
from abaw.tracks import get_track


@dataclass(frozen=True, kw_only=True)
class Supervised:
    """A backbone, a pooling and a linear head a task."""

    track: str = "expr"
    """Name in `abaw.tracks`: which tasks are learnt."""
    backbone: BackboneConfig = BackboneConfig(frozen_stages=3)
    pool: Pool = "srp"
    """srp: spatial reserve pooling. gap: global average pooling, its comparator in Table 2."""

    def build(self) -> "SupervisedSystem":
        """The system with fresh weights."""
        return SupervisedSystem(self)


class SupervisedSystem(TaskSystem, BackboneSystem):
    """Networks, losses and predictions of supervised learning with a backbone."""

    def __init__(self, config: Supervised) -> None:
        super().__init__(config.backbone)
        self.config = config
        self.pool = make_pool(config.pool, self.map_shape)
        self.heads = Heads(self.pool.features, get_track(config.track).tasks)

    def features(self, batch: Batch) -> Tensor:
        """The pooled feature of each image (B, F)."""
        features_BF: Tensor = self.pool(self.feature_map(batch["image"]))
        return features_BF
