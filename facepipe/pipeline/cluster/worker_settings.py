"""Settings that every worker and scheduler needs: memory, threads, patience."""

from __future__ import annotations

from typing import Any

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

# Schedulers that are started elsewhere get these as DASK_DISTRIBUTED__... variables: see deploy/.
SCHEDULER_CONFIG = {
    # The engine counts deaths itself; the scheduler reports each one at once.
    "distributed.scheduler.allowed-failures": 0,
    # Without it Dask waits for ever for a worker that can take a unit.
    "distributed.scheduler.no-workers-timeout": "120s",
}

CONFIG = SCHEDULER_CONFIG | {
    "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.admin.log-format": "%(message)s",
}

NO_PAGES: dict[str, Any] = {
    "dashboard_address": None,
    "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
}
"""For a `LocalCluster` without Dask's pages, which nobody is told of and which take half a second to load."""

GPU_RESOURCES = "GPU=1"
"""What a GPU worker offers: one unit with a network at a time."""


def scheduler_environment() -> dict[str, str]:
    """`SCHEDULER_CONFIG` as the environment variables that Dask reads."""
    return {
        "DASK_" + key.upper().replace(".", "__").replace("-", "_"): str(value)
        for key, value in SCHEDULER_CONFIG.items()
    }
