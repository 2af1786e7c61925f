"""A task is tried again for trouble of the environment, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from prefect import flow
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect_server import Prefect

from facepipe.core.errors import DamageError, EnvironmentTroubleError, UsageError
from facepipe.surveil import steps
from tasks.shown import stage_task
from tasks.surveillance import STEPS


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.filterwarnings("default")
def test_only_trouble_of_the_environment_is_tried_again(prefect: Prefect, tmp_path: Path) -> None:
    tries: list[str] = []

    def restore(error: type[Exception], name: str) -> int:
        tries.append(name)
        if len(tries) < 3:
            raise error(name)
        return len(tries)

    made = stage_task("restore, {name}")(restore).with_options(retries=3, retry_delay_seconds=[0.1, 0.2])
    assert made.name == "restore"

    @flow
    def night(error: type[Exception], name: str) -> int:
        return made(error, name)

    with temporary_settings({PREFECT_API_URL: prefect.url, PREFECT_HOME: tmp_path}):
        assert night(EnvironmentTroubleError, "the disk is full") == 3
        for error in (DamageError, UsageError, KeyError):
            tries.clear()
            with pytest.raises(error):
                night(error, "once")
            assert tries == ["once"]


def test_deployments_try_again_a_few_times_with_growing_delays() -> None:
    deployed = yaml.safe_load((ROOT / "deploy" / "prefect.yaml").read_text())["deployments"]
    for deployment in deployed:
        settings = deployment["work_pool"]["job_variables"]["env"]
        delays = yaml.safe_load(settings["PREFECT_TASKS_DEFAULT_RETRY_DELAY_SECONDS"])
        assert len(delays) == int(settings["PREFECT_TASKS_DEFAULT_RETRIES"])
        assert delays == sorted(set(delays))


def test_each_step_of_surveillance_is_a_task_made_of_the_plain_function() -> None:
    for name in ("look", "detect", "restore", "regress", "export", "publish"):
        made = getattr(STEPS, name)
        assert made.name == name
        assert made.fn.__wrapped__ is getattr(steps, name)
