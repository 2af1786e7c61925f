"""How fast the face factory is: `python benchmarks/faces.py [--n 120] [--workers 2]`.

Prints faces per second (picture of 128 px and volume of 200 x 128 x 128) of the CPU path on some processes,
and of the torch path where there is a GPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time

import cv2

from facepipe.core.conventions import VolumeGeometry
from facepipe.lab.faces.factory import example, sample
from facepipe.lab.faces.synthesize import one_thread_each

GEOMETRY = VolumeGeometry()
WARM_UP = 3
BATCH = 64


def make(seed: int) -> None:
    """Draw one face and fill its volume."""
    example(sample(seed), GEOMETRY)


def start_worker() -> None:
    """One thread per process, compiled code loaded."""
    cv2.setNumThreads(1)
    for seed in range(WARM_UP):
        make(seed)


def cpu_faces_per_second(count: int, workers: int) -> float:
    """Faces per second of `workers` processes, without their start."""
    with one_thread_each(), multiprocessing.get_context("spawn").Pool(workers, start_worker) as pool:
        pool.map(make, range(workers * 4), chunksize=1)
        started = time.perf_counter()
        pool.map(make, range(100, 100 + count), chunksize=4)
        return count / (time.perf_counter() - started)


def torch_faces_per_second(batches: int) -> float:
    """Faces per second of the batched path on a GPU, from drawn parameters to tensors."""
    import torch

    from facepipe.lab.faces.factory_torch import TorchFactory

    factory = TorchFactory("cuda")
    faces = [sample(seed) for seed in range(BATCH)]
    for _ in range(2):
        factory(faces, GEOMETRY)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(batches):
        factory(faces, GEOMETRY)
    torch.cuda.synchronize()
    return batches * BATCH / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=120, help="faces to draw on the CPU")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    rate = cpu_faces_per_second(options.n, options.workers)
    print(f"cpu: {rate:.1f} faces/s on {options.workers} processes (aim: 40 on two quiet cores)")
    import torch

    if torch.cuda.is_available():
        rate = torch_faces_per_second(20)
        print(f"torch: {rate:.0f} faces/s in batches of {BATCH} on {torch.cuda.get_device_name()}")
    else:
        print("torch: no GPU here")


if __name__ == "__main__":
    main()
