"""What a stage is: a function of what it reads, and what it writes, declared once.

Running, verifying and resuming follow from the declaration (`facepipe.pipeline.batch_job`,
`facepipe.pipeline.verify`), for benchmark and surveillance alike.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import pyarrow as pa
from numpy.typing import NDArray

from facepipe.pipeline.batch_store import ArraySpec, BatchStore
from facepipe.pipeline.job import Reasons, Site
from facepipe.pipeline.unit import C, Unit

UPSTREAM = "upstream"
"""Reason of a sample that an earlier stage quarantined: carried on, not reported again."""


B = TypeVar("B")


@dataclass(frozen=True)
class Made:
    """What a stage made of a unit.

    Attributes:
        rows: the unit's result: at least `reason` of each sample, null where there is none to give it up.
        arrays: by name, the unit's shard of each array that its stage declares.
        own_arrays: by name, whole arrays that this unit alone writes.
        files: by path, the content of files that the archive keeps.
    """

    rows: pa.Table
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    own_arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    files: Mapping[Path, bytes] = field(default_factory=dict)


def _no_units(batch: Any, unit: Unit[Any]) -> Sequence[Unit[Any]]:  # noqa: ARG001
    return ()


def _no_arrays(batch: Any, condition: Any) -> Mapping[str, ArraySpec]:  # noqa: ARG001
    return {}


def _no_own_arrays(unit: Unit[Any], rows: pa.Table) -> Mapping[str, int]:  # noqa: ARG001
    return {}


@dataclass(frozen=True)
class Stage(Generic[B, C]):
    """One stage of a pipeline.

    Attributes:
        name: of the stage, as commands and documents have it.
        work: (batch, unit, skip, device) -> what was made. It reads what `reads` made and writes nothing
            itself; a sample in `skip` is not touched, its reason is kept. It raises `ListedFileGoneError` if
            files of other samples are gone.
        reads: (batch, unit) -> the units whose results or arrays it reads.
        arrays: (batch, condition) -> the arrays of which a unit writes one shard each.
        own_arrays: (unit, its rows) -> the arrays that the unit made by itself, by name, and their lengths.
    """

    name: str
    work: Callable[[B, Unit[C], Reasons, str], Made]
    reads: Callable[[B, Unit[C]], Sequence[Unit[C]]] = _no_units
    arrays: Callable[[B, C], Mapping[str, ArraySpec]] = _no_arrays
    own_arrays: Callable[[Unit[C], pa.Table], Mapping[str, int]] = _no_own_arrays


class Batch(Protocol[C]):
    """A benchmark run or a surveillance batch: small and picklable, it travels with every unit."""

    @property
    def gpu_stages(self) -> Collection[str]:
        """The stages that run networks, for which GPU workers are taken where there are any."""

    @property
    def site(self) -> Site:
        """What every worker must see."""

    @property
    def weights(self) -> Mapping[str, str]:
        """Digests of the weights that every worker must have, by name."""

    def fingerprints(self, unit: Unit[C]) -> Mapping[str, str]:
        """Digests of the weights that a unit uses, as they are where this is asked, by name."""

    def open_store(self) -> BatchStore:
        """Its folder."""

    def span(self, unit: Unit[C]) -> tuple[int, int]:
        """First and past-the-last sample of a unit."""

    def outcome(self, unit: Unit[C], rows: pa.Table) -> tuple[int, Sequence[str]]:
        """How many samples a finished unit had, and the reasons of those that were given up."""

    def verified_together(self, unit: Unit[C]) -> Sequence[Unit[C]]:
        """The units that a unit of verification looks at, in the order of their stages."""

    def needs_arrays(self, units: Sequence[Unit[C]], done: Collection[Unit[C]]) -> bool:
        """Whether the arrays of units that are verified together must be there, where some are done."""


def stage_of(stages: Iterable[Stage[Any, C]], unit: Unit[C]) -> Stage[Any, C]:
    """The stage of a unit."""
    return next(stage for stage in stages if stage.name == unit.stage)


def create_arrays(batch: Batch[C], stage: Stage[Any, C], conditions: Iterable[C], n: int, size: int) -> None:
    """Create the arrays that a stage declares at full shape, or mend their descriptions.

    Args:
        batch: whose arrays.
        stage: that writes them.
        conditions: of the stage.
        n: samples of each array.
        size: samples in a shard.
    """
    store = batch.open_store()
    for condition in conditions:
        for name, spec in stage.arrays(batch, condition).items():
            store.create_array(name, (n, *spec.shape), size, spec.dtype, spec.attributes)


def count_samples(batch: Batch[C], units: Iterable[Unit[C]]) -> int:
    """How many samples units have, counted once for each unit."""
    return sum(stop - start for start, stop in map(batch.span, units))
