"""Data sets that misbehave on purpose. In a module of its own, so that worker processes can import it."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facepipe.core.errors import SampleError
from facepipe.datasets.dataset import Sample, SampleRef, Topology, TruthSource


@dataclass(frozen=True)
class FaultyDataset:
    """Twelve small images, some of which do what their list says.

    Attributes:
        root: a folder for the traces of loading: one file for each, with one line a load.
        fatal: these kill the worker with SIGKILL, always.
        once: these kill the worker the first time.
        rejected: these raise SampleError.
        changing: the bytes of these are others after the first load.
        surprising: these raise an exception that nobody planned.
        hanging: these never end.
        stopping: these stop their process with SIGSTOP the first time.
        hungry: these take more and more memory.
        disk_full: these raise ENOSPC while the file `root/full` exists.
        seconds: how long every load takes.
    """

    root: Path
    fatal: tuple[str, ...] = ()
    once: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    changing: tuple[str, ...] = ()
    surprising: tuple[str, ...] = ()
    hanging: tuple[str, ...] = ()
    stopping: tuple[str, ...] = ()
    hungry: tuple[str, ...] = ()
    disk_full: tuple[str, ...] = ()
    seconds: float = 0.0
    n: int = 12
    name: str = "faulty"
    kind: str = "photos"

    def refs(self) -> list[SampleRef]:
        return [SampleRef(f"s{i:02d}", "", f"s{i:02d}.png", 1) for i in range(self.n)]

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:
        trace = self.root / ref.sample_id
        loads = len(trace.read_text().split()) if trace.exists() else 0
        with trace.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        name = ref.sample_id
        if name in self.fatal or (name in self.once and not loads):
            os.kill(os.getpid(), signal.SIGKILL)
        if name in self.stopping and not loads:
            os.kill(os.getpid(), signal.SIGSTOP)
        while name in self.hanging:
            time.sleep(1)
        taken = []
        while name in self.hungry:
            taken.append(np.ones(5_000_000))
            time.sleep(0.05)
        if name in self.rejected:
            raise SampleError("bad-on-purpose", name)
        if name in self.surprising:
            raise KeyError(name)
        if name in self.disk_full and (self.root / "full").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        pixels = np.random.default_rng(int(name[1:])).integers(0, 256, (6, 6, 3), np.uint8)
        changed = name in self.changing and loads > 0
        return Sample(pixels.repeat(30, 0).repeat(30, 1), sha256=f"{name} changed" if changed else name)

    def topology(self) -> Topology | None:
        return None

    def truth_source(self) -> TruthSource:
        return TruthSource("none")

    def loads(self, sample_id: str) -> int:
        """How often a sample was loaded."""
        trace = self.root / sample_id
        return len(trace.read_text().split()) if trace.exists() else 0
