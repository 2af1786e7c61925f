"""A Prefect server of its own, for tests of flows and deployments."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from conftest import ROOT


class Prefect:
    """A Prefect server of its own on a free port, in a home of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.environment = os.environ | {
            "PREFECT_HOME": str(folder / "prefect-home"),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        self.worker: subprocess.Popen | None = None

    def __call__(self, *arguments: str, expect_failure: bool = False) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode != 0) == expect_failure, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start_worker(self, pool: str) -> None:
        with (self.folder / "worker.log").open("w") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def api(self, path: str, body: dict) -> list[dict]:
        return self.request("post", path, body).json()

    def request(self, method: str, path: str, body: dict):
        import httpx

        answer = httpx.request(method, f"{self.url}/{path}", json=body, timeout=20)
        answer.raise_for_status()
        return answer

    def __enter__(self) -> Prefect:
        self("server", "start", "--background", "--port", str(self.port))
        self("server", "status", "--wait", "--timeout", "60")
        return self

    def __exit__(self, *_: object) -> None:
        if self.worker:
            self.worker.terminate()
            try:
                self.worker.wait(20)
            except subprocess.TimeoutExpired:
                self.worker.kill()
                self.worker.wait()
        self("server", "stop")
