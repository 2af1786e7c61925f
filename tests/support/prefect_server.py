"""A Prefect server on a free port, in a home of its own, with what is run against it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import httpx
from processes import Processes, free_port

SMALL = {"limit": 4, "low_px": 32, "methods": "nearest,bilinear", "shard_size": 2}
"""Parameters of a benchmark that takes seconds."""

RUN_SECONDS = 500
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Prefect:
    """A server and at most one worker, each a process of its own.

    Args:
        folder: for everything that they write.
        environment: more variables, for everything that is run against the server.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.port = free_port()
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.port}/api"
        variables = (
            os.environ
            | {
                "FACEPIPE_HOME": str(folder / "facepipe-home"),
                "PREFECT_HOME": str(folder / "prefect-home"),
                "PREFECT_API_URL": self.url,
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                # A run that is due waits for the worker's next look, 10 s unless it is told otherwise.
                "PREFECT_WORKER_QUERY_SECONDS": "2",
                "DO_NOT_TRACK": "1",
                "NO_COLOR": "1",
                "COLUMNS": "200",
            }
            | environment
        )
        self.processes = Processes(folder, variables)
        self.environment = self.processes.environment
        self.worker: subprocess.Popen[bytes] | None = None

    def __call__(self, *arguments: object, expect_failure: bool = False) -> str:
        """Run a command of Prefect to its end; return what it said."""
        return self.processes.run("prefect", *arguments, expect_failure=expect_failure)

    def deploy(self) -> None:
        """Make the work pool and all deployments, and start a worker."""
        self("work-pool", "create", "facepipe", "--type", "process")
        self("deploy", "--prefect-file", "deploy/prefect.yaml", "--all")
        self.start_worker("facepipe")

    def start_worker(self, pool: str) -> None:
        """Start the worker of a pool."""
        self.worker = self.processes.start("worker", "prefect", "worker", "start", "--pool", pool)

    def run(self, deployment: str, **parameters: object) -> dict:
        """`prefect deployment run DEPLOYMENT --watch -p name=value ...`; return the run once it has ended.

        How it ended is asked of the server: on a busy machine the command may lose sight of the run.
        """
        words = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
        done = self.processes.attempt("prefect", "deployment", "run", deployment, "--watch", *words)
        created = re.search(r"UUID: ([0-9a-f-]{36})", done.stdout)
        assert created, done.stdout + done.stderr
        return self.ended({"flow_runs": {"id": {"any_": [created[1]]}}})

    def ended(self, wanted: dict) -> dict:
        """Wait for the first flow run among those wanted that has ended; return it."""
        wanted = wanted | {"flow_runs": wanted.get("flow_runs", {}) | {"state": {"type": {"any_": [*FINAL]}}}}
        deadline = time.monotonic() + RUN_SECONDS
        while not (runs := self.api("flow_runs/filter", wanted)):
            assert time.monotonic() < deadline, f"no run ended{self.processes.logs()}"
            time.sleep(0.2)
        return runs[0]

    def messages(self, run: dict) -> list[str]:
        """What a flow run logged."""
        only = {"logs": {"flow_run_id": {"any_": [run["id"]]}}, "limit": 200}
        return [log["message"] for log in self.api("logs/filter", only)]

    def deployment(self, name: str) -> dict:
        """A deployment by its name."""
        (found,) = self.api("deployments/filter", {"deployments": {"name": {"any_": [name]}}})
        return found

    def api(self, path: str, body: dict) -> list[dict]:
        """Ask the server for a list."""
        return self.request("post", path, body).json()

    def request(self, method: str, path: str, body: dict) -> httpx.Response:
        """Ask anything of the server."""
        for pause_s in (1, 2, 4, 8, 16, 0):
            answer = httpx.request(method, f"{self.url}/{path}", json=body, timeout=150)
            if answer.status_code != 503:  # the database is locked; Prefect's own client asks again, too
                break
            time.sleep(pause_s)
        answer.raise_for_status()
        return answer

    def __enter__(self) -> Prefect:
        try:
            self.processes.start("server", "prefect", "server", "start", "--port", self.port)
            self.processes.wait_until_well(f"{self.url}/health")
        except BaseException:
            self.processes.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.processes.stop()
        assert not self.processes.left(), self.processes.left()
