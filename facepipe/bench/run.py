"""A benchmark run from its configuration to its tables: what command line and Python call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from facepipe.bench import driver
from facepipe.bench.config import BenchConfig
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES
from facepipe.pipeline.cluster import check_cluster, open_cluster

Show = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a display of progress: (what is counted, how many there are) -> a function that counts on."""


@contextmanager
def silent(label: str, total: int) -> Iterator[Callable[[int], None]]:  # noqa: ARG001
    """A display of progress that shows nothing."""
    yield lambda _: None


def run_benchmark(config: BenchConfig, show: Show = silent) -> tuple[RunStore, dict[str, int]]:
    """Do a run, or what is missing of it.

    Args:
        config: of the run.
        show: displays progress.

    Returns:
        The run and its counts.

    Raises:
        UsageError: a name is unknown, the data set is missing or empty, the cluster is not usable.
        RunConflictError: the folder holds another run, or another process works on it.
        EnvironmentTroubleError: disk, memory or cluster failed; what is done stays done.
    """
    check_cluster(config.cluster, config.cluster_config)
    where = (config.cluster, config.workers, config.cluster_config, config.worker_memory_gb)
    with RunStore(config.folder).lock():
        store = driver.prepare(config)
        if not driver.is_complete(store):
            with open_cluster(*where) as address:
                _do_stages(store, address, show)
        return store, driver.finish(store)


def _do_stages(store: RunStore, address: str, show: Show) -> None:
    with show("verify", driver.samples_to_verify(store)) as advance:
        driver.verify(store, address, _counting(advance))
    with show("ingest", driver.candidates_to_do(store)) as advance:
        driver.run_ingest(store, address, _counting(advance))
    batches = driver.shard_batches(store)
    for number, shards in enumerate(batches, 1):
        suffix = f" {number}/{len(batches)}" if len(batches) > 1 else ""
        for stage in STAGES[1:]:
            with show(stage + suffix, driver.samples_to_do(store, stage, shards)) as advance:
                driver.run_stage(store, stage, shards, address, _counting(advance))


def _counting(advance: Callable[[int], None]) -> Callable[[Any, Any], None]:
    return lambda _, report: advance(report.samples)
