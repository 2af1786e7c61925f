"""What a worker is asked to do: one unit, or one sample of it on trial."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from facepipe.bench.spec import RunSpec, Unit
from facepipe.bench.stage_io import WORK, unit_span
from facepipe.bench.unit_results import UPSTREAM
from facepipe.pipeline.job import Reasons, UnitReport, environment_trouble
from facepipe.pipeline.store import RunStore

logger = logging.getLogger("facepipe")


@dataclass(frozen=True)
class BenchJob:
    """A benchmark run as the engine sees it: a `facepipe.pipeline.job.Job`.

    Attributes:
        spec: the run.
    """

    spec: RunSpec

    @property
    def gpu_stages(self) -> Collection[str]:
        """The stages that run networks; OpenVINO's stay on the CPU."""
        return ("restore",) if self.spec.backend == "openvino" else ("restore", "regress")

    def span(self, unit: Unit) -> tuple[int, int]:
        """First and past-the-last sample of a unit."""
        return unit_span(self.spec, unit)

    def run(self, unit: Unit, skip: Reasons, device: str = "cpu") -> UnitReport:
        """Do one unit and write its part; see `facepipe.pipeline.job.Job.run`."""
        started = time.perf_counter()
        store = RunStore(self.spec.path)
        with environment_trouble(unit):
            table = WORK[unit.stage](self.spec, store, unit, skip, device)
            store.write_part(unit.stage, unit.condition.key, unit.shard, table)
        start, stop = self.span(unit)
        rows = table["index"].to_pylist() if "index" in table.schema.names else range(start, stop)
        found = dict(zip(rows, table["reason"].to_pylist(), strict=True))
        reasons = sorted(reason for reason in found.values() if reason not in (None, UPSTREAM))
        if reasons:
            codes = ", ".join(dict.fromkeys(reasons))
            logger.warning("%s: %d of %d samples quarantined (%s)", unit, len(reasons), stop - start, codes)
        return UnitReport(stop - start, len(reasons), time.perf_counter() - started)

    def probe(self, unit: Unit, index: int, skip: Reasons, device: str = "cpu") -> None:
        """Do a unit's work on one sample alone and throw the result away."""
        start, stop = self.span(unit)
        others = {i: ("probe", "") for i in range(start, stop) if i != index}
        WORK[unit.stage](self.spec, _ReadOnlyStore(self.spec.path), unit, {**others, **skip}, device)


class _ReadOnlyStore(RunStore):
    """A store whose arrays do not change: for probing."""

    def write_shard(self, name: str, shard: int, values: NDArray[Any]) -> list[int]:  # noqa: ARG002
        return [0] * len(values)
