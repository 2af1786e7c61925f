"""Run networks in batches of a fixed, padded size, on one thread.

A result then depends on its image and the weights alone, never on neighbours, on the position in a
batch or on how many images there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facepipe.core.errors import UsageError, WeightsError

Forward = Callable[[torch.Tensor], torch.Tensor]

CPU_BATCH = 1
"""Images per forward pass on the CPU: more are not faster on one thread (hourglass: 1 takes 21 ms an
image, 4 take 24, 16 take 28)."""

GPU_BATCH = 16
"""Images per forward pass elsewhere."""


def load_module(module: torch.nn.Module, tensors: Mapping[str, NDArray[Any]], name: str) -> torch.nn.Module:
    """Put tensors into a module and switch it to evaluation.

    Raises:
        WeightsError: names or shapes differ from the module's.
    """
    try:
        module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in tensors.items()})
    except (RuntimeError, TypeError) as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise WeightsError(
            f"{name}: its tensors do not fit its architecture {type(module).__name__} ({first})"
        ) from error
    return module.eval().requires_grad_(False)


def open_device(name: str) -> torch.device:
    """Return a torch device.

    Raises:
        UsageError: there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} is not usable here: 'cpu' always is") from error
    return device


def reproducible() -> AbstractContextManager[None]:
    """Let cuDNN take the same kernels for the same shapes, and no TF32."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def run_batched(
    forward: Forward, inputs: NDArray[Any], device: torch.device, batch: int | None = None
) -> NDArray[Any]:
    """Run a network over arrays.

    Args:
        forward: maps a tensor (B, ...) on the device to one whose first axis is the same.
        inputs: (N, ...), of a type that torch knows, N > 0. B of them go through at once, always; the
            last batch is filled up with zeros.
        device: where to run.
        batch: B; None for `CPU_BATCH` or `GPU_BATCH`.

    Returns:
        (N, ...), the outputs of the N inputs, each in C order whatever order the network left it in.
    """
    # Thread counts change how sums are split, so they are part of the result; torch keeps the count
    # per calling thread, hence once for every call.
    torch.set_num_threads(1)
    if batch is None:
        batch = CPU_BATCH if device.type == "cpu" else GPU_BATCH
    results: NDArray[Any] | None = None
    with torch.inference_mode(), reproducible():
        for start in range(0, len(inputs), batch):
            rows = inputs[start : start + batch]
            part = np.zeros((batch, *inputs.shape[1:]), inputs.dtype)
            part[: len(rows)] = rows
            outputs = forward(torch.from_numpy(part).to(device)).cpu().numpy()
            if results is None:
                results = np.empty((len(inputs), *outputs.shape[1:]), outputs.dtype)
            results[start : start + len(rows)] = outputs[: len(rows)]
    if results is None:
        raise ValueError("no inputs")
    return results
