"""A long run in batches of shards: does it stay flat? `python -m benchmarks.scale [--n 20000] [--minutes 8]`.

Draws small noise pictures, runs them through all stages as `facepipe bench --keep scores` does, with a
small network and no regressor, batch after batch, and prints time per unit and memory of the driver and of
all its workers over the run.
Stops after the minutes given, at the end of a batch, and says how far it came.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import psutil

from facepipe.bench import driver
from facepipe.bench.config import make_config
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES
from facepipe.pipeline.cluster import open_cluster

SIDE_PX = 160
BATCHES = 20


def draw(folder: Path, count: int) -> None:
    """Write smooth noise as JPEG, each picture from its own seed, a thousand to a folder."""
    for index in range(count):
        coarse = np.random.default_rng(index).integers(0, 256, (10, 10, 3), np.uint8)
        picture = cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        path = folder / f"{index // 1000:03d}" / f"{index:06d}.jpg"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), picture)


def memory_mb() -> tuple[float, float]:
    """Resident memory of this process and of all its children."""
    me = psutil.Process()
    children = [child.memory_info().rss for child in me.children(recursive=True)]
    return me.memory_info().rss / 1e6, sum(children) / 1e6


def cpu_seconds() -> float:
    """CPU time of this process and of all its children so far."""
    me = psutil.Process()
    times = [process.cpu_times() for process in [me, *me.children(recursive=True)]]
    return sum(time.user + time.system for time in times)


def waves_done(store: RunStore, address: str) -> Iterator[str]:
    """Do the batches of shards one by one and say what each took."""
    for number, shards in enumerate(driver.shard_batches(store), 1):
        started, busy, units, pure = time.perf_counter(), cpu_seconds(), 0, 0.0
        for stage in STAGES[1:]:
            result = driver.run_stage(store, stage, shards, address)
            units, pure = units + result.units, pure + result.seconds
        wall, busy = time.perf_counter() - started, cpu_seconds() - busy
        driver_mb, workers_mb = memory_mb()
        yield (
            f"| {number} | {units} | {1e3 * wall / units:.0f} | {1e3 * pure / units:.0f} "
            f"| {1e3 * busy / units:.0f} | {driver_mb:.0f} | {workers_mb:.0f} |"
        )


def main() -> None:
    """Draw, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--n", type=int, default=20000, help="pictures")
    parser.add_argument("--minutes", type=float, default=8.0, help="stop after so long")
    parser.add_argument("--shard-size", type=int, default=64, help="pictures in a unit")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        pictures = Path(folder, "pictures")
        pictures.mkdir()
        draw(pictures, options.n)
        began = time.perf_counter()
        config = {
            "dataset": str(pictures), "out": Path(folder, "run"), "kind": "photos", "low_px": "32",
            "methods": "bilinear,bicubic,espcn-x4", "regressors": "none", "keep": "scores",
            "shard_size": options.shard_size,
        }  # fmt: skip
        spec = driver.describe(make_config(config))
        config["disk_gb"] = spec.bytes_per_sample() * options.n / BATCHES / 1e9
        store = driver.prepare(make_config(config))
        with open_cluster("local", options.workers) as address:
            ingested = driver.run_ingest(store, address)
            print(
                f"{options.n} pictures listed and ingested in {time.perf_counter() - began:.0f} s, ", end=""
            )
            print(f"{ingested.units} units")
            print("| batch | units | wall, ms a unit | work, ms | CPU, ms | driver, MB | workers, MB |")
            print("|---|---|---|---|---|---|---|")
            for line in waves_done(store, address):
                print(line, flush=True)
                if time.perf_counter() - began > 60 * options.minutes:
                    print("stopped: the time is over")
                    return
        counts = driver.finish(store)
        print(
            f"{counts['scores']} scores of {counts['samples']} samples in {time.perf_counter() - began:.0f} s"
        )


if __name__ == "__main__":
    main()
