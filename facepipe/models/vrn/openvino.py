"""Regressors on OpenVINO: the same network, converted in memory, on one thread of a CPU."""

from __future__ import annotations

import warnings
from typing import Any

import openvino
import torch
from torch import nn

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.models.inference import CPU_BATCH, Forward
from facepipe.models.vrn.run_hourglass import HourglassRegressor
from facepipe.models.weights import WeightsFile

SETTINGS = {
    # Falls back to float32 by itself where the CPU has no bfloat16 arithmetic.
    "INFERENCE_PRECISION_HINT": "bf16",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,
}
"""Of the compiled network. The number of threads is part of the result, as everywhere; pinned ones of
several workers would all sit on the first core."""


class OpenVinoRegressor(HourglassRegressor):
    """A loaded hourglass network that OpenVINO runs.

    Volumes differ from torch's by a grey level or two of 255 (`docs/decisions/013-openvino.md`). Converting
    takes a second or two, once for each process; no files are left behind.

    Args:
        file: weights of one of `facepipe.models.vrn.networks.NETWORKS`.
        geometry: of the volumes.

    Raises:
        WeightsError: the file is damaged or does not fit the architecture.
    """

    def __init__(self, file: WeightsFile, geometry: VolumeGeometry) -> None:
        super().__init__(file, geometry)
        self._request = _compile(_Whole(self._network, super()._forward)).create_infer_request()

    def __reduce__(self) -> tuple[type[HourglassRegressor], tuple[Any, ...]]:
        """Pickle as the file to load: processes load their own weights."""
        return OpenVinoRegressor, (self._file, self._geometry)

    def _forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self._request.infer([images.numpy()])[0])


class _Whole(nn.Module):
    """From uint8 images to uint8 volumes, as a module that can be traced."""

    def __init__(self, network: nn.Module, whole: Forward) -> None:
        super().__init__()
        self.network = network
        self._whole = whole

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self._whole(images)


def _compile(module: nn.Module) -> openvino.CompiledModel:
    example = torch.zeros((CPU_BATCH, NETWORK_PX, NETWORK_PX, 3), dtype=torch.uint8)
    # torch warns that tracing is old, and that it takes shapes as fixed: they are.
    with warnings.catch_warnings(), torch.inference_mode(False):
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module.eval(), example, check_trace=False)
        model = openvino.convert_model(
            traced, example_input=example, input=[openvino.PartialShape(list(example.shape))]
        )
    return openvino.Core().compile_model(model, "CPU", SETTINGS)
