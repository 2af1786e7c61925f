"""A seeded monkey that disturbs a command and its worker processes, and damages what it left on disk."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import psutil
from tended import TendedCluster

WORKER_SIGNALS = {
    "kill a worker": signal.SIGKILL,
    "end a worker": signal.SIGTERM,
    "stop a worker": signal.SIGSTOP,
}
DRIVER_SIGNALS = {"kill the driver": signal.SIGKILL, "end the driver": signal.SIGTERM}
FULL_DISK = "fill the disk"
BAD_DISK = {
    "make the store read-only": errno.EROFS,
    "lock the store": errno.EACCES,
    "leave no room in the store": errno.ENOSPC,
}
DISTURBANCES = (*WORKER_SIGNALS, *DRIVER_SIGNALS, FULL_DISK)
"""What can be done to every run; `BAD_DISK` to those of `chaotic.py` with local workers."""

SCHEDULER, NANNY = "kill the scheduler", "kill a worker and its keeper"
"""What can be done to runs on a cluster of one's own."""

DAMAGE = ("damage a result", "damage a shard")
ARCHIVE_DAMAGE = ("damage a result", "damage a volume", "damage the plan")


@dataclass
class Tally:
    """What a run went through.

    Attributes:
        runs: times that the command was started.
        done: how often each disturbance came to pass.
        statuses: exit statuses of the command, in order; negative for a signal.
        written: how often each part file was seen to appear.
        seconds: that the whole took.
    """

    runs: int = 0
    done: Counter[str] = field(default_factory=Counter)
    statuses: list[int] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def again(self) -> int:
        """Parts that were written more than once."""
        return sum(count - 1 for count in self.written.values())


