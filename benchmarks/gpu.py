"""Networks and drawn faces on a GPU, against what the card can do: `python -m benchmarks.gpu [--device cpu]`.

The card's peak is measured, not read from a sheet: products of square matrices in each number format. A
network's GFLOP are those of its convolutions (`benchmarks.roofline`); images go in and volumes come out as
in a run, copies included. On the CPU it is a rehearsal at small size.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.roofline import gflop
from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.lab.faces.factory import sample
from facepipe.lab.faces.factory_torch import TorchFactory
from facepipe.models.vrn.architectures import trainable
from facepipe.models.vrn.networks import build_network
from facepipe.models.vrn.run_hourglass import HourglassRegressor, to_input
from facepipe.models.weights import WeightsInfo, save_weights

NETWORKS = ("compact", "hourglass-128", "vrn-192")
MOST_FACES = 64
"""Faces in a batch: what they are drawn from takes the memory."""

AIMS = {"compact": "", "hourglass-128": "2,000 images/s, 50 % of peak", "vrn-192": "50 % of peak"}


def per_second(work: Callable[[], int], device: torch.device, seconds: float) -> float:
    """How many of what `work` counts are done in a second, after one call that is not counted."""
    work()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        done += work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return done / (time.perf_counter() - started)


def peak_tflops(device: torch.device, dtype: torch.dtype, side: int, seconds: float) -> float:
    """What products of square matrices reach."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def work() -> int:
        for _ in range(4):
            torch.mm(a, b)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return 4

    return per_second(work, device, seconds) * 2 * side**3 / 1e12


def network(arch: str, device: torch.device, bf16: bool, images: int, seconds: float) -> tuple[float, float]:
    """Images a second of a network with random weights, and its GFLOP an image."""
    torch.manual_seed(0)
    kind = trainable(arch)
    made = build_network(kind.architecture, kind.arguments).eval()
    with torch.inference_mode():
        work = gflop(made, to_input(torch.zeros(1, NETWORK_PX, NETWORK_PX, 3).byte(), kind.geometry.size))
    info = WeightsInfo(arch, "regressor", kind.architecture, kind.arguments, geometry=asdict(kind.geometry))
    inputs = np.random.default_rng(0).integers(0, 256, (images, NETWORK_PX, NETWORK_PX, 3), np.uint8)
    with TemporaryDirectory() as folder:
        tensors = {name: value.numpy() for name, value in made.state_dict().items()}
        file = save_weights(Path(folder, f"{arch}.safetensors"), tensors, info)
        regressor = HourglassRegressor(file, kind.geometry, str(device), bf16)
    return per_second(lambda: len(regressor(inputs)), device, seconds), work


def faces(device: torch.device, batch: int, seconds: float) -> tuple[float, float]:
    """Faces drawn a second with volumes; people, poses and looks chosen a second by one core."""
    factory = TorchFactory(device)
    started = time.perf_counter()
    people = [sample(seed) for seed in range(batch)]
    chosen = batch / (time.perf_counter() - started)
    return per_second(lambda: len(factory(people, VolumeGeometry()).images), device, seconds), chosen


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure")
    parser.add_argument("--images", type=int, default=256, help="images in a call, faces in a batch")
    parser.add_argument("--only", nargs="*", default=NETWORKS, help="networks")
    options = parser.parse_args()
    device = torch.device(options.device)
    on_gpu = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if on_gpu else "CPU, rehearsal"
    formats = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        side = 8192 if on_gpu else 512
        peaks = {key: peak_tflops(device, kind, side, options.seconds) for key, kind in formats.items()}
    print(
        f"{name}, torch {torch.__version__}: " + ", ".join(f"{k} {v:.3g} TFLOP/s" for k, v in peaks.items())
    )
    print("| network | format | images/s | TFLOP/s | of the card's peak | aim |\n|---|---|---|---|---|---|")
    for arch in options.only:
        for key in formats:
            rate, work = network(arch, device, key == "bfloat16", options.images, options.seconds)
            share = rate * work / 1e3 / peaks[key]
            print(f"| {arch} | {key} | {rate:.0f} | {rate * work / 1e3:.3g} | {share:.0%} | {AIMS[arch]} |")
    drawn, chosen = faces(device, min(options.images, MOST_FACES), options.seconds)
    print(f"faces with volumes: {drawn:.0f}/s (aim 10,000); one core chooses {chosen:.0f} people/s")


if __name__ == "__main__":
    main()
