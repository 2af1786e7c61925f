"""`--cluster kubernetes`: a DaskCluster of the run's own, made by Dask's operator."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client

from facepipe.core.errors import EnvironmentTroubleError, UsageError
from facepipe.pipeline.cluster.file import KubernetesFile
from facepipe.pipeline.cluster.scaling import scaling, wait_for
from facepipe.pipeline.cluster.worker_settings import CONFIG

CLUSTER_LABEL = "dask.org/cluster-name"
GROUPS = {"cpu": "default", "gpu": "gpu"}
"""The operator's name of each group of workers."""


def named_resources(resources: Sequence[dict[str, Any]], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a manifest's cluster a name of its own.

    Args:
        resources: one DaskCluster and at most one DaskWorkerGroup.
        name: of the new cluster.

    Returns:
        The DaskCluster, and the `worker` specification of the GPU group ({} without one).
    """
    cluster = copy.deepcopy(next(item for item in resources if item["kind"] == "DaskCluster"))
    cluster["metadata"]["name"] = name
    selector = cluster["spec"]["scheduler"]["service"]["selector"]
    if CLUSTER_LABEL in selector:
        selector[CLUSTER_LABEL] = name
    group = next((item for item in resources if item["kind"] == "DaskWorkerGroup"), None)
    return cluster, copy.deepcopy(group["spec"]["worker"]) if group else {}


@contextmanager
def open_kubernetes(file: KubernetesFile, resources: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Create the cluster, wait for the first workers, follow the work, and delete it in the end.

    Yields:
        The scheduler's address, forwarded to this machine where it lies outside of the cluster.

    Raises:
        UsageError: the package is missing, or no cluster is configured.
        EnvironmentTroubleError: the operator does not answer, or no worker has started in time.
    """
    kube_cluster = _checked_kube_cluster()
    base = next(item for item in resources if item["kind"] == "DaskCluster")["metadata"]["name"]
    cluster_spec, gpu_worker = named_resources(resources, f"{base}-{secrets.token_hex(3)}")
    cluster_spec["spec"]["worker"]["replicas"] = file.cpu.minimum
    groups = {"cpu": file.cpu} | ({"gpu": file.gpu} if file.gpu else {})
    wait_seconds = file.wait_minutes * 60
    with dask.config.set(CONFIG):
        try:
            cluster = kube_cluster(
                custom_cluster_spec=cluster_spec,
                namespace=file.namespace,
                shutdown_on_close=True,
                resource_timeout=int(wait_seconds),
                quiet=True,
            )
        except (OSError, TimeoutError, ValueError) as error:
            raise EnvironmentTroubleError(
                f"Kubernetes made no cluster in namespace {file.namespace}: {error}; "
                f"`kubectl get daskclusters,pods -n {file.namespace}` shows what it waits for"
            ) from error
        with cluster:
            if file.gpu:
                worker = gpu_worker | {"replicas": file.gpu.minimum}
                cluster.add_worker_group(GROUPS["gpu"], file.gpu.minimum, custom_spec=worker)
            with Client(cluster.scheduler_address, set_as_default=False) as client:
                hint = f"`kubectl get pods -n {file.namespace}` shows what they wait for"
                wait_for(client, {name: group.minimum for name, group in groups.items()}, wait_seconds, hint)
                sizes = {name: group.minimum for name, group in groups.items()}

                def resize(name: str, n: int) -> None:
                    if sizes[name] != n:
                        cluster.scale(n, worker_group=GROUPS[name])
                        sizes[name] = n

                with scaling(client, groups, file.idle_minutes * 60, resize):
                    yield cluster.scheduler_address


def _checked_kube_cluster() -> Any:
    try:
        import kr8s
        from dask_kubernetes.operator import KubeCluster
    except ImportError as error:
        raise UsageError(
            "--cluster kubernetes needs dask-kubernetes: pip install 'facepipe[kubernetes]'"
        ) from error
    try:
        kr8s.api().version()
    except (ValueError, OSError, RuntimeError, kr8s.APITimeoutError, kr8s.ServerError) as error:
        raise UsageError(
            f"--cluster kubernetes: no cluster answers ({error}); `kubectl get nodes` must work here"
        ) from error
    return KubeCluster
