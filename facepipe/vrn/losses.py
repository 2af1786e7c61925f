"""What a regressor's training makes small."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

EARLIER_STAGE = 0.5
"""Weight of each stage before the last one."""


def volume_loss(predictions: Sequence[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of soft occupancy, mean over voxels, summed over the stages with their weights.

    Args:
        predictions: logits (N, D, h, w) of every stage, the best one last.
        targets: uint8 (N, D, h, w), 255 = full.
    """
    occupancy = targets.to(torch.float32).mul_(1 / 255).contiguous(memory_format=torch.channels_last)
    terms = [functional.binary_cross_entropy_with_logits(logits.float(), occupancy) for logits in predictions]
    return terms[-1] + EARLIER_STAGE * sum(terms[:-1], torch.zeros_like(terms[-1]))
