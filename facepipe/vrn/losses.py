"""What a regressor's training makes small."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

EARLIER_STAGE = 0.5
"""Weight of each stage before the last one."""


def volume_loss(predictions: Sequence[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of soft occupancy, mean over voxels, summed over the stages with their weights.

    Args:
        predictions: logits (N, D, h, w) of every stage, the best one last; earlier ones may be on a coarser
            grid, whose cells are compared with the mean of theirs.
        targets: uint8 (N, D, H, W), 255 = full.
    """
    targets = targets.contiguous(memory_format=torch.channels_last)
    terms = [occupancy_cross_entropy(logits, _coarsened(targets, logits)) for logits in predictions]
    return terms[-1] + EARLIER_STAGE * sum(terms[:-1], torch.zeros_like(terms[-1]))


def _coarsened(targets: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    if targets.shape[2:] == like.shape[2:]:
        return targets
    height, width = like.shape[2:]
    means = functional.adaptive_avg_pool2d(targets.float(), (height, width))
    return means.round_().to(torch.uint8)


def occupancy_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean binary cross-entropy of logits (N, D, h, w) of any float type with uint8 occupancy, 255 = full.

    `torch.nn.functional.binary_cross_entropy_with_logits` in float32, one image at a time: the logits of a
    batch do not fit a processor's cache, those of an image nearly do.
    """
    mean: torch.Tensor = _OccupancyCrossEntropy.apply(logits, targets)
    return mean


class _OccupancyCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = torch.zeros((), device=logits.device)
        gradient = torch.empty_like(logits)
        for row, image, target in zip(gradient, logits, targets, strict=True):
            values, occupancy = image.float(), target.float().mul_(1 / 255)
            total += (functional.softplus(values) - values * occupancy).sum()
            row.copy_(values.sigmoid().sub_(occupancy))
        ctx.save_for_backward(gradient)
        return total / logits.numel()

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (outer / gradient.numel()).to(gradient.dtype), None
