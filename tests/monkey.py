"""A seeded monkey that disturbs a command and its worker processes, and damages what it left on disk."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import psutil

WORKER_SIGNALS = {
    "kill a worker": signal.SIGKILL,
    "end a worker": signal.SIGTERM,
    "stop a worker": signal.SIGSTOP,
}
DRIVER_SIGNALS = {"kill the driver": signal.SIGKILL, "end the driver": signal.SIGTERM}
FULL_DISK = "fill the disk"
DAMAGE = ("damage a part", "damage a shard")
DISTURBANCES = (*WORKER_SIGNALS, *DRIVER_SIGNALS, FULL_DISK)


@dataclass
class Tally:
    """What a run went through.

    Attributes:
        runs: times that the command was started.
        done: how often each disturbance came to pass.
        statuses: exit statuses of the command, in order; negative for a signal.
        written: how often each part file was seen to appear.
    """

    runs: int = 0
    done: Counter[str] = field(default_factory=Counter)
    statuses: list[int] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)

    @property
    def again(self) -> int:
        """Parts that were written more than once."""
        return sum(count - 1 for count in self.written.values())


@dataclass
class Monkey:
    """Runs a command over and over until it succeeds, disturbing it as long as there is a plan.

    Attributes:
        command: what is to succeed in the end.
        run: the run folder that it writes.
        rng: decides on everything.
        patience_s: longest time for the whole.
    """

    command: Sequence[str]
    run: Path
    rng: random.Random
    patience_s: float = 300.0
    tally: Tally = field(default_factory=Tally)
    _seen: set[tuple[str, int]] = field(default_factory=set)

    def torment(self, plan: Sequence[str]) -> Tally:
        """Take the command through a plan of disturbances, or as much of it as there is time for, to its end.

        Args:
            plan: names from `DISTURBANCES` and `DAMAGE`, in order. Damage is done while nothing runs, so
                it stands behind what ends the command.
        """
        waiting = list(plan)
        deadline = time.monotonic() + self.patience_s
        while True:
            while waiting and waiting[0] in DAMAGE:
                self._damage(waiting.pop(0))
            self.tally.statuses.append(self._once(waiting, deadline))
            if self.tally.statuses[-1] == 0:
                return self.tally

    def _once(self, waiting: list[str], deadline: float) -> int:
        self.tally.runs += 1
        log = (self.run.parent / f"{self.run.name}-{self.tally.runs}.log").open("w")
        with log, subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True) as driver:
            strike = self._next_strike()
            try:
                while driver.poll() is None:
                    assert time.monotonic() < deadline, f"no end after {self.tally}"
                    self._look()
                    if waiting and waiting[0] not in DAMAGE and time.monotonic() > strike:
                        damage = takewhile(DAMAGE.__contains__, waiting[1:])
                        if self._disturb(driver, waiting[0], list(damage)):
                            self.tally.done[waiting.pop(0)] += 1
                        strike = self._next_strike()
                    time.sleep(0.01)
            finally:
                _end_group(driver.pid)
        self._look()
        return driver.returncode

    def _next_strike(self) -> float:
        return time.monotonic() + self.rng.uniform(0.1, 0.8)

    def _disturb(self, driver: subprocess.Popen, what: str, waiting: Sequence[str]) -> bool:
        """Whether it could be done: not before a part is written, and what is to be damaged next is there."""
        workers = _workers_of(driver.pid)
        if not workers or not all(map(self._files, ["damage a part", *waiting])):
            return False
        if what in WORKER_SIGNALS:
            self.rng.choice(workers).send_signal(WORKER_SIGNALS[what])
        elif what in DRIVER_SIGNALS:
            driver.send_signal(DRIVER_SIGNALS[what])
        else:
            for process in workers:
                process.rlimit(psutil.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        return True

    def _damage(self, what: str) -> None:
        files = self._files(what)
        if not files:  # the kill before it came when all was done
            return
        path = self.rng.choice(files)
        data = bytearray(path.read_bytes())
        place = self.rng.randrange(4, max(5, len(data) - 40))
        data[place : place + 30] = bytes(byte ^ 0x5A for byte in data[place : place + 30])
        path.write_bytes(data[: self.rng.choice([len(data), len(data) // 2])])
        self.tally.done[what] += 1

    def _files(self, what: str) -> list[Path]:
        if what == "damage a part":
            return [path for path in _walk(self.run / "parts") if path.name.startswith("part-")]
        return [path for path in _walk(self.run / "store.zarr") if "c" in path.relative_to(self.run).parts]

    def _look(self) -> None:
        for path in _walk(self.run / "parts"):
            try:
                key = (str(path.relative_to(self.run)), path.stat().st_ino)
            except FileNotFoundError:
                continue
            if path.name.startswith("part-") and key not in self._seen:
                self._seen.add(key)
                self.tally.written[key[0]] += 1


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
    with _gone():
        os.killpg(pid, signal.SIGKILL)


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except ProcessLookupError:
        return