@dataclass
class Monkey:
    """Runs a command over and over until it succeeds, disturbing it as long as there is a plan.

    Attributes:
        command: what is to succeed in the end.
        run: the folder of the run or archive that it writes.
        rng: decides on everything.
        patience_s: longest time for the whole.
        switch: the file that makes the disk bad (`baddisk`).
        cluster: a cluster of one's own that the command runs on; without, it starts its workers itself.
    """

    command: Sequence[str]
    run: Path
    rng: random.Random
    patience_s: float = 600.0
    switch: Path | None = None
    cluster: TendedCluster | None = None
    tally: Tally = field(default_factory=Tally)
    _seen: set[tuple[str, int]] = field(default_factory=set)
    _mended_at: float = 0.0
    _before: int = 0

    def torment(self, plan: Sequence[str]) -> Tally:
        """Take the command through a plan of disturbances, or as much of it as there is time for, to its end.

        Args:
            plan: names of disturbances and damage, in order. Damage is done while nothing runs, so it stands
                behind what ends the command.
        """
        waiting = list(plan)
        began = time.monotonic()
        while True:
            while waiting and waiting[0] in _FILES:
                self._damage(waiting.pop(0))
            self.tally.statuses.append(self._once(waiting, began + self.patience_s))
            self.tally.seconds = time.monotonic() - began
            if self.tally.statuses[-1] == 0:
                return self.tally

    def _once(self, waiting: list[str], deadline: float) -> int:
        self.tally.runs += 1
        self._before = len(self._seen)
        for process in self._workers(None):  # those of an own cluster outlive a run, and a full disk
            with suppress(psutil.NoSuchProcess):
                process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log = (self.run.parent / f"{self.run.name}-{self.tally.runs}.log").open("w")
        with log, subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True) as driver:
            strike = self._next_strike()
            try:
                while driver.poll() is None:
                    assert time.monotonic() < deadline, f"no end after {self.tally}"
                    self._tend()
                    if waiting and waiting[0] not in _FILES and time.monotonic() > strike:
                        damage = takewhile(_FILES.__contains__, waiting[1:])
                        if self._disturb(driver, waiting[0], list(damage)):
                            self.tally.done[waiting.pop(0)] += 1
                        strike = self._next_strike()
                    time.sleep(0.01)
            finally:
                _end_group(driver.pid)
        self._tend()
        return driver.returncode

    def _next_strike(self) -> float:
        return time.monotonic() + self.rng.uniform(0.1, 0.8)

    def _disturb(self, driver: subprocess.Popen, what: str, waiting: Sequence[str]) -> bool:
        """Whether it could be done: not before a result is there, and what is to be damaged next is, too."""
        workers = self._workers(driver.pid)
        if self.cluster and len(self._seen) == self._before:  # its workers are there, the driver perhaps not
            return False
        if not workers or not all(_FILES[name](self.run) for name in ["damage a result", *waiting]):
            return False
        with suppress(ProcessLookupError, psutil.NoSuchProcess):  # it died by itself just now
            self._strike(driver, workers, what)
            return True
        return False

    def _strike(self, driver: subprocess.Popen, workers: Sequence[psutil.Process], what: str) -> None:
        if what in WORKER_SIGNALS:
            self.rng.choice(workers).send_signal(WORKER_SIGNALS[what])
        elif what in DRIVER_SIGNALS:
            driver.send_signal(DRIVER_SIGNALS[what])
        elif what in BAD_DISK:
            self._mended_at = time.monotonic() + self.rng.uniform(0.5, 6)
            self.switch.write_text(str(BAD_DISK[what]))
        elif what == SCHEDULER:
            self.cluster.kill_scheduler()
        elif what == NANNY:
            os.kill(self.rng.choice(self.cluster.pids_of_workers()), signal.SIGKILL)
        else:
            for process in workers:
                process.rlimit(psutil.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    def _damage(self, what: str) -> None:
        files = _FILES[what](self.run)
        if not files:  # the kill before it came when all was done
            return
        path = self.rng.choice(files)
        data = bytearray(path.read_bytes())
        place = self.rng.randrange(4, max(5, len(data) - 40))
        data[place : place + 30] = bytes(byte ^ 0x5A for byte in data[place : place + 30])
        path.write_bytes(data[: self.rng.choice([len(data), len(data) // 2])])
        self.tally.done[what] += 1

    def _tend(self) -> None:
        """Mend the disk and the cluster, and look which results were written."""
        if self.switch and time.monotonic() > self._mended_at:
            self.switch.unlink(missing_ok=True)
        if self.cluster:
            self.cluster.tend()
        for path in _results(self.run):
            try:
                key = (str(path.relative_to(self.run)), path.stat().st_ino)
            except FileNotFoundError:
                continue
            if key not in self._seen:
                self._seen.add(key)
                self.tally.written[key[0]] += 1

    def _workers(self, driver: int | None) -> list[psutil.Process]:
        keepers = self.cluster.pids_of_workers() if self.cluster else [driver] if driver else []
        return [worker for pid in keepers for worker in _workers_of(pid)]


def _results(run: Path) -> list[Path]:
    folders = (run / "unit_results", run / "batches")
    return [path for folder in folders for path in _walk(folder) if path.name.startswith("unit-")]


def _shards(run: Path) -> list[Path]:
    return [path for path in _walk(run / "store.zarr") if "c" in path.relative_to(run).parts]


def _volumes(run: Path) -> list[Path]:
    """Shards of batches in work, of whatever array: nobody looks at the others again."""
    in_work = [path.name for path in (run / "batches").glob("*")]
    return [
        path
        for name in in_work
        for folder in sorted((run / "pixels").glob(f"*/{name}/store.zarr"))
        for path in _walk(folder)
        if "c" in path.relative_to(folder).parts and not path.name.endswith(".partial")
    ]


def _plans(run: Path) -> list[Path]:
    """What says of a batch what it consists of, and its finished rows."""
    named = ("batch.json", "listed.parquet", "items.parquet")
    rows = (
        path
        for path in _walk(run / "batches")
        if path.parent.name in ("rows", "faces") and path.suffix == ".parquet"
    )
    return [*(path for path in _walk(run / "batches") if path.name in named), *rows]


_FILES = {
    "damage a result": _results,
    "damage a shard": _shards,
    "damage a volume": _volumes,
    "damage the plan": _plans,
}


def _walk(folder: Path) -> list[Path]:
    """The files below a folder that may be deleted meanwhile: `Path.glob` would fail."""
    return sorted(Path(where) / name for where, _, names in os.walk(folder) for name in names)


def _workers_of(pid: int) -> list[psutil.Process]:
    """The worker processes of a driver: not the helpers that Python starts beside them."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def _end_group(pid: int) -> None:
    """What a killed driver leaves behind goes, too, as on a machine that went down."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def report(which: str, tally: Tally, traces: Path) -> None:
    loads = sum(len(trace.read_text().split()) for trace in traces.iterdir())
    done = ", ".join(f"{what} {count}" for what, count in sorted(tally.done.items()))
    print(
        f"\n{which}: {tally.runs} runs, exits {tally.statuses}; {done}; {len(tally.written)} units, "
        f"{tally.again} parts written again, {loads} images loaded; {tally.seconds / 60:.1f} minutes"
    )
