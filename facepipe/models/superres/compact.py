"""Compact: a plain stack of 3 x 3 convolutions on RGB at low resolution, added to the nearest pixels.

Convolutions with PReLU between them, a last one to 3 r^2 channels, a pixel shuffle, and the input enlarged by
repetition added to it. Names and shapes of the tensors are those of the network known as SRVGGNetCompact or
"RealESRGAN Compact" (Wang et al., ICCVW 2021), so that `spandrel` and the programs built on it load the files
as they are. RGB in [0, 1] in and out.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from facepipe.models.inference import run_batched
from facepipe.models.superres.resolver import WeightsResolver

CHANNELS = 3

CARRIED_NOISE = 0.1
"""Size of the random part of a middle convolution's initial weights, in units of He's initialisation."""


class Compact(nn.Module):
    """The network: (N, 3, h, w) RGB to (N, 3, r h, r w).

    Args:
        scale: the enlargement factor r.
        features: channels between the convolutions.
        convolutions: convolutions between the first and the last one.
    """

    def __init__(self, scale: int, features: int, convolutions: int) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = []
        inputs = CHANNELS
        for _ in range(convolutions + 1):
            layers += [nn.Conv2d(inputs, features, 3, padding=1), nn.PReLU(features)]
            inputs = features
        layers.append(nn.Conv2d(features, CHANNELS * scale**2, 3, padding=1))
        self.body = nn.Sequential(*layers)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Enlarge RGB."""
        detail = nn.functional.pixel_shuffle(self.body(image), self.scale)
        return detail + nn.functional.interpolate(image, scale_factor=self.scale, mode="nearest")


@torch.no_grad()
def start_as_bilinear(network: Compact) -> None:
    """Give a network initial weights with which it is bilinear interpolation, and which learn quickly.

    The first three features carry the image unchanged to the last convolution, whose weights for them are
    bilinear minus nearest; its weights for all other features are zero. The other features start near the
    identity from layer to layer, which is what a residual block starts as.
    """
    convolutions = [layer for layer in network.body if isinstance(layer, nn.Conv2d)]
    activations = [layer for layer in network.body if isinstance(layer, nn.PReLU)]
    nn.init.kaiming_normal_(convolutions[0].weight, a=0.25)
    for middle in convolutions[1:-1]:
        nn.init.kaiming_normal_(middle.weight, a=0.25)
        middle.weight.mul_(CARRIED_NOISE)
        middle.weight.add_(nn.init.dirac_(torch.empty_like(middle.weight)))
    for layer in convolutions[:-1]:
        layer.bias.zero_()  # type: ignore[union-attr]
        layer.weight[:CHANNELS] = nn.init.dirac_(torch.empty_like(layer.weight))[:CHANNELS]
    for activation in activations:
        activation.weight[:CHANNELS] = 1.0
    convolutions[-1].weight.zero_()
    convolutions[-1].bias.zero_()  # type: ignore[union-attr]
    kernels = _bilinear_minus_nearest(network.scale)
    for channel in range(CHANNELS):
        first = channel * network.scale**2
        convolutions[-1].weight[first : first + network.scale**2, channel] = kernels


def _bilinear_minus_nearest(scale: int) -> torch.Tensor:
    """Kernels (r^2, 3, 3) for the pixels of a block in the order of the pixel shuffle."""
    offsets = (torch.arange(scale) + 0.5) / scale - 0.5
    taps = torch.stack([(-offsets).clamp(min=0), 1 - offsets.abs(), offsets.clamp(min=0)], dim=1)
    kernels = torch.einsum("yi,xj->yxij", taps, taps).reshape(scale**2, 3, 3)
    kernels[:, 1, 1] -= 1
    return kernels


def to_rgb(images: NDArray[np.uint8]) -> torch.Tensor:
    """Turn uint8 RGB (N, h, w, 3) into float32 (N, 3, h, w) in [0, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


class CompactResolver(WeightsResolver):
    """A loaded Compact network."""

    network_class = Compact

    def _restore(self, lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return run_batched(self._forward, lowres, self._device)

    def _forward(self, lowres: torch.Tensor) -> torch.Tensor:
        restored = self._network(lowres.permute(0, 3, 1, 2).float() / 255)
        grey_levels = (restored * 255).round().clamp(0, 255).to(torch.uint8)
        return grey_levels.permute(0, 2, 3, 1).contiguous()
