"""The GPUs of this machine, and a worker for each beside those of its cores."""

from __future__ import annotations

import os
from pathlib import Path

from distributed import Client, LocalCluster, Nanny

from facepipe.pipeline.cluster.worker_settings import GPU_RESOURCES

_DRIVER = Path("/proc/driver/nvidia/gpus")
VISIBLE = "CUDA_VISIBLE_DEVICES"


def local_gpus() -> list[str]:
    """The devices that may be used here, as CUDA_VISIBLE_DEVICES names them; asking needs no torch."""
    allowed = os.environ.get(VISIBLE)
    if not _DRIVER.is_dir():
        return []
    if allowed is not None:
        return [name.strip() for name in allowed.split(",") if name.strip()]
    return [str(number) for number, _ in enumerate(_DRIVER.iterdir())]


def add_gpu_workers(cluster: LocalCluster, gpus: list[str], timeout_s: float) -> None:
    """Start one process for each GPU, which sees that one alone and offers it for units with networks.

    Args:
        cluster: with workers of the machine's cores, whose other settings they share.
        gpus: as `local_gpus` has them.
        timeout_s: how long all of them together may take to start.

    Raises:
        TimeoutError: they took longer.
    """
    name, value = GPU_RESOURCES.split("=")
    settings = dict(cluster.new_spec["options"])
    for gpu in gpus:
        options = {**settings, "resources": {name: int(value)}, "env": {VISIBLE: gpu}}
        cluster.worker_spec[f"gpu-{gpu}"] = {"cls": Nanny, "options": options}
    everybody = len(cluster.worker_spec)
    cluster.scale(everybody)  # what the specification has got more of is started
    # Where networks run is decided when a stage begins, by who is there.
    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(everybody, timeout=timeout_s)
