"""A deployment in small: Prefect server and worker, Dask scheduler and workers, each a process of its own.

Everything listens on loopback, on free ports, and keeps its files in one folder. Nothing stays behind.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from conftest import ROOT

from facepipe.cluster.settings import WORKER_ENVIRONMENT, scheduler_environment

START_SECONDS = 180
RUN_SECONDS = 500
STOP_SECONDS = 15

PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end_with_parent() -> None:
    """Ask Linux to end this process when the tests are killed and cannot do it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Processes:
    """Processes that end together, with all that they started.

    Args:
        folder: for their logs.
        environment: of all of them; `mark` is added, so that whatever they start can be found.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.mark = f"REHEARSAL={folder}"
        self.environment = environment | {"REHEARSAL": str(folder)}
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: object, **more: str) -> subprocess.Popen[bytes]:
        """Start `python -m COMMAND...`; its output goes to NAME.log."""
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                cwd=ROOT,
                env=self.environment | more,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,
            )
        self.started.append(process)
        return process

    def run(self, *command: object, expect_failure: bool = False) -> str:
        """Run `python -m COMMAND...` to its end; return what it said."""
        done = subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode != 0) == expect_failure, done.stdout + done.stderr + self.logs()
        return done.stdout + done.stderr

    def logs(self) -> str:
        """The end of every log, for messages."""
        return "".join(
            f"\n--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
            for path in self.folder.glob("*.log")
        )

    def wait_until_well(self, url: str) -> None:
        """Wait until a service answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            ended = [process.args for process in self.started if process.poll() is not None]
            assert not ended, f"ended: {ended}{self.logs()}"
            assert time.monotonic() < deadline, f"{url} does not answer{self.logs()}"
            time.sleep(0.1)

    def left(self) -> list[int]:
        """Processes that were started by these, directly or not, and still run."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if f"{self.mark}\0".encode() in environment and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        return found

    def stop(self) -> None:
        """End all of them, the last one first; kill what does not end."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in reversed(self.started):
                if process.poll() is None:
                    process.send_signal(number)
            deadline = time.monotonic() + STOP_SECONDS
            while any(process.poll() is None for process in self.started) and time.monotonic() < deadline:
                time.sleep(0.05)
        deadline = time.monotonic() + STOP_SECONDS
        while (left := self.left()) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


class Rehearsal:
    """The whole deployment, as deploy/compose.yaml has it, in processes of this machine.

    Args:
        folder: an empty folder for everything that it writes.

    Attributes:
        cluster: the scheduler's address, for a flow's parameter `cluster`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spied = folder / "spied"
        self.spied.mkdir()
        self.port, self.cluster_port, self.dashboard_port = free_port(), free_port(), free_port()
        self.cluster = f"tcp://127.0.0.1:{self.cluster_port}"
        self.processes = Processes(
            folder,
            os.environ
            | WORKER_ENVIRONMENT
            | scheduler_environment()
            | {
                "PREFECT_HOME": str(folder / "prefect-home"),
                "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "FACEPIPE_CLUSTER": self.cluster,
                "SPY_FOLDER": str(self.spied),
                "DO_NOT_TRACK": "1",
                "NO_COLOR": "1",
                "COLUMNS": "200",
            },
        )

    def prefect(self, *arguments: object, expect_failure: bool = False) -> str:
        """Run a command of Prefect against the server."""
        return self.processes.run("prefect", *arguments, expect_failure=expect_failure)

    def run(self, deployment: str, *, expect_failure: bool = False, **parameters: object) -> str:
        """`prefect deployment run DEPLOYMENT --watch -p name=value ...`; return what it printed."""
        words = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        return self.prefect("deployment", "run", deployment, "--watch", *words, expect_failure=expect_failure)

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
        start("server", "prefect", "server", "start", "--host", loopback, "--port", self.port)
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
            spying = ("--preload", ROOT / "tests" / "spy.py")
            start(f"{name}-worker", "dask", "worker", self.cluster, *place, *spying, *resources)
        self.processes.wait_until_well(f"http://{loopback}:{self.port}/api/health")
        self.prefect("work-pool", "create", "facepipe", "--type", "process")
        self.prefect("deploy", "--all", "--prefect-file", "deploy/prefect.yaml")
        start("worker", "prefect", "worker", "start", "--pool", "facepipe", "--type", "process")
        self.processes.wait_until_well(f"http://{loopback}:{self.dashboard_port}/health")

    def __exit__(self, *_: object) -> None:
        self.processes.stop()
        assert not self.processes.left(), self.processes.left()
        for port in (self.port, self.cluster_port, self.dashboard_port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
