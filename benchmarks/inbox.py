"""A flood of files: does memory stay flat? `python -m benchmarks.inbox [--n 100000] [--folder DIR]`.

Draws small pictures, a face in every fiftieth and noise in the others, lets `facepipe surveil` work through
them, and prints, every twenty batches, time, CPU time and resident memory of the driver and of its workers.
With --folder pictures and archive are kept, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import psutil

from facepipe.geometry.head import load_head
from facepipe.lab.faces.factory import render, sample
from facepipe.lab.faces.seeds import face_seed

SIDE_PX = 96
FACE_EVERY = 50
FILES_PER_FOLDER = 1000
BATCHES_PER_ROW = 20


def draw(inbox: Path, count: int) -> None:
    """Write the pictures that are not there yet, each from its own seed."""
    head = load_head()
    for index in range(count):
        path = inbox / f"{index // FILES_PER_FOLDER:03d}" / f"{index:06d}.jpg"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if index % FACE_EVERY == 0:
            picture = render(sample(face_seed("test", index), head), SIDE_PX, head)[..., ::-1]
        else:
            coarse = np.random.default_rng(index).integers(0, 256, (8, 8, 3), np.uint8)
            picture = cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path), picture)


def follow(process: subprocess.Popen[str]) -> None:
    """Print a row for every twentieth batch whose faces were looked for."""
    assert process.stderr is not None
    driver = psutil.Process(process.pid)
    began = time.perf_counter()
    print("| batch | seconds | CPU seconds | driver, MB | workers, MB |\n|---|---|---|---|---|")
    for line in process.stderr:
        words = line.split()
        if words[:1] != ["detect"]:
            continue
        batch = int(words[1].rstrip(":"))
        if batch == 1 or batch % BATCHES_PER_ROW == 0:
            workers = driver.children(recursive=True)
            times = [each.cpu_times() for each in [driver, *workers]]
            memory_mb = [each.memory_info().rss / 1e6 for each in [driver, *workers]]
            cpu = sum(each.user + each.system for each in times)
            seconds = time.perf_counter() - began
            print(
                f"| {batch} | {seconds:.0f} | {cpu:.0f} | {memory_mb[0]:.0f} | {sum(memory_mb[1:]):.0f} |",
                flush=True,
            )


def main() -> None:
    """Draw, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inbox", description=__doc__)
    parser.add_argument("--n", type=int, default=100000, help="pictures")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--folder", type=Path, help="where to keep pictures and archive")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(TemporaryDirectory()))
        draw(folder / "inbox", options.n)
        command = [sys.executable, "-m", "facepipe", "surveil", str(folder / "inbox")]
        command += [
            "--out",
            str(folder / "archive"),
            "--workers",
            str(options.workers),
            "--settle-seconds",
            "0",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            follow(process)
            assert process.stdout is not None
            print(process.stdout.read())
        sys.exit(process.returncode)


if __name__ == "__main__":
    main()
