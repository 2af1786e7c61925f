"""Verify a run for `status --verify`: damage is named and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from facepipe.bench.completeness import COMPLETE, DAMAGED, damaged_tables, iter_packed
from facepipe.bench.run_folder import load_spec, read_facts
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import Condition
from facepipe.bench.stage_io import BENCH_STAGES
from facepipe.bench.stages import REVISION
from facepipe.core.errors import UsageError
from facepipe.pipeline.stage import stage_of
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.verify import VERIFY, broken_arrays, untrusted_units


def steps(store: RunStore) -> int:
    """How many steps `audit` will advance by: units of a complete run, shards of another."""
    if read_facts(store)["status"] != COMPLETE:
        return len(load_spec(store).candidate_shards)
    return sum(1 for _ in iter_packed(store)) if _has_units(store) else 0


def audit(store: RunStore, advance: Callable[[int], None]) -> list[str]:
    """Compare every table, unit result and array of a run with its checksums.

    A complete run in which anything is damaged is complete no longer: the command that made it then makes
    that again. Call only while holding the run's lock.

    Args:
        store: the run's folder.
        advance: told of each step.

    Raises:
        UsageError: a version whose checksums were other ones made the run.

    Returns:
        A sentence for each table or unit that is damaged or missing.
    """
    run = read_facts(store)
    if run["identity"].get("revision") != REVISION:
        raise UsageError(
            f"{store.path}: another version of facepipe made it, and its arrays carry other checksums: "
            "verify it with that version"
        )
    complete = run["status"] == COMPLETE
    damaged = list(_of_complete(store, advance) if complete else _of_interrupted(store, advance))
    if damaged and complete:
        store.write_run(run | {"status": DAMAGED})
    return damaged


def _of_interrupted(store: RunStore, advance: Callable[[int], None]) -> Iterator[str]:
    spec = load_spec(store)
    for shard in spec.candidate_shards:
        together = spec.verified_together(Unit(VERIFY, Condition(), shard))
        for unit, why in untrusted_units(spec, BENCH_STAGES, together).items():
            yield f"{unit}: {why}"
        advance(1)


def _of_complete(store: RunStore, advance: Callable[[int], None]) -> Iterator[str]:
    damaged = damaged_tables(store, read_facts(store))
    yield from damaged
    if store.units_path.name in damaged or not _has_units(store):
        return
    spec = load_spec(store)
    for unit, rows in iter_packed(store):
        if why := broken_arrays(spec, stage_of(BENCH_STAGES, unit), unit, rows):
            yield f"{unit}: {why}"
        advance(1)


def _has_units(store: RunStore) -> bool:
    return store.units_path.is_file()
