"""The job that a worker does for a batch: one unit, or one sample of it on trial."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from facepipe.core.files import write_atomically
from facepipe.pipeline.batch_store import BatchStore
from facepipe.pipeline.job import Reasons, Site, UnitReport, environment_trouble
from facepipe.pipeline.stage import Batch, Made, Stage, stage_of
from facepipe.pipeline.unit import C, Unit
from facepipe.pipeline.worker_check import check_weights

logger = logging.getLogger("facepipe")

SAMPLES_PER_OWN_SHARD = 16
"""Of arrays that a unit makes by itself."""


@dataclass(frozen=True)
class BatchJob(Generic[C]):
    """A batch as the engine sees it: a `facepipe.pipeline.job.Job`.

    Attributes:
        batch: a benchmark run or a surveillance batch.
        stages: its stages.
    """

    batch: Batch[C]
    stages: Sequence[Stage[Any, C]]

    @property
    def gpu_stages(self) -> Collection[str]:
        """The stages that run networks on a GPU."""
        return self.batch.gpu_stages

    @property
    def site(self) -> Site:
        """What every worker must see."""
        return self.batch.site

    def span(self, unit: Unit[C]) -> tuple[int, int]:
        """First and past-the-last sample of a unit."""
        return self.batch.span(unit)

    def run(self, unit: Unit[C], skip: Reasons, device: str = "cpu") -> UnitReport:
        """Do one unit and write what it made; see `facepipe.pipeline.job.Job.run`."""
        started = time.perf_counter()
        with environment_trouble(unit):
            check_weights(self.batch.weights, self.batch.fingerprints(unit))
            made = stage_of(self.stages, unit).work(self.batch, unit, skip, device)
            _write(self.batch.open_store(), unit, made)
        samples, given_up = self.batch.outcome(unit, made.rows)
        if given_up:
            codes = ", ".join(dict.fromkeys(sorted(given_up)))
            logger.warning("%s: %d of %d samples quarantined (%s)", unit, len(given_up), samples, codes)
        return UnitReport(samples, len(given_up), time.perf_counter() - started)

    def probe(self, unit: Unit[C], index: int, skip: Reasons, device: str = "cpu") -> None:
        """Do a unit's work on one sample alone and throw the result away."""
        start, stop = self.span(unit)
        others = {i: ("probe", "") for i in range(start, stop) if i != index}
        stage_of(self.stages, unit).work(self.batch, unit, {**others, **skip}, device)


def _write(store: BatchStore, unit: Unit[C], made: Made) -> None:
    """Write the arrays and files of a unit, and then its result: from then on it is done."""
    for name, values in made.arrays.items():
        store.write_shard(name, unit.shard, values)
    for name, values in made.own_arrays.items():
        store.write_whole(name, values, SAMPLES_PER_OWN_SHARD)
    for path, content in made.files.items():
        write_atomically(path, content, store.private)
    store.write_result(unit, made.rows)
