"""Prefect: the flow gives the command line's tables, and the README's commands work from nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prefect_server import Prefect

from flows.prefect_plugin import complete

OPTIONS = {"limit": 4, "low_px": "32", "methods": "nearest,bilinear", "shard_size": 2, "workers": 1}


def test_one_word_names_a_deployment() -> None:
    assert complete(["deployment", "run", "sr-benchmark", "--watch"]) == [
        "deployment",
        "run",
        "sr-benchmark/sr-benchmark",
        "--watch",
    ]
    for untouched in (
        ["deployment", "run", "sr-benchmark/sr-benchmark"],
        ["deployment", "run", "another"],
        ["deploy", "--name", "sr-benchmark"],
        ["deployment", "run"],
        [],
    ):
        assert complete(untouched) == untouched


def facepipe(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "facepipe", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=200,
    )


def scores(run: Path):
    return pq.read_table(run / "scores.parquet").drop_columns(["seconds"])


@pytest.mark.slow
@pytest.mark.server
def test_from_nothing_with_the_commands_of_the_readme(tmp_path: Path) -> None:
    with Prefect(tmp_path) as prefect:
        prefect("work-pool", "create", "facepipe", "--type", "process")
        prefect("deploy", "--prefect-file", "deploy/prefect.yaml", "--all")
        prefect.start_worker("facepipe")
        run = tmp_path / "run"
        parameters = [f"{name}={value}" for name, value in {**OPTIONS, "out": run}.items()]
        arguments = [word for parameter in parameters for word in ("-p", parameter)]
        watched = prefect("deployment", "run", "sr-benchmark", "--watch", *arguments)
        assert "Completed" in watched
        logs = prefect.api("logs/filter", {"limit": 200})
        messages = [log["message"] for log in logs]
        assert any(message.startswith("regress: ") for message in messages), messages
        artifacts = {artifact["key"] for artifact in prefect.api("artifacts/filter", {})}
        assert {"facepipe-regress", "facepipe-results", "facepipe-report"} <= artifacts
        assert (run / "report" / "index.html").is_file()
        failed = prefect(
            "deployment", "run", "sr-benchmark", "--watch", "-p", "methods=bilinaer", expect_failure=True
        )
        assert "Failed" in failed
    options = [word for name, value in OPTIONS.items() for word in (f"--{name.replace('_', '-')}", value)]
    by_hand = facepipe("bench", *options, "--out", tmp_path / "by-hand")
    assert by_hand.returncode == 0, by_hand.stderr
    assert scores(run).equals(scores(tmp_path / "by-hand"))
    assert scores(run).num_rows == 4 * 3
