"""Networks on a GPU: batches of one size, captured as a CUDA graph, while copies run beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facepipe.models.inference import GPU_BATCH, Forward, reproducible

WARM_UP_PASSES = 3
"""Before a graph is captured: libraries choose and load their kernels in them."""


class GpuBatches:
    """A forward pass on one GPU.

    Every batch has the same size, the last one filled up with zeros, so that a result depends on its input
    alone. A batch is copied to the GPU and the results of the one before from it while a third is computed.

    Args:
        forward: maps a tensor (B, ...) on the device to one whose first axis is the same.
        device: a CUDA device.
        shape: of one input.
        dtype: of the inputs.
        batch: B.
    """

    def __init__(
        self,
        forward: Forward,
        device: torch.device,
        shape: tuple[int, ...],
        dtype: torch.dtype = torch.uint8,
        batch: int = GPU_BATCH,
    ) -> None:
        self._batch = batch
        self._compute, self._upload, self._download = (torch.cuda.Stream(device) for _ in range(3))
        self._input = torch.zeros((batch, *shape), dtype=dtype, device=device)
        self._arrived = [torch.zeros_like(self._input) for _ in range(2)]
        with torch.inference_mode(), reproducible(), torch.cuda.stream(self._compute):
            for _ in range(WARM_UP_PASSES):
                forward(self._input)
            self._compute.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._compute):
                self._output = forward(self._input)
        # In C order, whatever order the network left them in: turned round on the GPU.
        self._leaving = [
            torch.empty(self._output.shape, dtype=self._output.dtype, device=device) for _ in range(2)
        ]

    def __call__(self, inputs: NDArray[Any]) -> NDArray[Any]:
        """Run over inputs (N, ...), N > 0.

        Returns:
            (N, ...), the outputs in C order. Their memory is page-locked.
        """
        count, size = len(inputs), self._batch
        batches = -(-count // size)
        waiting = torch.zeros((batches * size, *inputs.shape[1:]), dtype=self._input.dtype, pin_memory=True)
        waiting.numpy()[:count] = inputs
        results = torch.empty((count, *self._output.shape[1:]), dtype=self._output.dtype, pin_memory=True)
        computed: list[torch.cuda.Event] = []
        fetched: list[torch.cuda.Event] = []
        with torch.inference_mode():
            for number in range(batches):
                side, rows = number % 2, slice(number * size, min((number + 1) * size, count))
                with torch.cuda.stream(self._upload):
                    if number >= 2:
                        self._upload.wait_event(computed[number - 2])
                    self._arrived[side].copy_(waiting[number * size : (number + 1) * size], non_blocking=True)
                with torch.cuda.stream(self._compute):
                    self._compute.wait_stream(self._upload)
                    if number >= 2:
                        self._compute.wait_event(fetched[number - 2])
                    self._input.copy_(self._arrived[side])
                    self._graph.replay()
                    self._leaving[side].copy_(self._output)
                    computed.append(self._compute.record_event())
                with torch.cuda.stream(self._download):
                    self._download.wait_event(computed[number])
                    results[rows].copy_(self._leaving[side][: rows.stop - rows.start], non_blocking=True)
                    fetched.append(self._download.record_event())
            self._download.synchronize()
        found: NDArray[np.generic] = results.numpy()
        return found
