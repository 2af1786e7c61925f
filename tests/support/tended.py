"""A Dask scheduler and workers of one's own, started again when they die, as a service manager does it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from processes import Processes, free_port

from facepipe.pipeline.cluster.worker_settings import WORKER_ENVIRONMENT, scheduler_environment

LOOPBACK = "127.0.0.1"


class TendedCluster:
    """A scheduler and two workers, each a process of its own.

    Args:
        folder: for what they write.

    Attributes:
        address: of the scheduler, for `--cluster`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        port, here = free_port(), str(Path(__file__).parent)
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        self.address = f"tcp://{LOOPBACK}:{port}"
        variables = os.environ | WORKER_ENVIRONMENT | scheduler_environment() | {"PYTHONPATH": path}
        self._processes = Processes(folder, variables)
        no_page = ("--no-dashboard",)
        worker = ("worker", self.address, "--nthreads", 1, *no_page, "--local-directory", folder / "scratch")
        self._commands = {
            "scheduler": ("scheduler", "--host", LOOPBACK, "--port", port, *no_page),
            "first": (*worker, "--name", "first"),
            "second": (*worker, "--name", "second"),
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def tend(self) -> None:
        """Start what is not there."""
        for name, command in self._commands.items():
            if name not in self._running or self._running[name].poll() is not None:
                self._running[name] = self._processes.start(name, "dask", *command)

    def pids_of_workers(self) -> list[int]:
        """The processes that look after workers, and start them again."""
        return [process.pid for name, process in self._running.items() if name != "scheduler"]

    def kill_scheduler(self) -> None:
        """As if its machine went down."""
        self._running["scheduler"].send_signal(signal.SIGKILL)

    def __enter__(self) -> TendedCluster:
        self.tend()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.stop()
        assert not self._processes.left(), self._processes.left()
