"""A flow run whose process dies is seen, and says what to do, whoever is left to say it."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT
from inboxes import write
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.events.schemas.automations import AutomationCore
from prefect_server import Prefect

from facepipe.bench.config import BenchConfig
from facepipe.core.errors import FacepipeError
from facepipe.surveil.archive import Archive
from tasks import failures

AUTOMATIONS = ROOT / "deploy" / "automations.yaml"
HEARTBEAT = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"


def automation() -> dict:
    (found,) = yaml.safe_load(AUTOMATIONS.read_text())["automations"]
    return found


def test_no_healthy_run_is_taken_for_dead() -> None:
    found = automation()
    AutomationCore.model_validate(found)
    trigger = found["trigger"]
    ends = {f"prefect.flow-run.{state.value.capitalize()}" for state in TERMINAL_STATES}
    assert set(trigger["expect"]) == ends | {"prefect.flow-run.heartbeat"}
    assert set(trigger["after"]) == {"prefect.flow-run.Running", "prefect.flow-run.heartbeat"}
    assert trigger["match_related"]["prefect.resource.id"] == "prefect.tag.facepipe"
    for deployment in yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text())["deployments"]:
        assert "facepipe" in deployment["tags"]
        every_s = int(deployment["work_pool"]["job_variables"]["env"][HEARTBEAT])
        assert trigger["within"] >= 3 * every_s


def test_what_failed_or_died_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, str]] = []
    monkeypatch.setattr(
        failures, "create_markdown_artifact", lambda text, key, description: shown.append((key, text))
    )
    config = BenchConfig(dataset="/my photos", out=Path("/run"), low_px=(32,))
    with pytest.raises(FacepipeError), failures.explained_failures("sr-benchmark", config):
        raise FacepipeError("the disk is full")

    class Client:
        def __enter__(self) -> Client:
            return self

        def __exit__(self, *_: object) -> None:
            return

        def create_artifact(self, artifact) -> None:
            shown.append((artifact.key, artifact.data))

    monkeypatch.setattr(failures, "get_client", lambda sync_client: Client())
    parameters = {"dataset": "/my photos", "low_px": [32], "out": "/run", "limit": None}
    flow_run = SimpleNamespace(parameters=parameters, id="00000000-0000-0000-0000-000000000000")
    failures.explain_crash(
        SimpleNamespace(name="sr-benchmark"), flow_run, SimpleNamespace(message="status -9")
    )
    for (key, text), reason in zip(shown, ("the disk is full", "status -9"), strict=True):
        assert key == "facepipe-sr-benchmark-failure"
        assert reason in text
        assert "`facepipe status /run`" in text
        words = text.split("prefect deployment run sr-benchmark --watch -p ")[1].split("`")[0]
        assert set(words.split(" -p ")) == {"'dataset=/my photos'", "'low_px=[32]'", "out=/run"}


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.server
@pytest.mark.timeout(1800)
def test_runs_whose_process_dies(tmp_path: Path) -> None:
    """Three runs wait for their archive's lock: one lives, one dies with its worker, one alone."""
    within_s = 45
    shipped = automation()
    shipped["trigger"]["within"] = within_s
    (tmp_path / "automations.yaml").write_text(yaml.safe_dump({"automations": [shipped]}))
    inbox, out = tmp_path / "inbox", tmp_path / "archive"
    write(inbox / "none.png", np.zeros((100, 100, 3), np.uint8))
    parameters = {"inbox": str(inbox), "out": str(out), "settle_seconds": 0, "workers": 1, "wait": True}
    with Prefect(tmp_path) as prefect:
        prefect.deploy()
        prefect("automation", "create", "--from-file", tmp_path / "automations.yaml")
        deployment = prefect.deployment("surveillance")["id"]

        def start() -> str:
            body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
            return prefect.request("post", f"deployments/{deployment}/create_flow_run", body).json()["id"]

        with Archive(out).lock():
            run = start()
            until(lambda: state_of(prefect, run)["type"] == "RUNNING")
            time.sleep(2 * within_s)
            assert state_of(prefect, run)["type"] == "RUNNING"
            kill_tree(prefect.worker.pid)
            died = time.monotonic()
            until(lambda: state_of(prefect, run)["type"] == "CRASHED")
            print(f"\nseen after {time.monotonic() - died:.0f} s, {within_s} s without a heartbeat")
            assert state_of(prefect, run)["message"] == shipped["actions"][0]["message"]

            prefect.start_worker("facepipe")
            run = start()  # its slot is free
            until(lambda: state_of(prefect, run)["type"] == "RUNNING")
            (process,) = psutil.Process(prefect.worker.pid).children()
            kill_tree(process.pid)
            until(lambda: state_of(prefect, run)["type"] == "CRASHED")
            until(lambda: artifacts_of(prefect, run))
            (artifact,) = artifacts_of(prefect, run)
            assert artifact["key"] == "facepipe-surveillance-failure"
            assert f"-p out={out}" in artifact["data"]
        ended = prefect.ended({"flow_runs": {"id": {"any_": [start()]}}})
        assert ended["state_type"] == "COMPLETED"
    (row,) = pq.read_table(out / "faces.parquet").to_pylist()
    assert row["reason"] == "no-face-detected"


def state_of(prefect: Prefect, run: str) -> dict:
    (found,) = prefect.api("flow_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    return found["state"]


def artifacts_of(prefect: Prefect, run: str) -> list[dict]:
    return prefect.api("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})


def until(true, seconds: float = 400) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def kill_tree(pid: int) -> None:
    """Kill a process and all that it started, itself first, so that nobody reports anything."""
    process = psutil.Process(pid)
    for each in [process, *process.children(recursive=True)]:
        each.send_signal(signal.SIGKILL)
