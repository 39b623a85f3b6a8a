"""Losses with missing labels: cross entropy, binary cross entropy and 1 - CCC (MAE-Face eq. 2-5; EMMA section 3.2).

Each takes a mask and is 0, with zero gradients, where nothing is labelled. All compute in float32 whatever the
precision of the network. Shape legend: B rows, C classes, A action units, D = 2 (valence, arousal).
"""

import torch.nn.functional as F
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask`, 0 where nothing is masked in; entries outside may hold anything finite."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def expression_loss(logits_BC: Tensor, class_B: Tensor, *, mask_B: Tensor, weight_C: Tensor | None = None) -> Tensor:
    """Cross entropy over the labelled rows, each class times its weight (MAE-Face eq. 3, mean over rows)."""
    target_B = class_B.where(mask_B, class_B.new_zeros(()))
    loss_B = F.cross_entropy(logits_BC.float(), target_B, reduction="none")
    if weight_C is not None:
        loss_B = loss_B * weight_C[target_B]
    return masked_mean(loss_B, mask_B)


def au_loss(
    logits_BA: Tensor,
    active_BA: Tensor,
    *,
    mask_BA: Tensor,
    weight_A: Tensor | None = None,
    active_weight_A: Tensor | None = None,
) -> Tensor:
    """Binary cross entropy over the labelled entries; `weight_A` scales each unit's whole term (MAE-Face eq. 2).

    `active_weight_A` scales the part of active units alone: what a unit that is rarely active needs to be predicted.
    """
    target_BA = active_BA.where(mask_BA, active_BA.new_zeros(()))
    loss_BA = F.binary_cross_entropy_with_logits(
        logits_BA.float(), target_BA, weight=weight_A, pos_weight=active_weight_A, reduction="none"
    )
    return masked_mean(loss_BA, mask_BA)


def ccc_loss(pred_BD: Tensor, target_BD: Tensor, *, mask_B: Tensor) -> Tensor:
    """Mean over D of 1 - Lin's concordance over the rows in `mask_B`; 0 where no row is labelled.

    Half of MAE-Face eq. 4, which sums over valence and arousal, so that it weighs like the other tasks. Variances are
    with 1/n as in the score.
    """
    pred_BD, target_BD = pred_BD.float(), target_BD.float().where(mask_B[:, None], pred_BD.new_zeros(()).float())
    count = mask_B.sum().clamp(min=1)
    mask_B1 = mask_B[:, None].float()
    pred_mean_D = (pred_BD * mask_B1).sum(0) / count
    target_mean_D = (target_BD * mask_B1).sum(0) / count
    pred_off_BD = (pred_BD - pred_mean_D) * mask_B1
    target_off_BD = (target_BD - target_mean_D) * mask_B1
    covariance_D = (pred_off_BD * target_off_BD).sum(0) / count
    spread_D = (pred_off_BD.square().sum(0) + target_off_BD.square().sum(0)) / count
    ccc_D = 2 * covariance_D / (spread_D + (pred_mean_D - target_mean_D).square() + 1e-8)
    return (1 - ccc_D).mean() * mask_B.any()
