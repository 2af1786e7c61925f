"""Training losses of regressors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

EARLIER_STAGE = 0.5
"""Weight of each stage before the last one."""

SILHOUETTE = 0.1
"""Weight of a column's fullest voxel beside the mean over all voxels: as much as 20 of the column's 200."""


def volume_loss(predictions: Sequence[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of soft occupancy and of the silhouette, summed over the weighted stages.

    The mean over voxels, and `SILHOUETTE` times the mean over columns of what their fullest voxel loses. Near
    the silhouette a face is thinner than its depth is certain, so that no voxel of such a column may have
    p >= 0.5, although something is surely there.

    Args:
        predictions: logits (N, D, h, w) of every stage, the best one last; earlier ones may be on a coarser
            grid, whose cells are compared with the mean of theirs.
        targets: uint8 (N, D, H, W), 255 = full.
    """
    targets = targets.contiguous(memory_format=torch.channels_last)
    terms = [occupancy_loss(logits, _coarsened(targets, logits)) for logits in predictions]
    return terms[-1] + EARLIER_STAGE * sum(terms[:-1], torch.zeros_like(terms[-1]))


def _coarsened(targets: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if targets.shape[2:] == like.shape[2:]:
        return targets
    height, width = like.shape[2:]
    means = functional.adaptive_avg_pool2d(targets.float(), (height, width))
    return means.round_().to(torch.uint8)


def occupancy_loss(
    logits: torch.Tensor, targets: torch.Tensor, silhouette: float = SILHOUETTE
) -> torch.Tensor:
    """Loss of one stage, see `volume_loss`.

    In float32, one image at a time: the logits of a batch do not fit a processor's cache, those of an image
    nearly do.

    Args:
        logits: (N, D, h, w), any float type.
        targets: uint8 of the same shape, 255 = full.
        silhouette: weight of the fullest voxels.
    """
    loss: torch.Tensor = _OccupancyLoss.apply(logits, targets, silhouette)
    return loss


class _OccupancyLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor, silhouette: float) -> torch.Tensor:
        total = torch.zeros((), device=logits.device)
        gradient = torch.empty_like(logits)
        share = silhouette * logits.shape[1]
        for row, image, target in zip(gradient, logits, targets, strict=True):
            values, occupancy = image.float(), target.float().mul_(1 / 255)
            fullest, where = values.max(0, keepdim=True)
            seen = occupancy.amax(0, keepdim=True)
            total += _cross_entropy(values, occupancy) + share * _cross_entropy(fullest, seen)
            slope = values.sigmoid().sub_(occupancy)
            slope.scatter_add_(0, where, fullest.sigmoid().sub_(seen).mul_(share))
            row.copy_(slope)
        ctx.save_for_backward(gradient)
        return total / logits.numel()

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (outer / gradient.numel()).to(gradient.dtype), None, None


def _cross_entropy(logits: torch.Tensor, p: torch.Tensor) -> torch.Tensor:
    return (functional.softplus(logits) - logits * p).sum()
