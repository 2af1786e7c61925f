"""Networks that regress volumes, on one thread of the CPU, against eager float32 in an untuned process.

Memory settings of the C library take effect as a process starts, so each way runs in processes of its own:
`python -m benchmarks.regressing ARCH usual|torch|torch-bf16|openvino RUNS` prints one as JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.inputs import references
from benchmarks.measure import Row, require
from facepipe.models.vrn.backends import BACKENDS

RUNS = {"compact": 15, "hourglass-128": 3}
TARGETS = {"openvino": 7.0, "torch-bf16": 4.0}
MAX_OFF = 12
"""Grey levels by which bfloat16 may differ: eight bits over some hundred layers with random weights."""

DASK_DEFAULT = {"MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def child(arch: str, way: str, runs: int) -> dict:
    """CPU seconds of each run on one image, and the volume of the last."""
    import torch

    from facepipe.models.vrn.architectures import trainable
    from facepipe.models.vrn.networks import build_network
    from facepipe.models.vrn.run_hourglass import HourglassRegressor, to_input, to_occupancy
    from facepipe.models.weights import WeightsInfo, save_weights

    torch.manual_seed(0)
    torch.set_num_threads(1)
    kind = trainable(arch)
    network = build_network(kind.architecture, kind.arguments).eval()
    image = references()[:1]
    if way == "usual":

        def work() -> np.ndarray:
            with torch.no_grad():
                logits = network(to_input(torch.from_numpy(image), kind.geometry.size))[-1]
                return to_occupancy(logits, kind.geometry.size).numpy()

    else:
        info = WeightsInfo(
            arch, "regressor", kind.architecture, kind.arguments, geometry=asdict(kind.geometry)
        )
        with TemporaryDirectory() as folder:
            tensors = {name: value.numpy() for name, value in network.state_dict().items()}
            file = save_weights(Path(folder, f"{arch}.safetensors"), tensors, info)
            if way == "openvino":
                from facepipe.models.vrn.openvino import OpenVinoRegressor

                regressor = OpenVinoRegressor(file, kind.geometry)
            else:
                regressor = HourglassRegressor(file, kind.geometry, bf16=way == "torch-bf16")
        work = lambda: regressor(image)  # noqa: E731
    work()
    seconds = []
    for _ in range(runs):
        started = time.process_time()
        volume = work()
        seconds.append(time.process_time() - started)
    return {"seconds": seconds, "volume": volume[0, ::8, ::4, ::4].ravel().tolist()}


def rows(rounds: int) -> list[Row]:
    """Both networks, every backend."""
    from facepipe.pipeline.cluster import WORKER_ENVIRONMENT

    found = []
    for arch, runs in RUNS.items():
        seconds: dict[str, list[float]] = {"usual": [], **{name: [] for name in BACKENDS}}
        volumes = {}
        for _ in range(rounds):
            for way in seconds:
                result = _run(arch, way, runs, DASK_DEFAULT if way == "usual" else WORKER_ENVIRONMENT)
                seconds[way] += result["seconds"]
                volumes[way] = np.array(result["volume"])
        for way in BACKENDS:
            off = int(np.abs(volumes[way] - volumes["usual"]).max())
            require(off <= (0 if way == "torch" else MAX_OFF), f"{arch} on {way} by {off} grey levels")
            found.append(
                Row(
                    f"{arch}, one image, backend {way}",
                    "eager float32, memory settings of Dask's workers",
                    1e3 * statistics.median(seconds["usual"]),
                    1e3 * statistics.median(seconds[way]),
                    TARGETS.get(way) if arch == "hourglass-128" else None,
                    f"within {off} grey levels of 255",
                )
            )
    return found


def _run(arch: str, way: str, runs: int, environment: dict[str, str]) -> dict:
    kept = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-m", "benchmarks.regressing", arch, way, str(runs)]
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(child(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
