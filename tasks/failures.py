"""Write the artifact of a run that failed or died: why, and what to do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from pydantic import BaseModel

from facepipe.core.errors import FacepipeError

DESCRIPTION = "Why the run failed, and what to do"

_DEPLOYMENTS = {"train-regressor": "training"}
"""Deployments by the name of their flow, where it is another one (deploy/prefect.yaml)."""

_WITHOUT_STATUS = ("training",)


@contextmanager
def explained_failures(deployment: str, config: BaseModel | Mapping[str, Any]) -> Iterator[None]:
    """Leave an artifact when the run fails.

    Args:
        deployment: its name; the artifact's key is `facepipe-<name>-failure`.
        config: the run's, or the parameters that were given, `out` among it.
    """
    try:
        yield
    except Exception as error:
        reason = str(error) if isinstance(error, FacepipeError) else f"{type(error).__name__}: {error}"
        given = (
            config.model_dump(mode="json", exclude_defaults=True)
            if isinstance(config, BaseModel)
            else {name: str(value) if isinstance(value, Path) else value for name, value in config.items()}
        )
        text = _explanation(reason, deployment, given)
        create_markdown_artifact(text, key=_key(deployment), description=DESCRIPTION)
        raise


def explain_crash(flow: Any, flow_run: Any, state: Any) -> None:
    """Leave the same when the process of a run died and its worker says so: a hook `on_crashed`."""
    deployment = _DEPLOYMENTS.get(flow.name, flow.name)
    text = _explanation(str(state.message), deployment, flow_run.parameters)
    with get_client(sync_client=True) as client:
        client.create_artifact(
            ArtifactCreate(
                key=_key(deployment),
                type="markdown",
                description=DESCRIPTION,
                data=text,
                flow_run_id=flow_run.id,
            )
        )


def _key(deployment: str) -> str:
    return f"facepipe-{deployment}-failure"


def _explanation(reason: str, deployment: str, parameters: Mapping[str, Any]) -> str:
    given = {name: value for name, value in parameters.items() if value is not None}
    words = " ".join(f"-p {_quoted(name, value)}" for name, value in given.items())
    out = f" {shlex.quote(str(given['out']))}" if "out" in given else " FOLDER"
    how_far = "" if deployment in _WITHOUT_STATUS else f"- how far it is: `facepipe status{out}`\n"
    return (
        f"**{reason}**\n\n"
        "Nothing is lost: what was done is kept, and nothing half done is in the tables. Once the cause is "
        "mended, run the deployment again with the same parameters, or wait for its schedule: it goes on.\n\n"
        f"- again: `prefect deployment run {deployment} --watch {words}`\n"
        f"{how_far}"
    )


def _quoted(name: str, value: Any) -> str:
    return shlex.quote(f"{name}={value if isinstance(value, str) else json.dumps(value, default=str)}")
