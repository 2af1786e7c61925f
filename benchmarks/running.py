"""A whole run on two workers, against the same stages in one loop; what orchestration costs."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq

from benchmarks.measure import Row, require
from facepipe.bench import driver
from facepipe.bench.config import BenchConfig, make_config
from facepipe.bench.merge import accept
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES
from facepipe.bench.stage_io import BENCH_STAGES
from facepipe.pipeline.batch_job import BatchJob
from facepipe.pipeline.cluster import open_cluster
from facepipe.pipeline.executor import StageResult

WORKERS = 2
SAMPLES = 64
OPTIONS = {"low_px": "32", "methods": "bilinear,espcn"}


def rows(rounds: int) -> list[Row]:
    """Wall time of both, and the sum of the units' times against the workers' time."""
    loop_s, cluster_s, units, pure_s = [], [], 0, []
    with TemporaryDirectory() as folder, open_cluster("local", WORKERS) as address:
        # Imports and compiled code are not what is compared.
        _one_loop(_config(Path(folder, "warm-loop"), 4))
        _on_cluster(_config(Path(folder, "warm-cluster"), 32), address)
        for number in range(rounds):
            seconds, loop = _one_loop(_config(Path(folder, f"loop-{number}"), SAMPLES))
            loop_s.append(seconds)
            seconds, stages, store = _on_cluster(_config(Path(folder, f"cluster-{number}"), SAMPLES), address)
            cluster_s.append(seconds)
            units = sum(stage.units for stage in stages)
            pure_s.append(sum(stage.seconds for stage in stages))
            tables = [pq.read_table(run.scores_path).drop_columns(["seconds"]) for run in (loop, store)]
            require(tables[0].equals(tables[1]), "scores")
    over = [WORKERS * wall - pure for wall, pure in zip(cluster_s, pure_s, strict=True)]
    best = over.index(min(over))
    note = (
        f"tables equal to the last bit; on {WORKERS} workers {units} units took {pure_s[best]:.1f} s of work "
        f"and {over[best]:.1f} s of waiting, reading and writing by the driver: "
        f"{100 * over[best] / pure_s[best]:.0f} %, {1e3 * over[best] / units:.0f} ms a unit"
    )
    return [
        Row(
            f"a whole run, {SAMPLES} faces, {WORKERS} workers (wall time)",
            "the same stages in one loop",
            1e3 * min(loop_s),
            1e3 * min(cluster_s),
            1.6,
            note,
        )
    ]


def _config(out: Path, limit: int) -> BenchConfig:
    return make_config({"out": out, "limit": limit, **OPTIONS})


def _one_loop(config: BenchConfig) -> tuple[float, RunStore]:
    started = time.perf_counter()
    store = driver.prepare(config)
    spec = driver.load_spec(store)
    for unit in spec.units("ingest", spec.candidate_shards):
        BatchJob(spec, BENCH_STAGES).run(unit, {})
    accept(spec, store)
    spec = driver.load_spec(store)
    for stage in STAGES[1:]:
        for unit in spec.units(stage, range(spec.n_shards)):
            BatchJob(spec, BENCH_STAGES).run(unit, {})
    driver.finish(store)
    return time.perf_counter() - started, store


def _on_cluster(config: BenchConfig, address: str) -> tuple[float, list[StageResult], RunStore]:
    started = time.perf_counter()
    store = driver.prepare(config)
    results = [driver.run_ingest(store, address)]
    for shards in driver.shard_batches(store):
        results += [driver.run_stage(store, stage, shards, address) for stage in STAGES[1:]]
    driver.finish(store)
    return time.perf_counter() - started, results, store
