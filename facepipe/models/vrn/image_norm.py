"""Batch norm by the statistics of each image alone.

Networks published in training mode normalise by mean and variance of the batch at hand, and were run on one
image at a time. Taking the statistics of each image of a batch gives the same, whatever stands beside it.
"""

from __future__ import annotations

import torch
from torch import nn


class ImageNorm2d(nn.Module):
    """What `nn.BatchNorm2d` in training mode does to a batch of one image, done to each image.

    (x - mean) / sqrt(variance + eps) * weight + bias, with mean and biased variance over the image's pixels.

    Args:
        norm: whose parameters are taken.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight = norm.weight
        self.bias = norm.bias
        self.eps = norm.eps

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (N, C, h, w) to the same shape."""
        variance, mean = torch.var_mean(features, dim=(2, 3), correction=0, keepdim=True)
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias[:, None, None] - mean * scale, features, scale)


def use_image_statistics(network: nn.Module) -> None:
    """Replace every batch norm in a network by an `ImageNorm2d` with its parameters."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, ImageNorm2d(child))
