"""Running an hourglass network of any kind: images in, occupancy volumes out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import UsageError
from facepipe.models.gpu_batches import GpuBatches
from facepipe.models.inference import load_module, open_device, run_batched
from facepipe.models.vrn.image_norm import use_image_statistics
from facepipe.models.vrn.networks import build_network
from facepipe.models.vrn.preprocessing import INPUT_SCALES, OWN, Preprocessing, preprocessing_of
from facepipe.models.weights import WeightsFile, load_tensors


class HourglassRegressor:
    """A loaded hourglass network.

    Logits are brought from the network's grid to the volume's by bilinear interpolation, then p = sigmoid,
    then uint8 = round(255 p). Input, batch norm and interpolation are as the weights' `usage` says.

    Args:
        file: weights of one of `networks.NETWORKS`.
        geometry: of the volumes.
        device: a torch device.
        bf16: whether convolutions are computed in bfloat16 (`docs/decisions/013-openvino.md`).

    Raises:
        WeightsError: the file is damaged or does not fit the architecture.
        UsageError: the device does not exist.
    """

    def __init__(
        self, file: WeightsFile, geometry: VolumeGeometry, device: str = "cpu", bf16: bool = False
    ) -> None:
        self._file = file
        self._geometry = geometry
        self._device_name = device
        self._bf16 = bf16
        self._device = open_device(device)
        self._usage = preprocessing_of(file)
        network = build_network(file.info.architecture, file.info.arguments)
        load_module(network, load_tensors(file.path), str(file.path))
        if self._usage.batch_norm == "per-image":
            use_image_statistics(network)
        self._network = network.to(self._device)
        self._on_gpu: GpuBatches | None = None
        if self._device.type == "cuda":
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # what its tensor cores read without turning round

    def __reduce__(self) -> tuple[type[HourglassRegressor], tuple[Any, ...]]:
        """Pickle as the file to load: processes load their own weights."""
        return HourglassRegressor, (self._file, self._geometry, self._device_name, self._bf16)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Regress uint8 RGB (N, 128, 128, 3) to uint8 occupancy (N, D, H, W)."""
        if images.shape[1:] != (NETWORK_PX, NETWORK_PX, 3):
            raise UsageError(
                f"{self._file.info.name} reads images of shape ({NETWORK_PX}, {NETWORK_PX}, 3), "
                f"and was given {images.shape[1:]}"
            )
        if not len(images):
            return np.empty((0, *self._geometry.shape), np.uint8)
        if self._device.type != "cuda":
            return run_batched(self._forward, images, self._device)
        if self._on_gpu is None:
            self._on_gpu = GpuBatches(self._forward, self._device, images.shape[1:])
        return self._on_gpu(images)

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        side = self._geometry.size
        inputs = to_input(images, side, self._usage)
        # A graph must not hold on to weights that were cast outside of it.
        cache = self._device.type != "cuda"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=cache):
            logits = self._network(inputs)[-1]
        return to_occupancy(logits.float(), side, self._usage)


def to_input(images: torch.Tensor, side: int, usage: Preprocessing = OWN) -> torch.Tensor:
    """Bring uint8 RGB (N, H, W, 3) to what hourglass networks read: float32 (N, 3, side, side).

    A network sees images as large as the volumes that it gives; others are interpolated bilinearly.
    """
    divisor, shift = INPUT_SCALES[usage.input_range]
    scaled = images.permute(0, 3, 1, 2).float() / divisor + shift
    if usage.channel_order == "bgr":
        scaled = scaled.flip(1)
    if scaled.shape[2:] == (side, side):
        return scaled
    return functional.interpolate(scaled, size=(side, side), mode="bilinear", align_corners=False)


def to_cells(logits: torch.Tensor, side: int, usage: Preprocessing = OWN) -> torch.Tensor:
    """Bring logits (N, D, h, w) to the mean over the pixels of each of h x w cells of a volume's grid.

    The pixels are what `to_occupancy` enlarges the logits to; where that lays pixel centres at half-integers,
    logits count as the means already.
    """
    if usage.upsampling == "centres":
        return logits
    across, down = (_cell_means(extent, side, logits) for extent in (logits.shape[3], logits.shape[2]))
    return down @ logits @ across.T


def _cell_means(count: int, side: int, like: torch.Tensor) -> torch.Tensor:
    """Matrix (count, count) from logits along one axis to the means of cells of the enlarged ones."""
    unit = torch.eye(count, device=like.device)[None]
    enlarged = functional.interpolate(unit, size=side, mode="linear", align_corners=True)[0]
    return enlarged.reshape(count, count, side // count).mean(2).T.to(like.dtype)


def to_occupancy(logits: torch.Tensor, side: int, usage: Preprocessing = OWN) -> torch.Tensor:
    """Bring float logits (N, D, h, w) to uint8 occupancy (N, D, side, side)."""
    logits = functional.interpolate(
        logits, size=(side, side), mode="bilinear", align_corners=usage.upsampling == "corners"
    )
    return logits.sigmoid_().mul_(255).round_().to(torch.uint8)
