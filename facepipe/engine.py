"""Units on Dask: a sliding window, retries, and quarantine of what kills workers.

The window is as wide as the slots, so that a unit that kills its worker takes no queued neighbour with
it. A unit whose worker died is done again alone after the others; if that kills a worker, too, its
samples are tried one by one, and only a sample that kills three workers while alone is quarantined.
Trouble of the environment never quarantines: it stops the run, which can be resumed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Generic

from distributed import Client, Future, KilledWorker, as_completed
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError

from facepipe.errors import EnvironmentTroubleError
from facepipe.jobs import Job, Reasons, U, UnitReport

logger = logging.getLogger("facepipe")

DEATHS_TO_QUARANTINE = 3
WORKER_DIED = "worker-died"

OnProgress = Callable[[Any, UnitReport], None]
"""Told of every unit that is done."""


@dataclass
class StageResult:
    """What a stage came to."""

    units: int = 0
    samples: int = 0
    quarantined: int = 0
    seconds: float = 0.0
    deaths: list[str] = field(default_factory=list)

    def add(self, report: UnitReport) -> None:
        """Count a finished unit in."""
        self.units += 1
        self.samples += report.samples
        self.quarantined += report.quarantined
        self.seconds += report.seconds


@dataclass(frozen=True)
class Engine(Generic[U]):
    """Runs the units of a job on a cluster.

    Attributes:
        client: of a running cluster.
        job: what the units are of.
    """

    client: Client
    job: Job[U]

    def run(self, units: Sequence[U], on_progress: OnProgress | None = None) -> StageResult:
        """Do all units of one stage.

        Raises:
            EnvironmentTroubleError: disk, memory or cluster failed; what is done stays done.
        """
        result = StageResult()
        done = on_progress or (lambda *_: None)

        def finish(unit: U, report: UnitReport) -> None:
            result.add(report)
            done(unit, report)

        try:
            died = self._sweep(units, finish)
            for unit in died:
                result.deaths.append(str(unit))
                finish(unit, self._alone(unit))
        except (CommClosedError, FutureCancelledError, CancelledError, TimeoutError) as error:
            raise EnvironmentTroubleError(
                f"lost the cluster ({type(error).__name__}: {error}); start it again and repeat the command"
            ) from error
        return result

    def _sweep(self, units: Sequence[U], finish: OnProgress) -> list[U]:
        """Run units through the window; return those whose worker died."""
        if not units:
            return []
        waiting = iter(units)
        running: dict[Future, U] = {}
        died: list[U] = []
        window = as_completed(loop=self.client.loop)

        def refill() -> None:
            slots = max(1, self._slots(units[0]))
            while len(running) < slots:
                unit = next(waiting, None)
                if unit is None:
                    return
                future = self._submit(unit)
                running[future] = unit
                window.add(future)

        refill()
        try:
            for future in window:
                unit = running.pop(future)
                try:
                    finish(unit, future.result())
                except KilledWorker:
                    logger.warning("a worker died on %s; it will be done again alone", unit)
                    died.append(unit)
                refill()
        finally:
            for future in running:
                future.cancel()
        return died

    def _alone(self, unit: U) -> UnitReport:
        skip: dict[int, tuple[str, str]] = {}
        for attempt in range(DEATHS_TO_QUARANTINE):
            try:
                return self._submit(unit, skip).result()
            except KilledWorker:
                logger.warning("a worker died on %s although it ran alone (%d)", unit, attempt + 1)
                skip.update(self._find_killers(unit, skip))
        raise EnvironmentTroubleError(
            f"{unit}: it killed {DEATHS_TO_QUARANTINE} workers, though each of its samples passes alone; "
            "the workers probably need more memory: use fewer of them or a smaller --shard-size"
        )

    def _find_killers(self, unit: U, known: Reasons) -> dict[int, tuple[str, str]]:
        start, stop = self.job.span(unit)
        killers: dict[int, tuple[str, str]] = {}
        for index in range(start, stop):
            deaths = 0
            while index not in known and deaths < DEATHS_TO_QUARANTINE:
                try:
                    self._submit_probe(unit, index, known).result()
                    break
                except KilledWorker:
                    deaths += 1
            if deaths == DEATHS_TO_QUARANTINE:
                killers[index] = (WORKER_DIED, f"{unit.stage}: {deaths} workers died on this sample alone")
                logger.warning("sample %d killed %d workers on %s: quarantined", index, deaths, unit)
        return killers

    def _submit(self, unit: U, skip: Reasons | None = None) -> Future:
        kind, resources = self._place(unit)
        return self.client.submit(
            _run, self.job, unit, skip or {}, kind, resources=resources, pure=False, retries=0
        )

    def _submit_probe(self, unit: U, index: int, skip: Reasons) -> Future:
        kind, resources = self._place(unit)
        return self.client.submit(
            _probe, self.job, unit, index, dict(skip), kind, resources=resources, pure=False, retries=0
        )

    def _place(self, unit: U) -> tuple[str, dict[str, float] | None]:
        if unit.stage in self.job.gpu_stages and self._gpu_workers():
            return "cuda", {"GPU": 1}
        return "cpu", None

    def placement(self) -> str:
        """What networks run on here: 'GPU workers' or 'CPU workers'."""
        return "GPU workers" if self._gpu_workers() else "CPU workers"

    def _gpu_workers(self) -> int:
        return sum(bool(worker["resources"].get("GPU")) for worker in self._workers())

    def _slots(self, unit: U) -> int:
        """Units of this kind that can run at the same time."""
        if unit.stage in self.job.gpu_stages and self._gpu_workers():
            return int(sum(worker["resources"].get("GPU", 0) for worker in self._workers()))
        return sum(worker["nthreads"] for worker in self._workers())

    def _workers(self) -> list[dict]:
        return list(self.client.scheduler_info(n_workers=-1)["workers"].values())


def _run(job: Job[U], unit: U, skip: Reasons, device: str) -> UnitReport:
    return job.run(unit, skip, device)


def _probe(job: Job[U], unit: U, index: int, skip: Reasons, device: str) -> None:
    job.probe(unit, index, skip, device)
