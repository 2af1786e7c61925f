"""Verify that the files of a batch are what its units wrote.

Before an interrupted batch goes on, its results and arrays are read and so compared with their checksums. A
unit of which something does not match is forgotten, with everything that was made from it, and done again.
Nothing damaged is ever computed with.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic

import pyarrow as pa

from facepipe.core.errors import DamageError
from facepipe.pipeline.job import Reasons, Site, UnitReport, environment_trouble
from facepipe.pipeline.stage import Batch, Stage, stage_of
from facepipe.pipeline.unit import C, Unit

logger = logging.getLogger("facepipe")

VERIFY = "verify"
"""The stage of a unit of verification."""


@dataclass(frozen=True)
class VerifyJob(Generic[C]):
    """Verification on a cluster: a `facepipe.pipeline.job.Job`.

    Attributes:
        batch: whose folder.
        stages: of the batch, in their order.
    """

    batch: Batch[C]
    stages: Sequence[Stage[Any, C]]

    @property
    def gpu_stages(self) -> Collection[str]:
        """None: checksums are no work for networks."""
        return ()

    @property
    def site(self) -> Site:
        """What every worker must see."""
        return self.batch.site

    def span(self, unit: Unit[C]) -> tuple[int, int]:
        """First and past-the-last sample of a unit."""
        return self.batch.span(unit)

    def run(self, unit: Unit[C], skip: Reasons, device: str = "cpu") -> UnitReport:  # noqa: ARG002
        """Verify units and forget those that cannot be trusted; see `facepipe.pipeline.job.Job.run`."""
        started = time.perf_counter()
        with environment_trouble(unit):
            self._forget_untrusted(self.batch.verified_together(unit))
        start, stop = self.span(unit)
        return UnitReport(stop - start, 0, time.perf_counter() - started)

    def probe(self, unit: Unit[C], index: int, skip: Reasons, device: str = "cpu") -> None:  # noqa: ARG002
        """Read what one sample left; see `facepipe.pipeline.job.Job.probe`."""
        untrusted_units(self.batch, self.stages, self.batch.verified_together(unit))

    def _forget_untrusted(self, units: Sequence[Unit[C]]) -> None:
        store = self.batch.open_store()
        found = untrusted_units(self.batch, self.stages, units)
        # What was made from a unit goes before it, so that a kill in between leaves no unit that counts as
        # done and was made from one that does not.
        for unit in reversed(found):
            store.forget(unit)
        for unit, why in found.items():
            logger.warning("%s will be done again: %s", unit, why)


def untrusted_units(
    batch: Batch[C], stages: Sequence[Stage[Any, C]], units: Sequence[Unit[C]]
) -> dict[Unit[C], str]:
    """The units that count as done and cannot be trusted, each with the reason.

    Args:
        batch: what the units are of.
        stages: of the batch.
        units: in the order of their stages, with all that they read.

    Returns:
        Units whose result or arrays are damaged or missing, and units made from such or from units that are
        not done, in the given order.
    """
    store = batch.open_store()
    results: dict[Unit[C], pa.Table] = {}
    bad: dict[Unit[C], str] = {}
    for unit in units:
        if store.result_path(unit).exists():
            try:
                results[unit] = store.read_result(unit)
            except DamageError:
                bad[unit] = "its result is damaged"
    if batch.needs_arrays(units, results.keys()):
        for unit, rows in results.items():
            if why := broken_arrays(batch, stage_of(stages, unit), unit, rows):
                bad[unit] = why
    for unit in units:
        if unit in results and unit not in bad:
            sources = stage_of(stages, unit).reads(batch, unit)
            made_from = next((source for source in sources if source in bad or source not in results), None)
            if made_from is not None:
                bad[unit] = f"it was made from {made_from}"
    return {unit: bad[unit] for unit in units if unit in bad}


def broken_arrays(batch: Batch[C], stage: Stage[Any, C], unit: Unit[C], rows: pa.Table) -> str:
    """What is wrong with the arrays that a unit wrote; '' where all of it matches its checksums.

    Args:
        batch: whose unit.
        stage: of the unit.
        unit: that is done.
        rows: its result.
    """
    store = batch.open_store()
    declared = (store.broken(name, unit.shard) for name in stage.arrays(batch, unit.condition))
    own = (store.broken_whole(name, length) for name, length in stage.own_arrays(unit, rows).items())
    return next(filter(None, chain(declared, own)), "")
