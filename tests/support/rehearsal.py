"""A deployment in small: Prefect server and worker, Dask scheduler and workers, each a process of its own.

Everything listens on loopback, on free ports, and keeps its files in one folder. Nothing stays behind.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from conftest import ROOT
from prefect_server import Prefect
from processes import Processes, free_port

from facepipe.pipeline.cluster.worker_settings import WORKER_ENVIRONMENT, scheduler_environment


class Rehearsal:
    """The whole deployment, as deploy/compose.yaml has it, in processes of this machine.

    Args:
        folder: an empty folder for everything that it writes.
        prefect: whose deployments were registered with FACEPIPE_CLUSTER set; the scheduler listens there.

    Attributes:
        cluster: the scheduler's address.
    """

    def __init__(self, folder: Path, prefect: Prefect) -> None:
        self.folder = folder
        self.prefect = prefect
        self.spied = folder / "spied"
        self.spied.mkdir()
        self.cluster = prefect.environment["FACEPIPE_CLUSTER"]
        self.cluster_port, self.dashboard_port = int(self.cluster.rpartition(":")[2]), free_port()
        variables = {"FACEPIPE_HOME": prefect.environment["FACEPIPE_HOME"], "SPY_FOLDER": str(self.spied)}
        self.processes = Processes(
            folder, os.environ | WORKER_ENVIRONMENT | scheduler_environment() | variables
        )

    def stages_of(self, worker: str) -> list[str]:
        """The stages of the units that a worker did, in their order; workers: 'cpu', 'gpu'."""
        path = self.spied / worker
        return path.read_text().split() if path.exists() else []

    def __enter__(self) -> Rehearsal:
        try:
            self._start()
        except BaseException:
            self.processes.stop()
            raise
        return self

    def _start(self) -> None:
        start, loopback = self.processes.start, "127.0.0.1"
        scheduler = ("--host", loopback, "--port", self.cluster_port)
        dashboard = ("--dashboard-address", f"{loopback}:{self.dashboard_port}")
        start("scheduler", "dask", "scheduler", *scheduler, *dashboard)
        for name, resources in (("cpu", ()), ("gpu", ("--resources", "GPU=1"))):
            place = (
                "--name",
                name,
                "--nthreads",
                1,
                "--no-dashboard",
                "--local-directory",
                self.folder / name,
            )
            spying = ("--preload", ROOT / "tests" / "support" / "spy.py")
            start(f"{name}-worker", "dask", "worker", self.cluster, *place, *spying, *resources)
        self.processes.wait_until_well(f"http://{loopback}:{self.dashboard_port}/health")

    def __exit__(self, *_: object) -> None:
        self.processes.stop()
        assert not self.processes.left(), self.processes.left()
        for port in (self.cluster_port, self.dashboard_port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
