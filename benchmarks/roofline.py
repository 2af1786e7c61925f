"""What networks have to multiply, how fast one thread does it, and what bfloat16 would change.

`python -m benchmarks.roofline` prints a table. Not part of `make bench`: it explains figures there.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.inputs import references
from facepipe.core.conventions import NETWORK_PX
from facepipe.metrics.geometry import volume_iou
from facepipe.models.inference import load_module
from facepipe.models.superres.compact import Compact
from facepipe.models.superres.espcn import Espcn
from facepipe.models.superres.methods import open_network
from facepipe.models.vrn.architectures import trainable
from facepipe.models.vrn.networks import build_network
from facepipe.models.vrn.regressors import get_regressor
from facepipe.models.vrn.run_hourglass import to_input, to_occupancy
from facepipe.models.weights import load_tensors

RUNS = 9


def gflop(network: nn.Module, image: torch.Tensor) -> float:
    """Multiplications and additions of a network's convolutions on one image, in thousand millions."""
    total = 0

    def count(layer: nn.Conv2d, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * layer.weight.numel() * output.shape[2] * output.shape[3]

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    network(image)
    for hook in hooks:
        hook.remove()
    return total / 1e9


def cpu_ms(work: Callable[[], object]) -> float:
    """Median CPU time after two calls that are not counted."""
    work(), work()
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - started))
    return statistics.median(times)


def show(name: str, work: float, ms: float, note: str = "") -> None:
    """Print a line of the table."""
    print(f"| {name} | {work:.3g} | {ms:.3g} | {work / ms * 1e3:.0f} | {note} |", flush=True)


def espcn(scale: int) -> None:
    """ESPCN in float32."""
    network = Espcn(scale).eval()
    luma = torch.rand(1, 1, NETWORK_PX // scale, NETWORK_PX // scale)
    show(f"ESPCN x{scale}, float32", gflop(network, luma), cpu_ms(lambda: network(luma)))


def compact_resolver(name: str) -> None:
    """A super-resolver of the architecture `compact` in float32."""
    file = open_network(name).file
    network = Compact(**file.info.arguments)
    load_module(network, load_tensors(file.path), name)
    image = torch.rand(1, 3, NETWORK_PX // network.scale, NETWORK_PX // network.scale)
    show(f"{name}, float32", gflop(network, image), cpu_ms(lambda: network(image)))


def regressor(arch: str, weights: str | None) -> None:
    """A regressor with shipped or random weights in float32, and what bfloat16 changes in its volume."""
    torch.manual_seed(0)
    kind = trainable(arch)
    file = get_regressor(weights).file if weights else None
    network = build_network(kind.architecture, file.info.arguments if file else kind.arguments).eval()
    if file:
        load_module(network, load_tensors(file.path), file.info.name)
    side = kind.geometry.size
    image = to_input(torch.from_numpy(references()[:1]), side)
    work = gflop(network, image)
    volumes = []
    for dtype in (torch.float32, torch.bfloat16):
        network = network.to(dtype=dtype, memory_format=torch.channels_last)
        typed = image.to(dtype)
        ms = cpu_ms(lambda network=network, typed=typed: network(typed))
        volumes.append(to_occupancy(network(typed)[-1].float(), side)[0].contiguous().numpy())
        off = int(np.abs(volumes[-1].astype(int) - volumes[0]).max())
        iou = f", IoU {volume_iou(volumes[-1], volumes[0]):.4f}" if weights else ""
        note = "" if dtype == torch.float32 else f"volume within {off} grey levels of float32's{iou}"
        show(f"{arch}, {str(dtype).removeprefix('torch.')}", work, ms, note)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| network, one image, one thread | GFLOP | ms | GFLOP/s | |\n|---|---|---|---|---|")
    with torch.inference_mode():
        for scale in (2, 4):
            espcn(scale)
        for scale in (2, 4, 8):
            compact_resolver(f"compact-area-x{scale}")
        regressor("compact", "vrn-compact")
        regressor("hourglass-128", None)


if __name__ == "__main__":
    main()
