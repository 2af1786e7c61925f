"""Units on Dask: a sliding window, retries, and quarantine of what kills workers.

The window is as wide as the slots, so that a unit that kills its worker takes no queued neighbour with
it. A unit whose worker died is done again alone after the others; if that kills a worker, too, its
samples are tried one by one, and only a sample that kills three workers while alone is quarantined. A
unit that hangs is treated as one whose worker died: when its time is up, the worker is restarted. A listed
file that is gone where a unit ran is looked for on another worker before its sample is given up. Trouble
of the environment never quarantines: it stops the run, which can be resumed. A worker's lack of memory is
such, and a worker that is unfit for the run (see `worker_check`).
"""

from __future__ import annotations

import logging
import math
import resource
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Generic

from distributed import Client, Future, KilledWorker, as_completed
from distributed.client import FutureCancelledError
from distributed.comm.core import CommClosedError
from distributed.scheduler import NoValidWorkerError, NoWorkerError

from facepipe.core.errors import EnvironmentTroubleError
from facepipe.pipeline.job import Job, ListedFileGoneError, Reasons, U, UnitReport
from facepipe.pipeline.time_limits import TimeoutWatcher, default_limit_s
from facepipe.pipeline.worker_check import Guard, guarding, known_to_the_driver, unwrapped

logger = logging.getLogger("facepipe")

DEATHS_TO_QUARANTINE = 3
LOOKS_ELSEWHERE = 4
RECOUNT_S = 1.0
"""How long the number of slots is taken as known, unless a worker dies: asking costs a message each way."""

WORKER_DIED = "worker-died"
TIMED_OUT = "timed-out"
_MEMORY_EVENTS = "worker-restart-memory"

OnProgress = Callable[[Any, UnitReport], None]
"""Told of every unit that is done."""


