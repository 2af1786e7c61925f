"""Where units run: a local cluster of processes, or the scheduler that the user names."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster

from facepipe.errors import EnvironmentTroubleError, UsageError

# Freed memory goes back to the system at once under the nanny's own MALLOC_TRIM_THRESHOLD_, and every
# large array is then paid for in page faults: keep it in the process. One thread for each unit, since
# two processes that both start OpenMP threads ruin each other.
WORKER_ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"
    ":glibc.malloc.mmap_threshold=8589934592"
    ":glibc.malloc.trim_threshold=34359738368",
    "MALLOC_TRIM_THRESHOLD_": "34359738368",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
}

CONFIG = {
    "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    # The engine counts deaths itself; the scheduler reports each one at once.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.no-workers-timeout": "120s",
    "distributed.comm.timeouts.connect": "10s",
    "distributed.admin.log-format": "%(message)s",
}

CONNECT_TIMEOUT = "20s"


@contextmanager
def open_cluster(where: str, workers: int | None) -> Iterator[str]:
    """Start or find a cluster.

    Args:
        where: 'local', or the address of a running scheduler such as ``tcp://host:8786``.
        workers: worker processes of a local cluster; None takes one for each core.

    Yields:
        The scheduler's address.

    Raises:
        UsageError: the address has no known form.
        EnvironmentTroubleError: nobody answers there.
    """
    if where != "local":
        if "://" not in where:
            raise UsageError(f"cluster {where!r}: expected 'local' or an address such as tcp://host:8786")
        yield where
        return
    _quiet()
    with dask.config.set(CONFIG), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        cluster = LocalCluster(
            n_workers=workers or len(os.sched_getaffinity(0)),
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
            silence_logs=logging.CRITICAL,
        )
        with cluster:
            yield cluster.scheduler_address


@contextmanager
def connect(address: str) -> Iterator[Client]:
    """Connect to a scheduler.

    Raises:
        EnvironmentTroubleError: nobody answers there, or it has no workers.
    """
    with dask.config.set(CONFIG):
        try:
            client = Client(address, set_as_default=False, timeout=CONNECT_TIMEOUT)
        except (OSError, ValueError) as error:
            raise EnvironmentTroubleError(
                f"no Dask scheduler answers at {address}: {error}; start one with `dask scheduler`"
            ) from error
        try:
            client.wait_for_workers(1, timeout=60)
            client.forward_logging("facepipe", level=logging.INFO)
            yield client
        except TimeoutError as error:
            raise EnvironmentTroubleError(f"the scheduler at {address} has no workers") from error
        finally:
            client.close()


def _quiet() -> None:
    """Let the cluster speak through exceptions; its own messages would fill the terminal."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
