"""Prefect: the flow gives the command line's tables, and the README's commands work from nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from prefect_server import SMALL, Prefect

from flows.prefect_plugin import DEPLOYMENTS, complete


def test_one_word_names_a_deployment() -> None:
    assert complete(["deployment", "run", "sr-benchmark", "--watch"]) == [
        "deployment",
        "run",
        "sr-benchmark/sr-benchmark",
        "--watch",
    ]
    for before, name, after in (
        (["--profile", "x", "deployment", "run"], "sr-benchmark", []),
        (["--profile=x", "--no-prompt", "deployment", "inspect"], "sr-benchmark", ["-o", "json"]),
        (["deployment", "run"], "surveillance", ["--tag", "surveillance", "-p", "out=surveillance"]),
        (["deployment", "run", "--tag", "surveillance", "--watch"], "surveillance", []),
    ):
        assert complete([*before, name, *after]) == [*before, f"{name}/{name}", *after]
    assert complete(["deployment", "run", "training"])[2] == "train-regressor/training"
    for untouched in (
        ["deployment", "run", "sr-benchmark/sr-benchmark"],
        ["deployment", "run", "another"],
        ["deployment", "run", "another", "sr-benchmark"],
        ["deployment", "run", "--id", "sr-benchmark"],
        ["deployment", "ls", "sr-benchmark"],
        ["deploy", "--name", "sr-benchmark"],
        ["deployment", "run"],
        [],
    ):
        assert complete(untouched) == untouched


def test_what_is_completed_are_the_deployments_that_there_are() -> None:
    root = Path(__file__).parents[2]
    deployed = yaml.safe_load((root / "deploy" / "prefect.yaml").read_text())["deployments"]
    names = {}
    for deployment in deployed:
        file = deployment["entrypoint"].rpartition(".")[0].replace(".", "/") + ".py"
        (flow,) = re.findall(r'@flow\(name="([^"]+)"', (root / file).read_text())
        names[deployment["name"]] = f"{flow}/{deployment['name']}"
    assert names == DEPLOYMENTS


def scores(run: Path):
    return pq.read_table(run / "scores.parquet").drop_columns(["seconds"])


@pytest.mark.slow
@pytest.mark.server
def test_from_nothing_with_the_commands_of_the_readme(
    prefect: Prefect, by_hand: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    run = prefect.run("sr-benchmark", out=out, cluster="local", workers=1, **SMALL)
    assert run["state_type"] == "COMPLETED", run["state"]
    messages = prefect.messages(run)
    assert any(message.startswith("regress: ") for message in messages), messages
    of_run = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    artifacts = {artifact["key"] for artifact in prefect.api("artifacts/filter", of_run)}
    assert {"facepipe-regress", "facepipe-results", "facepipe-report"} <= artifacts
    assert (out / "report" / "index.html").is_file()
    assert scores(out).equals(scores(by_hand))
    assert scores(out).num_rows == 4 * 3


@pytest.mark.slow
@pytest.mark.server
def test_a_run_that_is_misused_fails(prefect: Prefect) -> None:
    run = prefect.run("sr-benchmark", methods="bilinaer")
    assert run["state_type"] == "FAILED", run["state"]
    assert any("did you mean 'bilinear'" in message for message in prefect.messages(run))