class _WorkerLostError(Exception):
    """The worker that did a unit died, or hung for so long that it was ended."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class StageResult:
    """What a stage came to.

    Attributes:
        units, samples, quarantined: how many were done, in them, and given up.
        seconds: of the workers, together.
        peak_mb: the most memory that a process doing a unit had held since its start.
        deaths: the units whose worker died or was ended.
    """

    units: int = 0
    samples: int = 0
    quarantined: int = 0
    seconds: float = 0.0
    peak_mb: float = 0.0
    deaths: list[str] = field(default_factory=list)

    def add(self, report: UnitReport) -> None:
        """Count a finished unit in."""
        self.units += 1
        self.samples += report.samples
        self.quarantined += report.quarantined
        self.seconds += report.seconds
        self.peak_mb = max(self.peak_mb, report.peak_mb)


@dataclass(frozen=True)
class Engine(Generic[U]):
    """Runs the units of a job on a cluster.

    Attributes:
        client: of a running cluster.
        job: what the units are of.
        unit_timeout_s: how long a unit, or one of its samples on trial, may take; None leaves it to the
            number of samples.
        weigh: how many samples' time a unit takes, where it is not their number.
    """

    client: Client
    job: Job[U]
    unit_timeout_s: float | None = None
    weigh: Callable[[U], int] | None = None
    _watch: TimeoutWatcher = field(init=False, repr=False)
    _guard: Guard = field(init=False, repr=False)
    _on_gpu: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make the watch of this client's futures; decide where networks run.

        That is decided once: where the only GPU worker dies, its units wait for another one, since a CPU
        would give slightly different volumes.
        """
        object.__setattr__(self, "_watch", TimeoutWatcher(self.client))
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        object.__setattr__(self, "_on_gpu", any(self._gpus(worker) for worker in workers))

    def run(self, units: Iterable[U], on_progress: OnProgress | None = None) -> StageResult:
        """Do all units of one stage; they are taken from `units` as there is room for them.

        Raises:
            EnvironmentTroubleError: disk, memory or cluster failed; what is done stays done.
        """
        result = StageResult()
        done = on_progress or (lambda *_: None)

        def finish(unit: U, report: UnitReport) -> None:
            result.add(report)
            done(unit, report)

        try:
            self._watch.listen()
            with guarding(self.job.site) as guard:
                object.__setattr__(self, "_guard", guard)
                died, missed = self._sweep(units, finish)
                for unit, error in missed:
                    finish(unit, self._elsewhere(unit, error))
                for unit in died:
                    result.deaths.append(str(unit))
                    finish(unit, self._alone(unit))
        except (NoValidWorkerError, NoWorkerError) as error:
            raise EnvironmentTroubleError(
                f"no worker was there that could take a unit: {error}; start workers and repeat the command"
            ) from error
        except (CommClosedError, FutureCancelledError, CancelledError, TimeoutError) as error:
            raise EnvironmentTroubleError(
                f"lost the cluster ({type(error).__name__}: {error}); start it again and repeat the command"
            ) from error
        return result

    def _sweep(
        self, units: Iterable[U], finish: OnProgress
    ) -> tuple[list[U], list[tuple[U, ListedFileGoneError]]]:
        """Run units through the window; return those whose worker died, and those that missed files."""
        waiting = iter(units)
        first = next(waiting, None)
        if first is None:
            return [], []
        waiting = chain([first], waiting)
        running: dict[Future, U] = {}
        died: list[U] = []
        missed: list[tuple[U, ListedFileGoneError]] = []
        window = as_completed(loop=self.client.loop)
        slots, counted = 1, -math.inf

        def refill() -> None:
            nonlocal slots, counted
            if time.monotonic() - counted > RECOUNT_S:
                slots, counted = max(1, self._slots(first)), time.monotonic()
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
                if future.status == "finished":  # its slot need not wait until the report is fetched
                    refill()
                try:
                    finish(unit, self._outcome(future))
                except _WorkerLostError as lost:
                    logger.warning("%s: %s; it will be done again alone", unit, lost.reason)
                    died.append(unit)
                    counted = -math.inf
                except ListedFileGoneError as error:
                    logger.warning("%s: %s; looked for elsewhere", unit, error)
                    missed.append((unit, error))
                refill()
        finally:
            for future in running:
                self._watch.remove(future)
                future.cancel()
        return died, missed

    def _outcome(self, future: Future) -> Any:
        """Wait for a future.

        Raises:
            _WorkerLostError: its worker died, or hung and was restarted.
            ListedFileGoneError: files were not there where it ran.
            EnvironmentTroubleError: the worker is unfit for the run.
        """
        try:
            return unwrapped(future.result())
        except KilledWorker as error:
            raise _WorkerLostError(WORKER_DIED) from error
        except (FutureCancelledError, CancelledError) as error:
            if not self._watch.recover(future):
                raise
            raise _WorkerLostError(TIMED_OUT) from error
        finally:
            self._watch.remove(future)

    def _alone(self, unit: U, known: Reasons | None = None) -> UnitReport:
        skip = dict(known or {})
        for attempt in range(DEATHS_TO_QUARANTINE):
            try:
                with self._enough_memory(unit):
                    return self._outcome(self._submit(unit, skip))
            except ListedFileGoneError as error:
                return self._elsewhere(unit, error, skip)
            except _WorkerLostError as lost:
                logger.warning("%s: %s although it ran alone (%d)", unit, lost.reason, attempt + 1)
                skip.update(self._find_killers(unit, skip))
        raise EnvironmentTroubleError(
            f"{unit}: it killed {DEATHS_TO_QUARANTINE} workers, though each of its samples passes alone; "
            "the workers probably need more memory: use fewer of them (a benchmark can also do with smaller "
            "units: --shard-size)"
        )

    def _elsewhere(self, unit: U, error: ListedFileGoneError, known: Reasons | None = None) -> UnitReport:
        """Do a unit on another worker than that which missed files; give up samples that two of them miss.

        Raises:
            EnvironmentTroubleError: other files are missing each time.
        """
        skip = dict(known or {})
        missed = dict(error.gone)
        for _ in range(LOOKS_ELSEWHERE):
            others = [address for address in self._able(unit) if address != error.worker]
            try:
                with self._enough_memory(unit):
                    return self._outcome(self._submit(unit, skip, others))
            except ListedFileGoneError as again:
                error = again
                skip |= {index: why for index, why in again.gone.items() if index in missed}
                missed |= again.gone
            except _WorkerLostError:
                return self._alone(unit, skip)
        raise EnvironmentTroubleError(
            f"{unit}: listed files come and go ({error}); mend the folder and repeat the command"
        )

    def _find_killers(self, unit: U, known: Reasons) -> dict[int, tuple[str, str]]:
        start, stop = self.job.span(unit)
        killers: dict[int, tuple[str, str]] = {}
        for index in range(start, stop):
            lost: list[str] = []
            while index not in known and len(lost) < DEATHS_TO_QUARANTINE:
                try:
                    with self._enough_memory(unit):
                        self._outcome(self._submit_probe(unit, index, known))
                    break
                except _WorkerLostError as error:
                    lost.append(error.reason)
            if len(lost) == DEATHS_TO_QUARANTINE:
                killers[index] = _blame(unit, lost)
                logger.warning("sample %d on %s: quarantined (%s)", index, unit, killers[index][0])
        return killers

    @contextmanager
    def _enough_memory(self, unit: U) -> Iterator[None]:
        """Tell a worker that was ended for its memory from one that died of what it did.

        Raises:
            EnvironmentTroubleError: the worker outgrew its limit while nothing but this unit ran.
        """
        before = len(self.client.get_events(_MEMORY_EVENTS))
        try:
            yield
        except _WorkerLostError as error:
            if len(self.client.get_events(_MEMORY_EVENTS)) == before:
                raise
            raise EnvironmentTroubleError(
                f"{unit}: its worker outgrew its memory; give workers more (fewer --workers, or a larger "
                "--worker-memory-gb where the machine has it) and repeat the command; a benchmark can also "
                "do with smaller units (--shard-size, with another --out)"
            ) from error

    def _submit(self, unit: U, skip: Reasons | None = None, workers: Sequence[str] = ()) -> Future:
        return self._send(unit, self._size(unit)[1], workers, _run, self.job, unit, skip or {})

    def _submit_probe(self, unit: U, index: int, skip: Reasons) -> Future:
        samples, weight = self._size(unit)
        return self._send(unit, math.ceil(weight / samples), (), _probe, self.job, unit, index, dict(skip))

    def _send(
        self, unit: U, samples: int, workers: Sequence[str], function: Callable[..., Any], *arguments: Any
    ) -> Future:
        """Submit a function of a unit and a device, guarded and watched."""
        kind, resources = self._place(unit)
        future = self.client.submit(
            *self._guard.task(function, *arguments, kind),
            key=f"{unit.stage}-{uuid.uuid4().hex}",
            resources=resources,
            workers=workers or None,
            allow_other_workers=bool(workers),
            pure=False,
            retries=0,
        )
        self._watch.add(future, self.unit_timeout_s or default_limit_s(samples))
        return future

    def _size(self, unit: U) -> tuple[int, int]:
        """How many samples a unit has, and how many samples' time it takes."""
        start, stop = self.job.span(unit)
        return stop - start, self.weigh(unit) if self.weigh else stop - start

    def _place(self, unit: U) -> tuple[str, dict[str, float] | None]:
        if self._on_gpu and unit.stage in self.job.gpu_stages:
            return "cuda", {"GPU": 1}
        return "cpu", None

    def placement(self) -> str:
        """What networks run on here: 'GPU workers' or 'CPU workers'."""
        return "GPU workers" if self._on_gpu else "CPU workers"

    def _slots(self, unit: U) -> int:
        """Units of this kind that can run at the same time."""
        workers = self._able(unit).values()
        if self._place(unit)[1]:
            return int(sum(self._gpus(worker) for worker in workers))
        return sum(worker["nthreads"] for worker in workers)

    def _able(self, unit: U) -> dict[str, dict]:
        """The workers that a unit may be placed on, by address."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"]
        needs_gpu = bool(self._place(unit)[1])
        return {address: worker for address, worker in workers.items() if not needs_gpu or self._gpus(worker)}

    @staticmethod
    def _gpus(worker: dict) -> float:
        return float(worker["resources"].get("GPU", 0))


def _run(job: Job[U], unit: U, skip: Reasons, device: str) -> UnitReport:
    with known_to_the_driver():
        report = job.run(unit, skip, device)
    return replace(report, peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _blame(unit: Any, lost: Sequence[str]) -> tuple[str, str]:
    """The code and the sentence for a sample that cost so many workers."""
    if TIMED_OUT in lost:
        return TIMED_OUT, f"{unit.stage}: over the time limit or its worker died, {len(lost)} times alone"
    return WORKER_DIED, f"{unit.stage}: {len(lost)} workers died on this sample alone"


def _probe(job: Job[U], unit: U, index: int, skip: Reasons, device: str) -> None:
    with suppress(ListedFileGoneError), known_to_the_driver():
        job.probe(unit, index, skip, device)
