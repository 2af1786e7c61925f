"""Run the stages of a benchmark on a cluster, leaving out what is done.

The state of a run is its folder. Every function here takes it from there, so that the command line and
Prefect's tasks drive the same run, and a run that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from facepipe.bench.merge import accept, create_arrays, finish
from facepipe.bench.run_folder import describe, is_accepted, is_complete, load_spec, prepare
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES, BenchUnit, Condition, RunSpec
from facepipe.bench.stage_io import BENCH_STAGES
from facepipe.core.errors import RunConflictError, UsageError
from facepipe.pipeline.batch_job import BatchJob
from facepipe.pipeline.cluster import connect
from facepipe.pipeline.executor import Engine, OnProgress, StageResult
from facepipe.pipeline.stage import count_samples
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.verify import VERIFY, VerifyJob

__all__ = [
    "candidates_to_do",
    "describe",
    "finish",
    "is_complete",
    "load_spec",
    "plan_shard_batches",
    "prepare",
    "progress_of",
    "run_ingest",
    "run_stage",
    "samples_to_do",
    "samples_to_verify",
    "shard_batches",
    "units_to_do",
    "verify",
]


def units_to_do(spec: RunSpec, store: RunStore, stage: str, shards: range) -> Iterator[BenchUnit]:
    """The units of a stage that are not done yet, one after the other; a complete run has none.

    Scoring goes shard by shard, all conditions of one: a worker knows the truth of the last shard.
    """
    if is_complete(store):
        return iter(())
    groups = [range(shard, shard + 1) for shard in shards] if stage == STAGES[-1] else [shards]
    return store.missing(chain.from_iterable(spec.units(stage, group) for group in groups))


def samples_to_do(store: RunStore, stage: str, shards: range) -> int:
    """How many samples, counted once for each condition, a stage has still to do."""
    spec = load_spec(store)
    return count_samples(spec, units_to_do(spec, store, stage, shards))


def candidates_to_do(store: RunStore) -> int:
    """How many candidates ingest has still to look at."""
    return samples_to_do(store, "ingest", load_spec(store).candidate_shards)


def samples_to_verify(store: RunStore) -> int:
    """How many candidates may have left something that is to be verified before the run goes on."""
    return 0 if is_complete(store) or not store.has_results() else load_spec(store).n_candidates


def verify(store: RunStore, address: str, on_progress: OnProgress | None = None) -> StageResult:
    """Compare what an interrupted run left with its checksums; forget the units that cannot be trusted.

    Once, before the run goes on; they are then found not done. A run that is complete or just begun has
    nothing to verify.
    """
    if not samples_to_verify(store):
        return StageResult()
    spec = load_spec(store)
    if spec.n_samples:
        create_arrays(spec)
    units = (Unit(VERIFY, Condition(), shard) for shard in spec.candidate_shards)
    with connect(address) as client:
        return Engine(client, VerifyJob(spec, BENCH_STAGES)).run(units, on_progress)


def run_ingest(store: RunStore, address: str, on_progress: OnProgress | None = None) -> StageResult:
    """Decode and check every candidate; then fix the samples and create the arrays.

    Raises:
        FacepipeError: not one sample is usable.
    """
    if is_complete(store):
        return StageResult()
    spec = load_spec(store)
    result = _run_units(spec, store, "ingest", spec.candidate_shards, address, on_progress)
    if is_accepted(store):
        create_arrays(spec)
    else:
        accept(spec, store)
    return result


def run_stage(
    store: RunStore, stage: str, shards: range, address: str, on_progress: OnProgress | None = None
) -> StageResult:
    """Do a stage after ingest for some shards; after scoring, drop what is not to be kept."""
    spec = load_spec(store)
    result = _run_units(spec, store, stage, shards, address, on_progress)
    if stage == STAGES[-1] and store.read_run()["config"]["keep"] == "scores":
        for name in store.array_names():
            for shard in shards:
                store.delete_shard(name, shard)
    return result


def _run_units(
    spec: RunSpec, store: RunStore, stage: str, shards: range, address: str, on_progress: OnProgress | None
) -> StageResult:
    units = units_to_do(spec, store, stage, shards)
    first = next(units, None)
    if first is None:
        return StageResult()
    with connect(address) as client:
        engine = Engine(
            client, BatchJob(spec, BENCH_STAGES), store.read_run()["config"].get("unit_timeout_s")
        )
        if stage in engine.job.gpu_stages:  # earlier, workers with a GPU may not have joined yet
            _check_placement(store, engine.placement())
        result = engine.run(chain([first], units), on_progress)
    run = store.read_run()
    peaks = run.setdefault("peak_mb", {})
    peaks[stage] = round(max(result.peak_mb, peaks.get(stage, 0.0)))
    store.write_run(run)
    return result


def _check_placement(store: RunStore, placement: str) -> None:
    """Networks give slightly different results on other devices: one run, one kind of device."""
    run = store.read_run()
    if "networks_on" not in run:
        store.write_run(run | {"networks_on": placement})
    elif run["networks_on"] != placement:
        raise RunConflictError(
            f"{store.path}: this run's networks ran on {run['networks_on']} and the cluster now offers "
            f"{placement}; continue it on a cluster of the first kind, or choose another --out"
        )


def shard_batches(store: RunStore) -> list[range]:
    """The batches of shards that pass all stages one after the other.

    Raises:
        UsageError: all arrays are to be kept and do not fit the disk budget.
    """
    config = store.read_run()["config"]
    return plan_shard_batches(load_spec(store), config["keep"], config["disk_gb"])


def plan_shard_batches(spec: RunSpec, keep: str, disk_gb: float) -> list[range]:
    """As `shard_batches`, for a run that need not exist."""
    need_gb = spec.bytes_per_sample() * spec.n_samples / 1e9
    if keep == "all" and need_gb > disk_gb:
        raise UsageError(
            f"the arrays of this run take about {need_gb:.2g} GB and --disk-gb allows {disk_gb:g}: "
            "raise it, or keep only tables with --keep scores"
        )
    return spec.shard_batches(disk_gb)


def progress_of(store: RunStore) -> list[tuple[str, int, int]]:
    """(stage, units done, units in all) for every stage whose size is known."""
    spec = load_spec(store)
    found = []
    for stage in STAGES:
        shards = spec.candidate_shards if stage == "ingest" else range(spec.n_shards)
        total = spec.n_units(stage, shards)
        found.append((stage, total - sum(1 for _ in units_to_do(spec, store, stage, shards)), total))
    return found
