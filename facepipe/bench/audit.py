"""Verifying a run on request, in this process: what is damaged is named and left as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from facepipe.bench.completeness import COMPLETE, DAMAGED, damaged_tables, iter_claims
from facepipe.bench.run_folder import load_spec, read_facts
from facepipe.bench.spec import Unit
from facepipe.bench.verify import broken_arrays, untrusted_units
from facepipe.pipeline.store import RunStore


def steps(store: RunStore) -> int:
    """How many steps `audit` will advance by: units of a complete run, shards of another."""
    if read_facts(store)["status"] != COMPLETE:
        return len(load_spec(store).candidate_shards)
    return sum(1 for _ in iter_claims(store)) if _has_claims(store) else 0


def audit(store: RunStore, advance: Callable[[int], None]) -> list[str]:
    """Compare every table, part and array of a run with its checksums.

    A complete run in which anything is damaged is complete no longer: the command that made it then makes
    that again. Call only while holding the run's lock.

    Args:
        store: the run's folder.
        advance: told of each step.

    Returns:
        A sentence for each table or unit that is damaged or missing.
    """
    run = read_facts(store)
    complete = run["status"] == COMPLETE
    damaged = list(_of_complete(store, advance) if complete else _of_interrupted(store, advance))
    if damaged and complete:
        store.write_run(run | {"status": DAMAGED})
    return damaged


def _of_interrupted(store: RunStore, advance: Callable[[int], None]) -> Iterator[str]:
    spec = load_spec(store)
    keep = read_facts(store)["config"]["keep"]
    for shard in spec.candidate_shards:
        for unit, why in untrusted_units(spec, store, keep, shard).items():
            yield f"{unit}: {why}"
        advance(1)


def _of_complete(store: RunStore, advance: Callable[[int], None]) -> Iterator[str]:
    damaged = damaged_tables(store, read_facts(store))
    yield from damaged
    if store.checksums_path.name in damaged or not _has_claims(store):
        return
    for stage, condition, shard, part in iter_claims(store):
        if why := broken_arrays(store, shard, part):
            yield f"{Unit(stage, condition, shard)}: {why}"
        advance(1)


def _has_claims(store: RunStore) -> bool:
    return store.checksums_path.is_file()
