"""Prefect's server, its worker and a flow run's process are killed; the same deployment goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from outcomes import check_run
from prefect_server import FINAL, Prefect

SEEDS = range(int(os.environ.get("CHAOS_SEEDS", "3")))
OPTIONS = {
    "limit": 24,
    "low_px": "16,32",
    "methods": "nearest,bilinear,bicubic",
    "regressors": "none",
    "shard_size": 1,
    "workers": 2,
}
CONDITIONS = 2 * 3
PATIENCE_S = 600


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_deployment_whose_surroundings_die(seed: int, tmp_path: Path) -> None:
    calm, run = tmp_path / "calm", tmp_path / "run"
    words = [word for name, value in OPTIONS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "facepipe", "bench", *words, "--out", str(calm)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    plan = ["worker", "flow run", "worker and flow run", "all three"]
    random.Random(seed).shuffle(plan)
    plan.append("server")  # a run may outlive it and complete
    began = time.monotonic()
    with Prefect(tmp_path) as prefect:
        prefect.deploy()
        prefect("automation", "create", "--from-file", "deploy/automations.yaml")
        tormentor = Tormentor(prefect, run, plan)
        while tormentor.run_once() != "COMPLETED":
            assert time.monotonic() < began + 5 * PATIENCE_S
    check_run(run, calm, OPTIONS["limit"] * CONDITIONS, {})
    assert tormentor.done.total() == 5
    print(
        f"\nprefect, seed {seed}: flow runs {tormentor.states}; killed {dict(tormentor.done)}; "
        f"{(time.monotonic() - began) / 60:.1f} minutes"
    )


class Tormentor:
    """Runs a deployment again and again, and kills what a plan says while it works."""

    def __init__(self, prefect: Prefect, out: Path, plan: list[str]) -> None:
        self.prefect = prefect
        self.out = out
        self.plan = plan
        self.done: Counter[str] = Counter()
        self.states: list[str] = []
        self.server = prefect.processes.started[0]

    def run_once(self) -> str:
        """Start a flow run and wait for its end; one strike falls once it has written a part."""
        deployment = self.prefect.deployment("sr-benchmark")["id"]
        body = {
            "parameters": {**OPTIONS, "out": str(self.out), "cluster": "local"},
            "state": {"type": "SCHEDULED"},
        }
        created = self.prefect.request("post", f"deployments/{deployment}/create_flow_run", body).json()["id"]
        before, struck = self.results(), False
        deadline = time.monotonic() + PATIENCE_S
        while (state := self.state(created)) not in FINAL:
            assert time.monotonic() < deadline, self.prefect.processes.logs()
            if self.plan and not struck and state == "RUNNING" and self.results() - before:
                what = self.plan.pop(0)
                self.strike(what)
                self.done[what] += 1
                struck = True
            time.sleep(0.2)
        self.states.append(state)
        return state

    def strike(self, what: str) -> None:
        """Kill, and start again what stays for good."""
        worker = self.prefect.worker
        runs = psutil.Process(worker.pid).children()
        if what in ("server", "all three"):
            kill(self.server)
        if what in ("worker", "worker and flow run", "all three"):
            kill(worker)
        if what not in ("server", "worker"):
            for process in runs:
                for each in [process, *process.children(recursive=True)]:
                    each.kill()
        self.prefect.processes.started = [p for p in self.prefect.processes.started if p.poll() is None]
        if self.server.poll() is not None:
            start = ("prefect", "server", "start", "--port", self.prefect.port)
            self.server = self.prefect.processes.start("server", *start)
            self.prefect.processes.wait_until_well(f"{self.prefect.url}/health")
        if worker.poll() is not None:
            self.prefect.start_worker("facepipe")

    def results(self) -> int:
        return sum(
            1 for _, _, names in os.walk(self.out / "unit_results") for name in names if name[:5] == "unit-"
        )

    def state(self, run: str) -> str:
        (found,) = self.prefect.api("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return found["state_type"]


def kill(process: subprocess.Popen) -> None:
    """Kill one process and no other: what it started lives on, or dies, as it may."""
    process.send_signal(signal.SIGKILL)
    process.wait()
