"""The benchmark as a Prefect flow."""

from __future__ import annotations

from typing import Literal

from prefect import flow

from facepipe.bench.config import make_config
from facepipe.bench.driver import is_complete, shard_batches
from facepipe.bench.run_store import RunStore
from facepipe.core.paths import UserPath
from facepipe.models.vrn.backends import BackendChoice
from facepipe.pipeline.cluster import check_cluster, open_cluster
from tasks.benchmark import compact, degrade, ingest, prepare, regress, report, restore, score, verify
from tasks.failures import explain_crash, explained_failures


@flow(name="sr-benchmark", on_crashed=[explain_crash])
def sr_benchmark(
    dataset: str = "sample",
    out: UserPath | None = None,
    kind: str = "auto",
    crop: Literal["full", "face", "landmarks"] = "full",
    degradations: list[str] | str = "area",
    low_px: list[int] | int | str = "16,32,64",
    methods: list[str] | str = "all",
    regressors: list[str] | str = "vrn-compact",
    metrics: list[str] | str = "",
    results: list[str] | str = "",
    frame: Literal["auto", "image", "crop", "file"] = "auto",
    backend: BackendChoice = "torch",
    limit: int | None = None,
    subsets: list[str] | str = "",
    split: Literal["training", "validation", "test"] | None = None,
    min_yaw_deg: float | None = None,
    max_yaw_deg: float | None = None,
    model: UserPath | None = None,
    filling: str = "exact",
    seed: int = 0,
    cluster: str = "local",
    cluster_config: UserPath | None = None,
    workers: int | None = None,
    shard_size: int = 16,
    keep: Literal["all", "scores"] = "all",
    disk_gb: float = 50.0,
    unit_timeout_s: float | None = None,
    worker_memory_gb: float | None = None,
) -> str:
    """How much of a 3D face does low resolution destroy, and which super-resolution brings it back?

    Parameters are the options of `facepipe bench`; the same parameters go on with the same run.
    Returns the run's folder.
    """
    config = make_config(dict(locals()), "parameters")
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
