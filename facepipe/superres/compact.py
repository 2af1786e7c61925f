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

from facepipe.conventions import NETWORK_PX
from facepipe.errors import UsageError
from facepipe.inference import load_module, open_device, run_batched
from facepipe.weights import WeightsFile, load_tensors

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


class CompactResolver:
    """A loaded Compact network.

    Args:
        file: weights whose architecture is 'compact'.
        device: a torch device.

    Raises:
        WeightsError: the file is damaged or does not fit the architecture.
        UsageError: the device does not exist.
    """

    def __init__(self, file: WeightsFile, device: str = "cpu") -> None:
        self._file = file
        self._device_name = device
        self._device = open_device(device)
        network = Compact(**file.info.arguments)
        load_module(network, load_tensors(file.path), str(file.path))
        self._scale = network.scale
        self._network = network.to(self._device)

    def __reduce__(self) -> tuple[type[CompactResolver], tuple[WeightsFile, str]]:
        """Pickle as the file to load: processes load their own weights."""
        return CompactResolver, (self._file, self._device_name)

    def __call__(self, lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Restore uint8 RGB (N, h, h, 3) to uint8 RGB (N, 128, 128, 3), h = 128 / scale."""
        side = NETWORK_PX // self._scale
        if lowres.shape[1:] != (side, side, 3):
            raise UsageError(
                f"{self._file.info.name} restores images of {side} px, and was given shape {lowres.shape}"
            )
        if not len(lowres):
            return np.empty((0, NETWORK_PX, NETWORK_PX, 3), np.uint8)
        return run_batched(self._forward, lowres, self._device)

    def _forward(self, lowres: torch.Tensor) -> torch.Tensor:
        restored = self._network(lowres.permute(0, 3, 1, 2).float() / 255)
        grey_levels = (restored * 255).round().clamp(0, 255).to(torch.uint8)
        return grey_levels.permute(0, 2, 3, 1).contiguous()
