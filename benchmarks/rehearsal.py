"""A whole 300W-LP in rehearsal: `python -m benchmarks.rehearsal [--n 122450] [--kill 10,50,90]`.

Generated samples in 300W-LP's layout (a few hundred different ones, hard links for the rest), two methods, a
regressor that costs nothing, `--keep scores`. The command is killed with all its workers in the middle of
scoring, as far into the run as `--kill` says in percent, and started again. Prints memory of driver and
workers and CPU time batch by batch, what each resume took, and how memory grows.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import psutil
from scipy.io import savemat

from facepipe.bench import driver
from facepipe.bench.config import make_config

SETS = ("AFW", "AFW_Flip", "HELEN", "HELEN_Flip", "IBUG", "IBUG_Flip", "LFPW", "LFPW_Flip")
SIDE_PX = 450
DIFFERENT = 200
BATCHES = 20
_LINE = re.compile(r"(\w+)(?: (\d+)/\d+)?: (\d+) of (\d+)")


def make_data(folder: Path, count: int) -> None:
    """Write samples of 300W-LP's layout: smooth pictures, parameters of a face that looks to a side."""
    rng = np.random.default_rng(0)
    made = folder.parent / "made"
    made.mkdir()
    for number in range(DIFFERENT):
        coarse = rng.integers(0, 256, (12, 12, 3), np.uint8)
        picture = cv2.resize(coarse, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(made / f"{number}.jpg"), picture)
        pose = np.array([[0, rng.uniform(-1.5, 1.5), 0, 225, 225, 0, 1e-3]], np.float32)
        points = rng.uniform(120, 330, (2, 68)).astype(np.float32)
        parameters = {"Shape_Para": np.zeros((199, 1)), "Exp_Para": np.zeros((29, 1))}
        savemat(made / f"{number}.mat", {"Pose_Para": pose, "pt2d": points, **parameters})
    for name in SETS:
        (folder / name).mkdir(parents=True)
    for number in range(count):
        stem = folder / SETS[number % len(SETS)] / f"face_{number // len(SETS):06d}_0"
        for suffix in (".jpg", ".mat"):
            os.link(made / f"{number % DIFFERENT}{suffix}", stem.with_suffix(suffix))


@dataclass
class Watched:
    """A run's command as it goes: what it printed last, and what it and its workers take."""

    process: subprocess.Popen[str]
    began: float = field(default_factory=time.perf_counter)

    def usage(self) -> tuple[float, float, float]:
        """Resident MB of the driver and of its workers, and CPU seconds of all so far."""
        me = psutil.Process(self.process.pid)
        children = me.children(recursive=True)
        cpu = sum(sum(p.cpu_times()[:2]) for p in (me, *children))
        return me.memory_info().rss / 1e6, sum(p.memory_info().rss for p in children) / 1e6, cpu

    def kill(self) -> None:
        """End the command and its workers at once, as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start(command: list[str]) -> Watched:
    """Start the command in a process group of its own."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    return Watched(process)


def go_on(run: Watched, batch_to_kill: int | None, rows: list[tuple[int, float, float, float]]) -> bool:
    """Follow a run; kill it as it scores a batch of shards. Whether it came to its end."""
    back = False
    for line in run.process.stderr or ():
        found = _LINE.match(line)
        if not found:
            continue
        stage, batch = found[1], int(found[2] or 1)
        if stage != "verify" and found[2] and not back:
            back = True
            cpu = run.usage()[2]
            print(
                f"  {stage} {batch}: {time.perf_counter() - run.began:.0f} s, {cpu:.0f} CPU s after the start"
            )
        if stage == "score" and line.rstrip().endswith(" s"):
            driver_mb, workers_mb, cpu = run.usage()
            rows.append((batch, driver_mb, workers_mb, cpu))
            print(f"| {batch} | {driver_mb:.0f} | {workers_mb:.0f} | {cpu:.0f} |", flush=True)
        if batch_to_kill is not None and stage == "regress" and batch == batch_to_kill:
            run.kill()
            return False
    return run.process.wait() == 0


def main() -> None:
    """Make the data, run, kill, resume, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rehearsal", description=__doc__)
    parser.add_argument("--n", type=int, default=122450, help="samples")
    parser.add_argument("--kill", default="10,50,90", help="percent of the run, by commas; '' for never")
    parser.add_argument("--shard-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    kills = [max(1, BATCHES * int(share) // 100) for share in options.kill.split(",") if share]
    with TemporaryDirectory() as folder:
        data, out = Path(folder, "300W_LP"), Path(folder, "run")
        make_data(data, options.n)
        values = {
            "dataset": str(data), "out": str(out), "kind": "300w-lp", "low_px": "32",
            "methods": "bilinear,bicubic", "regressors": "benchmarks.stand_in:ball", "keep": "scores",
            "shard_size": str(options.shard_size), "workers": str(options.workers),
        }  # fmt: skip
        spec = driver.describe(make_config(values))
        values["disk_gb"] = str(spec.bytes_per_sample() * options.n / BATCHES / 1e9)
        asked = [text for key, value in values.items() for text in (f"--{key.replace('_', '-')}", value)]
        command = [sys.executable, "-m", "facepipe", "bench", *asked]
        print("| batch | driver, MB | workers, MB | CPU s since the start |\n|---|---|---|---|")
        rows: list[tuple[int, float, float, float]] = []
        for batch in (*kills, None):
            whole = go_on(start(command), batch, rows)
            print("  done" if whole else f"  killed in batch {batch}" if batch else "  failed")
        last = rows[len(rows) // 4 :]
        for name, column in (("driver", 1), ("workers", 2)):
            slope = np.polyfit([row[0] for row in last], [row[column] for row in last], 1)[0]
            print(f"{name}: {slope:+.2f} MB a batch of {options.n // BATCHES} samples")


if __name__ == "__main__":
    main()
