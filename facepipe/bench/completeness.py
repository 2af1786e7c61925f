"""What a complete run keeps so that it can be made whole again: digests of its tables, claims of its parts.

The parts themselves go when a run is complete. Where its arrays stay, what the parts claimed about them
stays, too, in one table; a run that is opened again gets its parts back from there, so that networks work
only for shards that are damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.bench.spec import STAGES, Condition, RunSpec
from facepipe.bench.unit_results import ARRAY_PART
from facepipe.core.files import file_digest
from facepipe.core.schema import CONDITION_COLUMNS
from facepipe.core.tables import write_tables
from facepipe.pipeline.store import RunStore

COMPLETE = "complete"
DAMAGED = "damaged"
RUNNING = "running"

ARRAY_STAGES = STAGES[1:-1]

CLAIMS = pa.schema(
    [
        ("stage", pa.string()),
        ("degradation", pa.string()),
        ("low_px", pa.int32()),
        ("method", pa.string()),
        ("regressor", pa.string()),
        ("shard", pa.int32()),
        *ARRAY_PART,
    ]
)
"""Columns of checksums.parquet: a part's rows, and whose part it was."""

OnPart = Callable[[str, Condition, pa.Table], None]
"""Told of a stage, a condition and one of their parts."""

_UNIT_COLUMNS = ("stage", *CONDITION_COLUMNS, "shard")


def table_digests(store: RunStore) -> dict[str, str | None]:
    """The sha256 digests of a run's tables by file name; None for one that is not there."""
    paths = (store.samples_path, store.failures_path, store.scores_path, store.checksums_path)
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
    # Arrays can be deleted on purpose, and their checksums go with them.
    if found[store.checksums_path.name] is None and not store.zarr_path.exists():
        del found[store.checksums_path.name]
    return [name for name, digest in found.items() if name in run["files"] and run["files"][name] != digest]


def pack_claims(spec: RunSpec, store: RunStore, note: OnPart) -> None:
    """Write checksums.parquet from the parts of every stage that writes arrays, and show them to `note`."""
    write_tables(store.checksums_path, _packed(spec, store, note), CLAIMS)


def unpack_claims(store: RunStore) -> int:
    """Write the parts of every stage that writes arrays from checksums.parquet.

    Returns:
        How many there were.
    """
    count = 0
    for stage, condition, shard, part in iter_claims(store):
        store.write_part(stage, condition.key, shard, part)
        count += 1
    return count


def iter_claims(store: RunStore) -> Iterator[tuple[str, Condition, int, pa.Table]]:
    """Each part that checksums.parquet holds: (stage, condition, shard, rows of `ARRAY_PART`)."""
    file = pq.ParquetFile(store.checksums_path)
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
            yield stage, condition, int(shard), table.slice(start, stop - start).select(ARRAY_PART.names)


def array_parts(spec: RunSpec, store: RunStore) -> Iterator[tuple[str, Condition, int, pa.Table]]:
    """Stage, condition, shard and part of every unit that writes arrays.

    Raises:
        EnvironmentTroubleError: a part is missing or damaged.
    """
    for stage in ARRAY_STAGES:
        for condition in spec.conditions(stage):
            for shard in range(spec.n_shards):
                yield stage, condition, shard, store.read_part(stage, condition.key, shard)


def _packed(spec: RunSpec, store: RunStore, note: OnPart) -> Iterator[pa.Table]:
    for stage, condition, shard, part in array_parts(spec, store):
        note(stage, condition, part)
        yield _labelled(part, stage, condition, shard)


def _labelled(part: pa.Table, stage: str, condition: Condition, shard: int) -> pa.Table:
    values = (stage, condition.degradation, condition.low_px, condition.method, condition.regressor, shard)
    for name, value in zip(_UNIT_COLUMNS, values, strict=True):
        column = pa.repeat(pa.scalar(value, CLAIMS.field(name).type), part.num_rows)
        part = part.append_column(name, column)
    return part
