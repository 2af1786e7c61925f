"""Whether what lies in a run's folder is what its units wrote.

A part claims a CRC-32 for each sample of each array that its unit wrote, and one for its own rows. Before
an interrupted run goes on, all of them are compared with what can be read; a unit whose claims do not hold
is forgotten, with everything that was made from it, and done again. Nothing damaged is ever computed with.
"""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from facepipe.bench.spec import STAGES, Condition, RunSpec, Unit
from facepipe.bench.unit_results import made_by
from facepipe.core.errors import EnvironmentTroubleError, UsageError
from facepipe.pipeline.job import Reasons, UnitReport, environment_trouble
from facepipe.pipeline.store import RunStore

logger = logging.getLogger("facepipe")

VERIFY = "verify"
_INGEST, _SCORE = STAGES[0], STAGES[-1]
# Damaged bytes may promise any size, so that a lack of memory says nothing about the machine here.
_READ_ERRORS = (RuntimeError, ValueError, TypeError, LookupError, OSError, MemoryError, UsageError)


@dataclass(frozen=True)
class VerifyJob:
    """Verification on a cluster: a `facepipe.pipeline.job.Job` whose units are the shards of a run.

    Attributes:
        spec: the run.
        keep: 'all' or 'scores': whether arrays must still be there once their shard is scored.
    """

    spec: RunSpec
    keep: str

    @property
    def gpu_stages(self) -> Collection[str]:
        """None: checksums are no work for networks."""
        return ()

    def units(self) -> list[Unit]:
        """One for each shard of the candidates, which are at least as many as the samples."""
        return [Unit(VERIFY, Condition(), shard) for shard in self.spec.candidate_shards]

    def span(self, unit: Unit) -> tuple[int, int]:
        """First and past-the-last candidate of a unit."""
        return self.spec.span(unit.shard, self.spec.n_candidates)

    def run(self, unit: Unit, skip: Reasons, device: str = "cpu") -> UnitReport:  # noqa: ARG002
        """Verify a shard and forget its units that cannot be trusted; see `facepipe.pipeline.job.Job.run`."""
        started = time.perf_counter()
        store = RunStore(self.spec.path)
        with environment_trouble(unit):
            found = untrusted_units(self.spec, store, self.keep, unit.shard)
            # What was made from a unit goes before it, so that a kill in between leaves no unit that
            # counts as done and was made from one that does not.
            for bad in sorted(found, key=lambda bad: STAGES.index(bad.stage), reverse=True):
                store.delete_part(bad.stage, bad.condition.key, bad.shard)
        for bad, why in found.items():
            logger.warning("%s will be done again: %s", bad, why)
        start, stop = self.span(unit)
        return UnitReport(stop - start, 0, time.perf_counter() - started)

    def probe(self, unit: Unit, index: int, skip: Reasons, device: str = "cpu") -> None:  # noqa: ARG002
        """Read what one sample left; see `facepipe.pipeline.job.Job.probe`."""
        untrusted_units(self.spec, RunStore(self.spec.path), self.keep, unit.shard)


def untrusted_units(spec: RunSpec, store: RunStore, keep: str, shard: int) -> dict[Unit, str]:
    """The units of a shard that count as done and cannot be trusted, each with the reason.

    Args:
        spec: the run.
        store: its folder.
        keep: 'scores' says that arrays may be gone once everything made from them is scored.
        shard: which block of samples.

    Returns:
        Units whose part or arrays are damaged or missing, and units made from such or from units that
        are not done, in the order of the stages.
    """
    parts: dict[Unit, pa.Table] = {}
    bad: dict[Unit, str] = {}
    units = _units_of(spec, shard)
    for unit in units:
        if store.part_path(unit.stage, unit.condition.key, shard).exists():
            try:
                parts[unit] = store.read_part(unit.stage, unit.condition.key, shard)
            except EnvironmentTroubleError:
                bad[unit] = "its part file is damaged"
    scored = all(unit in parts for unit in units if unit.stage == _SCORE)
    if keep == "all" or not scored:
        for unit, part in parts.items():
            if unit.stage not in (_INGEST, _SCORE) and (why := broken_arrays(store, shard, part)):
                bad[unit] = why
    for unit in units:
        made_from = next((i for i in _inputs(spec, unit) if i in bad or i not in parts), None)
        if unit in parts and unit not in bad and made_from is not None:
            bad[unit] = f"it was made from {made_from}"
    return {unit: bad[unit] for unit in units if unit in bad}


def broken_arrays(store: RunStore, shard: int, part: pa.Table) -> str:
    """What is wrong with the arrays that a part tells of; '' where every sample matches its CRC-32.

    Args:
        store: the run's folder.
        shard: which block of samples.
        part: rows of `facepipe.bench.unit_results.ARRAY_PART`, all those of one unit.
    """
    claims: dict[str, list[tuple[int, int]]] = {}
    for row in part.select(["array", "index", "crc32"]).to_pylist():
        claims.setdefault(row["array"], []).append((row["index"], row["crc32"]))
    for name, samples in claims.items():
        start = min(index for index, _ in samples)
        if not store.has_array(name):
            return f"the array {name} is missing"
        try:
            if not store.shard_path(name, shard).is_file():
                return f"the shard of {name} is missing"
            values = store.read(name, start, start + len(samples))
        except _READ_ERRORS as error:
            if isinstance(error, OSError) and error.errno:
                raise
            return f"the shard of {name} cannot be read ({_reason(error)})"
        wrong = [
            index
            for index, crc32 in samples
            if zlib.crc32(np.ascontiguousarray(values[index - start]).data) != crc32
        ]
        if wrong:
            return f"the shard of {name} does not match its checksums (samples {_shortly(wrong)})"
    return ""


def _units_of(spec: RunSpec, shard: int) -> list[Unit]:
    stages = STAGES if shard < spec.n_shards else STAGES[:1]
    return [Unit(stage, condition, shard) for stage in stages for condition in spec.conditions(stage)]


def _inputs(spec: RunSpec, unit: Unit) -> list[Unit]:
    """The units of the same shard that a unit reads."""
    condition = unit.condition
    degraded = ("degrade", Condition())
    if unit.stage == "restore":
        sources = [degraded]
    elif unit.stage == "regress":
        sources = [degraded, made_by(condition)]
    elif unit.stage == _SCORE and spec.regressors:
        sources = [degraded, made_by(condition), ("regress", condition), ("regress", condition.reference())]
    elif unit.stage == _SCORE:
        sources = [degraded, made_by(condition)]
    else:
        sources = []
    return [Unit(stage, source, unit.shard) for stage, source in sources]


def _reason(error: BaseException) -> str:
    """What an error of a library says in one line, or what it is where it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _shortly(values: list[Any]) -> str:
    shown = ", ".join(map(str, values[:5]))
    return shown if len(values) <= 5 else f"{shown} and {len(values) - 5} more"
