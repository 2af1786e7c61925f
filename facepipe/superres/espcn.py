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

from facepipe.conventions import NETWORK_PX
from facepipe.errors import UsageError
from facepipe.inference import load_module, open_device, run_batched
from facepipe.weights import WeightsFile, load_tensors

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


class EspcnResolver:
    """A loaded ESPCN.

    Args:
        file: weights whose architecture is 'espcn'.
        device: a torch device.

    Raises:
        WeightsError: the file is damaged or does not fit the architecture.
        UsageError: the device does not exist.
    """

    def __init__(self, file: WeightsFile, device: str = "cpu") -> None:
        self._file = file
        self._device_name = device
        self._device = open_device(device)
        network = espcn_from(file)
        self._scale = network.scale
        self._half = 0.5 if network.quantise == "round" else 0.0
        self._network = network.to(self._device)

    def __reduce__(self) -> tuple[type[EspcnResolver], tuple[WeightsFile, str]]:
        """Pickle as the file to load: processes load their own weights."""
        return EspcnResolver, (self._file, self._device_name)

    def __call__(self, lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Restore uint8 RGB (N, h, h, 3) to uint8 RGB (N, 128, 128, 3), h = 128 / scale."""
        side = NETWORK_PX // self._scale
        if lowres.shape[1:] != (side, side, 3):
            raise UsageError(
                f"{self._file.info.name} restores images of {side} px, and was given shape {lowres.shape}"
            )
        restored = np.empty((len(lowres), NETWORK_PX, NETWORK_PX, 3), np.uint8)
        if not len(lowres):
            return restored
        colours = [Image.fromarray(image).convert("YCbCr") for image in lowres]
        luma = np.stack([np.asarray(colour)[None, :, :, 0] for colour in colours])
        enlarged = run_batched(self._forward, luma, self._device)
        for colour, plane, target in zip(colours, enlarged, restored, strict=True):
            _, *chroma = colour.split()
            bands = [band.resize((NETWORK_PX, NETWORK_PX), Image.Resampling.BICUBIC) for band in chroma]
            target[:] = np.asarray(Image.merge("YCbCr", [Image.fromarray(plane[0]), *bands]).convert("RGB"))
        return restored

    def _forward(self, luma: torch.Tensor) -> torch.Tensor:
        grey_levels = self._network(luma.float() / 255) * 255
        return (grey_levels + self._half).clamp(0, 255).to(torch.uint8)


def espcn_from(file: WeightsFile) -> Espcn:
    """Build the network of a weights file.

    Raises:
        WeightsError: the file is damaged or does not fit the architecture.
    """
    network = Espcn(**file.info.arguments)
    load_module(network, load_tensors(file.path), str(file.path))
    return network
