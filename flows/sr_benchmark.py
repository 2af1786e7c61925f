"""The benchmark as a Prefect flow."""

from __future__ import annotations

from prefect import flow

from facepipe.bench.config import BenchConfig
from facepipe.bench.driver import is_complete, shard_batches
from facepipe.bench.run_store import RunStore
from facepipe.pipeline.cluster import check_cluster, open_cluster
from flows.parameters import takes_fields_of
from tasks.benchmark import compact, degrade, ingest, prepare, regress, report, restore, score, verify
from tasks.failures import explain_crash, explained_failures


@flow(name="sr-benchmark", on_crashed=[explain_crash])
@takes_fields_of(BenchConfig)
def sr_benchmark(config: BenchConfig) -> str:
    """How much of a 3D face does low resolution destroy, and which super-resolution brings it back?

    Parameters are the options of `facepipe bench`; the same parameters go on with the same run.
    Returns the run's folder.
    """
    with explained_failures("sr-benchmark", config):
        check_cluster(config.cluster, config.cluster_config)
        where = (config.cluster, config.workers, config.cluster_config, config.worker_memory_gb)
        with RunStore(config.folder).lock():
            store = prepare(config)
            if not is_complete(store):
                with open_cluster(*where) as address:
                    verify(store, address)
                    ingest(store, address)
                    for shards in shard_batches(store):
                        for stage in (degrade, restore, regress, score):
                            stage(store, shards, address)
            compact(store)
            report(store)
    return str(store.path.resolve())


if __name__ == "__main__":
    sr_benchmark()
