"""What a complete run keeps so that it can be made whole again: digests of its tables, results of units.

The results of units go when a run is complete. Where its arrays stay, those of the units that wrote them
stay, too, in one table; a run that is opened again gets them back from there, so that networks work only for
shards that are damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.bench.run_store import ARRAY_RESULT, RunStore
from facepipe.bench.spec import STAGES, BenchUnit, Condition, RunSpec
from facepipe.core.files import file_digest
from facepipe.core.schema import CONDITION_COLUMNS
from facepipe.core.tables import write_tables
from facepipe.pipeline.unit import Unit

COMPLETE = "complete"
DAMAGED = "damaged"
RUNNING = "running"

ARRAY_STAGES = STAGES[1:-1]

UNITS = pa.schema(
    [
        ("stage", pa.string()),
        ("degradation", pa.string()),
        ("low_px", pa.int32()),
        ("method", pa.string()),
        ("regressor", pa.string()),
        ("shard", pa.int32()),
        *ARRAY_RESULT,
    ]
)
"""Columns of units.parquet: a unit's result, and whose it is."""

OnResult = Callable[[BenchUnit, pa.Table], None]
"""Told of a unit and its result."""

_UNIT_COLUMNS = ("stage", *CONDITION_COLUMNS, "shard")


def table_digests(store: RunStore) -> dict[str, str | None]:
    """The sha256 digests of a run's tables by file name; None for one that is not there."""
    paths = (store.samples_path, store.failures_path, store.scores_path, store.units_path)
    return {path.name: file_digest(path) for path in paths}


def count_quarantined(failures: pa.Table) -> int:
    """How many samples a table of failures is about; each row of ingest is a candidate of its own."""
    stages = failures["stage"].to_pylist()
    rows = zip(stages, failures["sample_id"].to_pylist(), strict=True)
    return stages.count(STAGES[0]) + len({sample_id for stage, sample_id in rows if stage != STAGES[0]})


def damaged_tables(store: RunStore, run: Mapping[str, Any]) -> list[str]:
    """The names of tables that are not what they were when the run became complete.

    Args:
        store: the run's folder.
        run: what its run.json says.
    """
    found = table_digests(store)
    # Arrays can be deleted on purpose, and the results of their units go with them.
    if found[store.units_path.name] is None and not store.zarr_path.exists():
        del found[store.units_path.name]
    return [name for name, digest in found.items() if name in run["files"] and run["files"][name] != digest]


def pack_results(spec: RunSpec, store: RunStore, note: OnResult) -> None:
    """Write units.parquet from the results of all units that write arrays, and show them to `note`."""
    write_tables(store.units_path, _packed(spec, store, note), UNITS)


def unpack_results(store: RunStore) -> int:
    """Write the results of all units that write arrays from units.parquet.

    Returns:
        How many there were.
    """
    count = 0
    for unit, rows in iter_packed(store):
        store.write_result(unit, rows)
        count += 1
    return count


def iter_packed(store: RunStore) -> Iterator[tuple[BenchUnit, pa.Table]]:
    """Each unit that units.parquet holds, and its result."""
    file = pq.ParquetFile(store.units_path)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        columns = [table[name].to_numpy() for name in _UNIT_COLUMNS]
        changes = np.zeros(table.num_rows, bool)
        for column in columns:
            changes[1:] |= column[1:] != column[:-1]
        starts = [0, *np.flatnonzero(changes), table.num_rows]
        for start, stop in pairwise(starts):
            stage, degradation, low_px, method, regressor, shard = (column[start] for column in columns)
            condition = Condition(degradation, int(low_px), method, regressor)
            rows = table.slice(start, stop - start).select(ARRAY_RESULT.names)
            yield Unit(stage, condition, int(shard)), rows


def array_results(spec: RunSpec, store: RunStore) -> Iterator[tuple[BenchUnit, pa.Table]]:
    """Every unit that writes arrays, and its result.

    Raises:
        EnvironmentTroubleError: one is missing or damaged.
    """
    for stage in ARRAY_STAGES:
        for unit in spec.units(stage, range(spec.n_shards)):
            yield unit, store.read_result(unit)


def _packed(spec: RunSpec, store: RunStore, note: OnResult) -> Iterator[pa.Table]:
    for unit, rows in array_results(spec, store):
        note(unit, rows)
        yield _labelled(unit, rows)


def _labelled(unit: BenchUnit, rows: pa.Table) -> pa.Table:
    condition = unit.condition
    values = (unit.stage, *(getattr(condition, name) for name in CONDITION_COLUMNS), unit.shard)
    for name, value in zip(_UNIT_COLUMNS, values, strict=True):
        column = pa.repeat(pa.scalar(value, UNITS.field(name).type), rows.num_rows)
        rows = rows.append_column(name, column)
    return rows
