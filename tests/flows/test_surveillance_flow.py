"""The flow `surveillance`: its parameters, its schedule, what it leaves when it fails."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT
from inboxes import write
from prefect_server import Prefect

from facepipe.core.errors import UsageError
from facepipe.datasets.catalog import open_dataset
from facepipe.surveil.config import SurveilConfig
from tasks import failures

CLAIMED = {"prefect.flow-run.Completed", "prefect.flow-run.Failed", "prefect.flow-run.Crashed"}


def test_the_flow_has_exactly_these_parameters() -> None:
    from flows.surveillance import surveillance

    parameters = inspect.signature(surveillance.fn).parameters
    assert list(parameters) == list(SurveilConfig.model_fields)
    values = {
        name: parameter.default if parameter.default is not parameter.empty else Path(name)
        for name, parameter in parameters.items()
    }
    assert SurveilConfig(**values) == SurveilConfig(inbox=Path("inbox"), out=Path("out"))


def test_the_deployment_is_a_nightly_run_of_its_own() -> None:
    deployments = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text())["deployments"]
    (deployment,) = (each for each in deployments if each["name"] == "surveillance")
    assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    (schedule,) = deployment["schedules"]
    assert schedule["active"]
    assert len(schedule["cron"].split()) == 5
    assert schedule["timezone"]
    assert set(deployment["parameters"]) <= set(SurveilConfig.model_fields)


def test_a_failure_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, str]] = []
    monkeypatch.setattr(
        failures, "create_markdown_artifact", lambda text, key, description: shown.append((key, text))
    )
    config = SurveilConfig(inbox=Path("/in"), out=Path("/archive"))
    with pytest.raises(UsageError), failures.explained_failures("surveillance", config):
        raise UsageError("inbox in: no such folder")
    ((key, text),) = shown
    assert key == "facepipe-surveillance-failure"
    assert "inbox in: no such folder" in text
    assert "prefect deployment run surveillance --watch -p inbox=/in -p out=/archive" in text
    with failures.explained_failures("surveillance", config):
        pass
    assert len(shown) == 1


@pytest.fixture
def deployment(prefect: Prefect) -> Iterator[dict]:
    """The registered deployment while no worker takes its runs; afterwards all is as it was."""
    found = prefect.deployment("surveillance")
    prefect.request("patch", "work_pools/facepipe", {"is_paused": True})
    yield found
    prefect.request("patch", "work_pools/facepipe", {"is_paused": False})
    prefect.request("patch", f"deployments/{found['id']}", {"parameters": found["parameters"]})


@pytest.mark.slow
@pytest.mark.server
def test_missed_nights_are_caught_up_by_a_run_of_the_schedule(
    prefect: Prefect, deployment: dict, tmp_path: Path
) -> None:
    inbox, archive = tmp_path / "inbox", tmp_path / "archive"
    dataset = open_dataset("sample", "auto")
    face = dataset.load(dataset.refs()[0]).image
    write(inbox / "face.png", np.pad(face, ((100, 100), (200, 100), (0, 0))))
    write(inbox / "none.png", np.zeros((100, 100, 3), np.uint8))
    prefect("automation", "create", "--from-file", "deploy/automations.yaml")
    (automation,) = prefect.api("automations/filter", {})
    assert set(automation["trigger"]["expect"]) >= CLAIMED
    parameters = {
        "inbox": str(inbox),
        "out": str(archive),
        "settle_seconds": 0,
        "cluster": "local",
        "workers": 1,
    }
    prefect.request("patch", f"deployments/{deployment['id']}", {"parameters": parameters})
    last_night = datetime.now(UTC) - timedelta(days=1)
    prefect.request(
        "post",
        f"deployments/{deployment['id']}/schedule",
        {"start_time": last_night.isoformat(), "end_time": datetime.now(UTC).isoformat()},
    )
    prefect.request("patch", "work_pools/facepipe", {"is_paused": False})
    scheduled = {"deployment_id": {"any_": [deployment["id"]]}, "tags": {"all_": ["auto-scheduled"]}}
    run = prefect.ended({"flow_runs": scheduled})
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["auto_scheduled"]
    of_run = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    artifacts = {artifact["key"]: artifact for artifact in prefect.api("artifacts/filter", of_run)}
    assert "2 new inputs" in artifacts["facepipe-surveillance"]["data"]
    found = pq.read_table(archive / "faces.parquet").to_pylist()
    assert {(row["source"], row["reason"]) for row in found} == {
        ("face.png", None),
        ("none.png", "no-face-detected"),
    }
