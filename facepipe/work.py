"""What a worker is asked to do: one unit, or one sample of it on trial."""

from __future__ import annotations

import errno
import logging
import time
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from facepipe.errors import EnvironmentTroubleError
from facepipe.parts import UPSTREAM, Reasons
from facepipe.plan import RunSpec, Unit
from facepipe.store import RunStore
from facepipe.units import WORK, unit_span

logger = logging.getLogger("facepipe")

_TROUBLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not grow any further (file size limit)",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EIO: "the disk failed",
    errno.ENOMEM: "no memory",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files",
    errno.ESTALE: "the network file system lost the folder",
}


@dataclass(frozen=True)
class UnitReport:
    """What became of a unit."""

    samples: int
    quarantined: int
    seconds: float


def run_unit(spec: RunSpec, unit: Unit, skip: Reasons, device: str = "cpu") -> UnitReport:
    """Do one unit.

    Args:
        spec: the run.
        unit: which part of it.
        skip: samples that must not be touched, since they killed workers, with their reasons.
        device: where networks run; 'cuda' falls back to 'cpu' on a worker without one.

    Raises:
        EnvironmentTroubleError: disk or memory failed; nothing of the unit counts as done.
    """
    started = time.perf_counter()
    store = RunStore(spec.path)
    try:
        table = WORK[unit.stage](spec, store, unit, skip, device)
        store.write_part(unit.stage, unit.condition.key, unit.shard, table)
    except MemoryError as error:
        raise EnvironmentTroubleError(f"{unit}: no memory left on the worker") from error
    except OSError as error:
        trouble = _TROUBLE.get(error.errno or 0)
        if trouble is None:
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise EnvironmentTroubleError(
            f"{unit}: {trouble}{where}; once that is mended, the same command goes on from here"
        ) from error
    start, stop = unit_span(spec, unit)
    rows = table["index"].to_pylist() if "index" in table.schema.names else range(start, stop)
    found = dict(zip(rows, table["reason"].to_pylist(), strict=True))
    reasons = sorted(reason for reason in found.values() if reason not in (None, UPSTREAM))
    if reasons:
        codes = ", ".join(dict.fromkeys(reasons))
        logger.warning("%s: %d of %d samples quarantined (%s)", unit, len(reasons), stop - start, codes)
    return UnitReport(stop - start, len(reasons), time.perf_counter() - started)


def probe_sample(spec: RunSpec, unit: Unit, index: int, skip: Reasons, device: str = "cpu") -> None:
    """Do a unit's work on one sample alone and throw the result away: does it kill the worker?"""
    start, stop = unit_span(spec, unit)
    others = {i: ("probe", "") for i in range(start, stop) if i != index}
    WORK[unit.stage](spec, _ReadOnlyStore(spec.path), unit, {**others, **skip}, device)


class _ReadOnlyStore(RunStore):
    """A store whose arrays do not change: for probing."""

    def write_shard(self, name: str, shard: int, values: NDArray[Any]) -> list[int]:  # noqa: ARG002
        return [0] * len(values)
