"""Where units run: a local cluster of processes, a scheduler that the user names, Slurm or Kubernetes."""

from __future__ import annotations

import atexit
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import active_children
from pathlib import Path

import dask
from distributed import Client, LocalCluster
from distributed.comm.core import CommClosedError
from distributed.deploy.spec import close_clusters

from facepipe.core.errors import EnvironmentTroubleError, UsageError
from facepipe.pipeline.cluster.file import read_kubernetes_file, read_slurm_file
from facepipe.pipeline.cluster.gpus import add_gpu_workers, local_gpus
from facepipe.pipeline.cluster.kubernetes import open_kubernetes
from facepipe.pipeline.cluster.slurm import open_slurm
from facepipe.pipeline.cluster.worker_settings import CONFIG, NO_PAGES, WORKER_ENVIRONMENT

__all__ = ["CONFIG", "WORKER_ENVIRONMENT", "check_cluster", "connect", "open_cluster"]

CONNECT_TIMEOUT = "20s"
START_TIMEOUT_S = 120
"""How long a local worker may take to start; without it, one that hangs then is waited for for ever."""

# Dask looks 15 s after a worker's death whether one of that name is there, and gives the name up for ever if
# it has died a second time and is just starting again. Local workers always come back.
_LOCAL_CONFIG = {"distributed.deploy.lost-worker-timeout": "365d"}


def check_cluster(where: str, cluster_config: Path | None) -> None:
    """Refuse a choice of cluster that cannot be meant, before anything is written.

    Raises:
        UsageError: as `open_cluster`, as far as that can be said from the words and the file.
    """
    where = where or "local"
    if where in ("slurm", "kubernetes"):
        if cluster_config is None:
            raise UsageError(f"--cluster {where} needs --cluster-config FILE; deploy/ has an example")
        (read_slurm_file if where == "slurm" else read_kubernetes_file)(cluster_config)
        return
    if cluster_config is not None:
        raise UsageError(f"--cluster-config is for --cluster slurm and kubernetes, not for {where!r}")
    if where != "local" and "://" not in where:
        raise UsageError(
            f"cluster {where!r}: expected 'local', 'slurm', 'kubernetes' or an address such as tcp://host:8786"
        )


@contextmanager
def open_cluster(
    where: str,
    workers: int | None,
    cluster_config: Path | None = None,
    worker_memory_gb: float | None = None,
) -> Iterator[str]:
    """Start or find a cluster.

    Args:
        where: 'local', 'slurm', 'kubernetes', or the address of a running scheduler such as
            ``tcp://host:8786``. Nothing means 'local', as an unset variable in deploy/prefect.yaml gives it.
        workers: worker processes of a local cluster; None takes one for each core. Each GPU has one more.
        cluster_config: what to ask Slurm or Kubernetes for.
        worker_memory_gb: what a worker of a local cluster may hold before it is ended; None takes the
            machine's, shared among its cores.

    Yields:
        The scheduler's address.

    Raises:
        UsageError: the choice has no known form, its file is wrong, or a program or package is missing.
        EnvironmentTroubleError: no worker came in time.
    """
    check_cluster(where, cluster_config)
    where = where or "local"
    _quiet()
    if where == "slurm" and cluster_config:
        with open_slurm(read_slurm_file(cluster_config)) as address:
            yield address
    elif where == "kubernetes" and cluster_config:
        with open_kubernetes(*read_kubernetes_file(cluster_config)) as address:
            yield address
    elif where == "local":
        with _open_local(workers, worker_memory_gb) as address:
            yield address
    else:
        yield where


@contextmanager
def _open_local(workers: int | None, memory_gb: float | None) -> Iterator[str]:
    with dask.config.set(CONFIG | _LOCAL_CONFIG), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        others = set(active_children())
        try:
            cluster = LocalCluster(
                n_workers=workers or len(os.sched_getaffinity(0)),
                threads_per_worker=1,
                memory_limit="auto" if memory_gb is None else int(memory_gb * 1e9),
                processes=True,
                death_timeout=START_TIMEOUT_S,
                host="127.0.0.1",
                silence_logs=logging.CRITICAL,
                **NO_PAGES,
            )
        except (RuntimeError, OSError, TimeoutError, AssertionError, KeyboardInterrupt) as error:
            # Dask may fail over what it finds half started, here and at the end of this process, and leaves
            # it: a stopped process would be waited for then.
            atexit.unregister(close_clusters)
            for process in set(active_children()) - others:
                process.kill()
            if isinstance(error, KeyboardInterrupt):
                raise
            raise EnvironmentTroubleError(
                f"the local workers did not start ({type(error).__name__}: {error}); repeat the command, "
                "with fewer --workers if this machine cannot bear so many"
            ) from error
        with cluster:
            if gpus := local_gpus():
                try:
                    add_gpu_workers(cluster, gpus, START_TIMEOUT_S)
                except TimeoutError as error:
                    raise EnvironmentTroubleError(
                        f"the workers of the GPUs {', '.join(gpus)} did not start in {START_TIMEOUT_S} s; "
                        "repeat the command, or leave GPUs out with CUDA_VISIBLE_DEVICES="
                    ) from error
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
            try:
                client.wait_for_workers(1, timeout=60)
            except TimeoutError as error:
                raise EnvironmentTroubleError(f"the scheduler at {address} has no workers") from error
            # The scheduler hands this to every worker, later ones too; one may die while it is asked.
            with suppress(CommClosedError):
                client.forward_logging("facepipe", level=logging.INFO)
            yield client
        finally:
            client.close()


def _quiet() -> None:
    """Let the cluster speak through exceptions; its own messages would fill the terminal."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
